"""Signed HTTP calls to the application, about what happens in the hub."""

from hubd_webhooks.plugin import Webhooks

__all__ = ["Webhooks"]
