"""The plugin."""


class Apns:
    """Pushes by APNs."""
