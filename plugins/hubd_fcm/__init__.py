"""Pushes by FCM."""

from hubd_fcm.plugin import Fcm

__all__ = ["Fcm"]
