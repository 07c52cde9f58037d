"""The plugin."""


class Fcm:
    """Pushes by FCM."""
