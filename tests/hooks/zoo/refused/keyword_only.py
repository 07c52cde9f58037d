from hubd.plugin import hookimpl


class Plugin:
    @hookimpl
    def hubd_published(self, *, live: int) -> None: ...
