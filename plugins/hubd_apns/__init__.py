"""Pushes by APNs."""

from hubd_apns.plugin import Apns

__all__ = ["Apns"]
