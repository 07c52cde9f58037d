from hubd.plugin import Notification


class Plugin:
    def hubd_published(self, notification: Notification) -> None: ...
