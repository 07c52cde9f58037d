from hubd.plugin import Notification, hookimpl


class Plugin:
    @hookimpl
    def hubd_publised(self, notification: Notification) -> None: ...
