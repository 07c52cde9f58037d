"""Histories that once broke a promise, kept because chance seldom meets them; each fails with its bug put back."""

from collections.abc import Callable, Iterable

import pytest

from hubd.attendance import Attendance
from hubd.core.codec import channel_for
from hubd.core.connection import Connection
from hubd.core.replay import Replay
from hubd.core.ring import Entry
from tests.model.acting import Acting
from tests.model.acts import Arrival, End, Publish, Subscription
from tests.model.surroundings import Limits, Loop
from tests.model.world import Broken

Patch = pytest.MonkeyPatch
Act = Callable[[Acting], None]
ONE_AT_A_TIME = Limits(per_channel=3, slice=1, write_bytes=1)
"""A replay writes one frame at each visit."""


def publish(*to: str, count: int = 1) -> Act:
    return lambda history: history.publish(Publish(to, "kept", count))


def connect(wire: str = "json", cursor: str = "none", topics: tuple[str, ...] = ()) -> Act:
    return lambda history: history.connect(Arrival("ann", ("**",), topics, cursor, 0, wire, None, direct=True))


def subscribe(*topics: str, cursor: str = "start") -> Act:
    return lambda history: history.subscribe(Subscription(0, topics, cursor, 0, durable=False))


def unsubscribe(*topics: str) -> Act:
    return lambda history: history.unsubscribe(End(0, topics, durable=False, quiet=False))


def turn(history: Acting) -> None:
    history.turn(1)


HISTORIES: dict[str, list[Act]] = {
    "two subscribes at once, and something for both topics": [
        publish("a"),
        publish("a", "b"),
        connect(),
        subscribe("a"),
        subscribe("b"),
    ],
    "evicted from one topic's ring, and still in the other's": [
        connect(),
        publish("a", "b"),
        publish("a", count=3),
        subscribe("a"),
        turn,
        turn,
        subscribe("b"),
    ],
    "read before a gap, and asked for again": [
        publish("a", "b"),
        publish("a", count=2),
        connect(cursor="start", topics=("a",)),
        publish("a", count=3),
        turn,
        turn,
        subscribe("b"),
    ],
    "a cursor that was no good, and a good one for a topic": [
        publish("notifications"),
        publish("a", count=5),
        publish("notifications", count=2),
        connect(cursor="malformed"),
        subscribe("a", cursor="last"),
        turn,
        publish("a"),
    ],
    "one gap after the other on a plain connection": [
        publish("notifications", count=5),
        connect(wire="plain", cursor="start"),
        subscribe("a", cursor="malformed"),
        turn,
        subscribe("b", cursor="epoch"),
    ],
    "a topic left while its replay waits, and joined again": [
        publish("b", count=2),
        connect(),
        subscribe("b"),
        unsubscribe("b"),
        subscribe("b", cursor="none"),
    ],
}


def run(acts: Iterable[Act]) -> None:
    loop = Loop()
    history = Acting(ONE_AT_A_TIME, loop)
    try:
        for act in acts:
            act(history)
        history.finish()
    finally:
        history.close()
        loop.close()


@pytest.mark.parametrize("name", HISTORIES)
def test_it_is_all_right_now(name: str) -> None:
    run(HISTORIES[name])


def reads_what_another_is_yet_to_read(patch: Patch) -> None:
    def channel(self: Replay, connection: Connection, entry: Entry, names: tuple[str, ...]) -> str | None:
        others = [name for name in connection.names() if name not in names and self.names is not None]
        if channel_for(entry.notification, [name for name in others if connection.had(name, entry.sequence)]):
            return None
        return channel_for(entry.notification, names)

    patch.setattr(Replay, "_channel", channel)


def forgets_what_was_evicted(patch: Patch) -> None:
    patch.setattr(Connection, "miss", lambda self, name, after, through: None)


def remembers_only_the_end_of_what_was_evicted(patch: Patch) -> None:
    miss = Connection.miss
    patch.setattr(Connection, "miss", lambda self, name, after, through: miss(self, name, 0, through))


def takes_a_bad_cursor_for_every_topic(patch: Patch) -> None:
    patch.setattr(Replay, "go_on_from", lambda self, before: None)


def tells_a_plain_connection_once(patch: Patch) -> None:
    patch.setattr(Connection, "gap_told", _Sticky(), raising=False)


class _Sticky:
    """What has been set once stays so."""

    def __get__(self, connection: Connection, owner: object) -> bool:
        return connection.acks

    def __set__(self, connection: Connection, value: bool) -> None:
        connection.acks = connection.acks or value


def leaves_the_replay_of_a_left_topic(patch: Patch) -> None:
    leave = Attendance.leave

    def leaving(self: Attendance, connection: Connection, name: str) -> None:
        replays, connection.replays = connection.replays, []
        leave(self, connection, name)
        connection.replays = replays

    patch.setattr(Attendance, "leave", leaving)


BUGS = [
    reads_what_another_is_yet_to_read,
    forgets_what_was_evicted,
    remembers_only_the_end_of_what_was_evicted,
    takes_a_bad_cursor_for_every_topic,
    tells_a_plain_connection_once,
    leaves_the_replay_of_a_left_topic,
]


@pytest.mark.parametrize(("name", "bug"), list(zip(HISTORIES, BUGS, strict=True)))
def test_it_fails_with_its_bug(name: str, bug: Callable[[Patch], None], monkeypatch: Patch) -> None:
    with monkeypatch.context() as patch:
        bug(patch)
        with pytest.raises(Broken) as found:
            run(HISTORIES[name])
    print(str(found.value).splitlines()[0])
