from hubd.plugin import Notification, hookimpl


class Plugin:
    @hookimpl
    def published(self, notification: Notification) -> None: ...
