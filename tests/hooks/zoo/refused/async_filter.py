from hubd.plugin import hookimpl


class Plugin:
    @hookimpl
    async def hubd_filter_recipients(self) -> None: ...
