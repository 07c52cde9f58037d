"""The plugin."""


class WebPush:
    """Pushes by Web Push."""
