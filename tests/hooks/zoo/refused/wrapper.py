from collections.abc import Generator

from hubd.plugin import hookimpl


class Plugin:
    @hookimpl(wrapper=True)
    def hubd_published(self, live: int) -> Generator[None, None, None]:
        yield
