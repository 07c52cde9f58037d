from hubd.plugin import hookimpl


class Plugin:
    @hookimpl(tryfirst=True)
    def hubd_published(self, live: int) -> None: ...
