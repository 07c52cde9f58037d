"""A hub without sockets, with few words to make things happen in it."""

from typing import Any

from hubd.config import Config
from hubd.config_options import Auth, Delivery, Limits
from hubd.config_options import Replay as ReplayOptions
from hubd.testing import RecordingConnection, make_hub

OLD_EPOCH = "oldepoch00-5"


class World:
    """A hub without sockets, with few words to make things happen in it."""

    def __init__(self, *, per_channel: int = 100, subscriptions: int = 100, grace_s: float = 5, **limits: Any) -> None:
        self.config = Config(
            limits=Limits(subscriptions=subscriptions, **limits),
            replay=ReplayOptions(per_channel=per_channel, ttl_s=300),
            delivery=Delivery(grace_s=grace_s),
            auth=Auth(durable_grant_s=1000),
        )
        self.hub, self.clock, self.soon = make_hub(self.config)
        self.attendance = self.hub.attendance
        self.sent = 0

    async def publish(self, *to: str, count: int = 1, pad: int = 0, **more: Any) -> None:
        """Publish so many, with the ids n1, n2, ... by their place in the sequence."""
        for _ in range(count):
            self.sent += 1
            body = {"to": list(to), "notification": {"type": "t", "text": "x" * pad}, "id": f"n{self.sent}", **more}
            await self.hub.publish(self.hub.prepare(body), "backend")
            assert self.attendance.sequence == self.sent

    def cursor(self, sequence: int | None = None) -> str:
        return self.attendance.cursor(sequence)

    def subscribe(
        self, connection: RecordingConnection, topics: str | list[str], cursor: str | None = None
    ) -> list[dict[str, Any]]:
        """Subscribe as the action does; the reply's fields are put into the list that is given back, and sent."""
        replies: list[dict[str, Any]] = []

        def done(fields: dict[str, Any]) -> None:
            replies.append(fields)
            connection.put_control({"hub": "reply", **fields})
            self.hub.pump.schedule(connection)

        channels = self.attendance.channels(connection, topics)
        self.attendance.check_room(connection, channels)
        self.attendance.subscribe(connection, channels, cursor, done)
        self.hub.pump.schedule(connection)
        return replies

    def settle(self, *connections: RecordingConnection) -> None:
        """Let everything be written and read, in as many turns as it takes."""
        self.soon.settle()
        for connection in connections:
            while connection.paused:
                connection.drain()
                self.soon.settle()


def story(connection: RecordingConnection) -> list[str]:
    """What it got, in order, in short."""
    words = []
    for frame in connection.frames:
        match frame.get("hub"):
            case None:
                words.append(frame["id"])
            case "gap":
                words.append(f"gap {frame['channel']} {frame['reason']}")
            case other:
                words.append(other)
    return words


def ids(first: int, last: int) -> list[str]:
    return [f"n{number}" for number in range(first, last + 1)]
