"""A plugin of hubd: asks the application over HTTP who a connecting user is, and what he may subscribe to."""

from hubd_proxy_auth.plugin import ProxyAuth

__all__ = ["ProxyAuth"]
