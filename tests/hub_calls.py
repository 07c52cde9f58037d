"""Calls of a hub in short, for tests."""

from collections.abc import Awaitable
from typing import Any

import pytest

from hubd.core.errors import Problem
from hubd.hub import Hub
from hubd.memory import Receipt
from hubd.testing import RecordingConnection


def body(to: Any, **more: Any) -> dict[str, Any]:
    return {"to": to, "notification": {"type": "alert"}, **more}


async def publish(hub: Hub, to: Any, **more: Any) -> Receipt:
    receipt, duplicate = await hub.publish(hub.prepare(body(to, **more)), "backend")
    assert not duplicate
    return receipt


def got(connection: RecordingConnection) -> list[tuple[str, str]]:
    """The ids of its notifications, and by which channels they came."""
    return [(frame["id"], frame["channel"]) for frame in connection.notifications()]


def told(connection: RecordingConnection, word: str) -> list[dict[str, Any]]:
    return [frame for frame in connection.frames if frame.get("hub") == word]


async def problem(work: Awaitable[Any]) -> Problem:
    with pytest.raises(Problem) as caught:
        await work
    return caught.value
