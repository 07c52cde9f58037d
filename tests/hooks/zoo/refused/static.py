from hubd.plugin import hookimpl


class Plugin:
    @staticmethod
    @hookimpl
    def hubd_published(live: int) -> None: ...
