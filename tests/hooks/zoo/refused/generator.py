from collections.abc import Iterator

from hubd.plugin import hookimpl


class Plugin:
    @hookimpl
    def hubd_authorize_subscribe(self) -> Iterator[str]:
        yield "news"
