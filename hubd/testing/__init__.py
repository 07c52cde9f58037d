"""The test kit: a hub in one call, a clock that is turned by hand, connections that record what they get."""

from hubd.testing.backend import RecordingBackend
from hubd.testing.kit import (
    JSON_FORM,
    MSGPACK_FORM,
    FakeClock,
    RecordingConnection,
    RecordingPusher,
    Soon,
    ToyBroker,
    connect,
    identity,
    make_hub,
)
from hubd.testing.plugins import Fault, HttpAnswer, Other, PluginWorld, hub_for

__all__ = [
    "JSON_FORM",
    "MSGPACK_FORM",
    "FakeClock",
    "Fault",
    "HttpAnswer",
    "Other",
    "PluginWorld",
    "RecordingBackend",
    "RecordingConnection",
    "RecordingPusher",
    "Soon",
    "ToyBroker",
    "connect",
    "hub_for",
    "identity",
    "make_hub",
]
