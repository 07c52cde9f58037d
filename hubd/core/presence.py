"""How attentive a user is: attentive, connected, wavering or away, and the edges between them."""

from collections import Counter, OrderedDict
from collections.abc import Callable
from enum import StrEnum

from hubd.core.connection import Connection, Visibility
from hubd.core.registry import User


class State(StrEnum):
    """From looking at a tab to not being there at all."""

    ATTENTIVE = "attentive"
    CONNECTED = "connected"
    WAVERING = "wavering"
    AWAY = "away"


class Presence:
    """Follows each user's state; ``on_edge(user id, before, after)`` is called once for every change.

    ``grace_s``: for how long somebody whose last connection went is wavering. ``attention_s``: for how long a visible
    tab without any input counts as looked at. All times are seconds of the monotonic clock.
    """

    def __init__(self, grace_s: float, attention_s: float, on_edge: Callable[[str, State, State], None]) -> None:
        self._grace_s = grace_s
        self._attention_s = attention_s
        self._on_edge = on_edge
        self._states: dict[str, State] = {}  # of everybody who isn't away
        self._wavering: OrderedDict[str, User] = OrderedDict()  # in the order in which their grace ends

    def set_times(self, grace_s: float, attention_s: float) -> None:
        """Count by these times from now on; who is wavering already, too."""
        self._grace_s = grace_s
        self._attention_s = attention_s

    def is_attentive(self, connection: Connection, now: float) -> bool:
        """Whether somebody looks at this connection; one that never spoke of visibility counts as looked at."""
        if connection.visibility is None:
            return True
        return connection.visibility is Visibility.VISIBLE and now - connection.input_at < self._attention_s

    def state(self, user: User | None, now: float) -> State:
        """The state that a user is in; None stands for somebody of whom there is no record."""
        if user is None:
            return State.AWAY
        if user.connections:
            seen = any(self.is_attentive(connection, now) for connection in user.connections)
            return State.ATTENTIVE if seen else State.CONNECTED
        return State.WAVERING if now - user.gone_at < self._grace_s else State.AWAY

    def changed(self, user: User, now: float) -> None:
        """Something happened to this user's connections: find his state anew."""
        state = self.state(user, now)
        before = self._states.get(user.id, State.AWAY)
        if state is State.WAVERING:
            self._wavering[user.id] = user
        else:
            self._wavering.pop(user.id, None)
        if state is before:
            return
        if state is State.AWAY:
            del self._states[user.id]
        else:
            self._states[user.id] = state
        self._on_edge(user.id, before, state)

    def count(self) -> Counter[State]:
        """How many users are in each state; of those who are away there is no record."""
        return Counter(self._states.values())

    def gone(self, now: float) -> list[User]:
        """Those whose grace has ended: they are away now."""
        ended = []
        for user in self._wavering.values():
            if now - user.gone_at < self._grace_s:
                break
            ended.append(user)
        for user in ended:
            self.changed(user, now)
        return ended
