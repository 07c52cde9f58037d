"""Watching a topic's presence: who joined and who left, told at most once a second and never about oneself."""

from collections.abc import Iterable
from itertools import islice

from hubd.core.codec import ControlFrame, Form
from hubd.core.connection import Connection

LISTED = 100
"""How many users a list of who is there names at most."""
CHANGES = 1000
"""How many joined or left users one frame names at most."""


class _Watched:
    __slots__ = ("fresh", "joined", "left", "watchers")

    def __init__(self) -> None:
        self.watchers: dict[Connection, None] = {}
        self.fresh = False  # somebody began to watch between a change and its frame, and so from another list
        self.joined: dict[str, None] = {}
        self.left: dict[str, None] = {}


class Watches:
    """Which connections watch which topics, and what changed there since they were told last."""

    def __init__(self) -> None:
        self._topics: dict[str, _Watched] = {}
        self._changed: dict[str, None] = {}

    def watch(self, connection: Connection, topic: str) -> None:
        """From now on this connection is told who joins and who leaves."""
        watched = self._topics.setdefault(topic, _Watched())
        watched.watchers[connection] = None
        watched.fresh = watched.fresh or bool(watched.joined or watched.left)
        if connection.watching is None:
            connection.watching = {}
        connection.watching[topic] = None

    def unwatch(self, connection: Connection, topic: str) -> None:
        """It is told no more; nothing happens where it wasn't watching."""
        if connection.watching is None or topic not in connection.watching:
            return
        del connection.watching[topic]
        watched = self._topics[topic]
        del watched.watchers[connection]
        if not watched.watchers:
            del self._topics[topic]
            self._changed.pop(topic, None)

    def drop(self, connection: Connection) -> None:
        """The connection is gone."""
        for topic in list(connection.watching or ()):
            self.unwatch(connection, topic)

    def joined(self, topic: str, user: str) -> None:
        """A user came to a topic; whoever left and came back since the last frame did neither."""
        if (watched := self._topics.get(topic)) is not None:
            self._note(topic, watched, user, watched.left, watched.joined)

    def left(self, topic: str, user: str) -> None:
        """A user's last connection left a topic."""
        if (watched := self._topics.get(topic)) is not None:
            self._note(topic, watched, user, watched.joined, watched.left)

    def _note(
        self, topic: str, watched: _Watched, user: str, opposite: dict[str, None], list_: dict[str, None]
    ) -> None:
        if user in opposite:
            del opposite[user]
            if watched.fresh:
                list_[user] = None
        else:
            list_[user] = None
        self._changed[topic] = None

    def tell(self) -> list[Connection]:
        """Put the frames of all changes into the outboxes of those who watch; gives the connections to be flushed."""
        told: dict[Connection, None] = {}
        for topic in self._changed:
            watched = self._topics[topic]
            frames = _Frames(topic, watched.joined, watched.left)
            for connection in watched.watchers:
                assert connection.user is not None
                frame = frames.of(connection.user.id, connection.form)
                if frame is not None:
                    connection.outbox.append(frame)
                    told[connection] = None
            watched.joined.clear()
            watched.left.clear()
            watched.fresh = False
        self._changed.clear()
        return list(told)


class _Frames:
    """What the watchers of one topic are told: all the same frame, but for those who are in it themselves.

    So however many changes and watchers there are, the work is bounded: for each watcher next to nothing, and an own
    frame for no more users than a frame names.
    """

    def __init__(self, topic: str, joined: Iterable[str], left: Iterable[str]) -> None:
        self._topic = topic
        # Two more than a frame names: without oneself, there is still one that says that there are more.
        self._joined = list(islice(joined, CHANGES + 2))
        self._left = list(islice(left, CHANGES + 2))
        self._named = dict.fromkeys([*self._joined, *self._left])
        self._shared = ControlFrame(_fields(topic, self._joined, self._left))
        self._own: dict[tuple[str, Form], bytes | None] = {}

    def of(self, me: str, form: Form) -> bytes | None:
        """The frame for a user's connections of that form; None when nobody but he came or went."""
        if me not in self._named:
            return self._shared.of(form) if self._named else None
        if (me, form) not in self._own:
            self._own[me, form] = self._without(me, form)
        return self._own[me, form]

    def _without(self, me: str, form: Form) -> bytes | None:
        joined = [user for user in self._joined if user != me]
        left = [user for user in self._left if user != me]
        return form.control(_fields(self._topic, joined, left)) if joined or left else None


def _fields(topic: str, joined: list[str], left: list[str]) -> dict[str, object]:
    fields: dict[str, object] = {
        "hub": "presence",
        "topic": topic,
        "joined": joined[:CHANGES],
        "left": left[:CHANGES],
    }
    if len(joined) > CHANGES or len(left) > CHANGES:
        fields["truncated"] = True
    return fields
