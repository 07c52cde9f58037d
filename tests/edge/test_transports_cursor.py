"""One cursor for all transports: what one of them got, the next one goes on from."""

from random import Random
from typing import Any

import pytest

from tests.edge.conftest import StartHub
from tests.edge.http_clients import poller, stream
from tests.edge.live_hub import LiveHub, eventually
from tests.edge.ws_client import JSON, MSGPACK

TOPICS = "team:a,team:b"
TOS: list[Any] = ["notifications", "user:42", "team:a", "team:b", ["team:b", "user:42"], "team:others", "user:7"]


class Follower:
    """A user who comes back by another transport each time; keeps what he got and where he stands."""

    def __init__(self, hub: LiveHub) -> None:
        self.hub = hub
        self.cursor: str | None = None
        self.got: list[int] = []
        self.gaps: list[dict[str, Any]] = []

    def take(self, notifications: list[dict[str, Any]]) -> None:
        """Notifications came, in order."""
        for one in notifications:
            self.got.append(one["n"])
            self.cursor = one["cursor"]

    async def by_stream(self) -> None:
        """Read a stream for as long as there is something."""
        client = await stream(self.hub, topics=TOPICS, cursor=self.cursor)
        events = await client.until(self.hub)
        self.gaps += [event.data for event in events if event.data.get("hub") == "gap"]
        self.take([event.data for event in events if event.kind == "message"])
        self.cursor = client.last_id
        await self.hub.gone(client)

    async def by_last_event_id(self) -> None:
        """The same as a browser comes back."""
        client = await stream(self.hub, topics=TOPICS, cursor="old", headers={"Last-Event-ID": self.cursor or ""})
        events = await client.until(self.hub)
        self.gaps += [event.data for event in events if event.data.get("hub") == "gap"]
        self.take([event.data for event in events if event.kind == "message"])
        self.cursor = client.last_id
        await self.hub.gone(client)

    async def by_poll(self) -> None:
        """One poll that doesn't wait."""
        client = await poller(self.hub)
        body = await client.poll(self.cursor, topics=TOPICS, wait=0)
        self.gaps += [body["gap"]] * (body["gap"] is not None)
        self.take(body["notifications"])
        self.cursor = body["cursor"]
        client.hang_up()

    async def by_websocket(self, subprotocol: str | None = JSON) -> None:
        """Read a WebSocket for as long as there is something."""
        client = await self.hub.connect("42", subprotocol, topics=TOPICS, cursor=self.cursor)
        await eventually(lambda: all(one.live for one in self.hub.hub.registry.connections))
        for message in await client.messages():
            if message.get("hub") == "welcome":
                self.cursor = message["cursor"]
            elif message.get("hub") == "gap":
                self.gaps.append(message)
            else:
                self.take([message])
        await self.hub.gone(client)

    async def by_msgpack(self) -> None:
        """The same in msgpack."""
        await self.by_websocket(MSGPACK)

    async def by_plain(self) -> None:
        """The same without subprotocol."""
        await self.by_websocket(None)


WAYS = ["by_stream", "by_last_event_id", "by_poll", "by_websocket", "by_msgpack", "by_plain"]


async def test_each_notification_once_over_all_transports_in_turn(hub: LiveHub) -> None:
    follower = Follower(hub)
    await follower.by_websocket()
    expected, n = [], 0
    for way in ["by_stream", "by_poll", "by_websocket", "by_last_event_id", "by_plain", "by_poll", "by_msgpack"] * 3:
        for to in TOS:
            await hub.publish(to, n=n)
            expected += [n] if to in TOS[:5] else []
            n += 1
        await getattr(follower, way)()
        assert follower.got == expected, way
    assert follower.gaps == []


@pytest.mark.parametrize("seed", range(5))
async def test_in_any_order(start_hub: StartHub, seed: int) -> None:
    random = Random(seed)
    hub = await start_hub(replay={"per_channel": 1000})
    follower = Follower(hub)
    await follower.by_poll()
    expected = []
    for n in range(300):
        to = random.choice(TOS)
        await hub.publish(to, n=n)
        expected += [n] if to in TOS[:5] else []
        if random.random() < 0.3:
            await getattr(follower, random.choice(WAYS))()
    await follower.by_poll()
    assert follower.got == expected and follower.gaps == []


@pytest.mark.parametrize("first", WAYS)
@pytest.mark.parametrize("then", ["by_stream", "by_poll", "by_websocket", "by_plain"])
async def test_a_gap_is_told_once_whoever_asks_next(start_hub: StartHub, first: str, then: str) -> None:
    hub = await start_hub(replay={"per_channel": 3})
    follower = Follower(hub)
    await follower.by_poll()
    for n in range(5):
        await hub.publish("team:a", n=n)
    await getattr(follower, first)()
    assert follower.got == [2, 3, 4]
    assert [(gap["channel"], gap["reason"]) for gap in follower.gaps] == [("team:a", "evicted")]
    await getattr(follower, then)()
    assert len(follower.gaps) == 1 and follower.got == [2, 3, 4]


async def test_all_three_at_once(hub: LiveHub) -> None:
    """A stream, a WebSocket and a poll of one user: each gets each notification once."""
    events, socket, client = await stream(hub), await hub.opened(JSON), await poller(hub)
    cursor = hub.hub.attendance.cursor()
    polled: list[int] = []
    for n in range(30):
        await client.ask_and_wait(cursor)
        assert (await hub.publish("user:42", n=n))["live"] == 3
        body = await client.got()
        cursor = body["cursor"]
        polled += [one["n"] for one in body["notifications"]]
    numbers = list(range(30))
    assert polled == numbers
    assert [one["n"] for one in await events.notifications(hub)] == numbers
    assert [one["n"] for one in await socket.notifications()] == numbers
