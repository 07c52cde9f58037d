"""Pushes by Firebase Cloud Messaging (FCM), by its HTTP v1 API."""

from hubd_fcm.plugin import Fcm

__all__ = ["Fcm"]
