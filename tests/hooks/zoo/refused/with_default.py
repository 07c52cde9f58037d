from typing import Any

from hubd.plugin import hookimpl


class Plugin:
    @hookimpl
    def hubd_published(self, notification: Any, live: int = 0) -> None: ...
