"""Pushes by Web Push."""

from hubd_webpush.plugin import WebPush

__all__ = ["WebPush"]
