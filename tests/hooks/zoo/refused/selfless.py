from typing import Any

from hubd.plugin import hookimpl


class Plugin:
    @hookimpl
    def hubd_published(notification: Any) -> None: ...
