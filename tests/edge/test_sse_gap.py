"""A browser keeps the last id of a stream by itself: no id may hide a gap that hasn't been told yet."""

import pytest

from tests.edge.http_clients import open_stream
from tests.edge.live_hub import LiveHub


@pytest.mark.parametrize(("cursor", "reason"), [("zzzzzzzzzz-7", "epoch"), ("no~cursor", "bad_cursor")])
async def test_a_bad_cursor_is_kept_until_its_gap_is_told(hub: LiveHub, cursor: str, reason: str) -> None:
    sent = await hub.publish("user:42", n=1)
    client = await open_stream(hub, headers={"Last-Event-ID": cursor})
    start = hub.hub.attendance.cursor(0).encode()
    head, welcome, gap, at, first = [await client.block() for _ in range(5)]
    assert head is not None and head[1:] == [f"id: {cursor}".encode()], "cut here, it must be told at the next time"
    assert welcome is not None and welcome[0] == b"event: hub" and b'"recovered":false' in welcome[1]
    assert gap is not None and gap[0] == b"event: hub" and f'"reason":"{reason}"'.encode() in gap[1]
    assert at == [b"id: " + start], "from here on it can go on without the gap"
    assert first is not None and first[0] == f"id: {sent['cursor']}".encode()


@pytest.mark.parametrize("cursor", ["x" * 65, "a b", "a\nevent: hub\ndata: {}\n", "é"])
async def test_what_is_no_cursor_is_not_repeated(hub: LiveHub, cursor: str) -> None:
    client = await open_stream(hub, cursor=cursor)
    head = await client.block()
    assert head is not None and head[1:] == [b"id: " + hub.hub.attendance.cursor(0).encode()]
