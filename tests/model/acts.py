"""What can happen to a hub, as hypothesis draws it.

The parts of an act are drawn several in one number: that costs a fraction of drawing each by itself, and nine tenths of
such a test's time are hypothesis' own.
"""

from collections.abc import Callable, Sequence
from math import prod
from typing import Any, NamedTuple, TypeVar

from hypothesis import strategies as st

from tests.model.surroundings import PATTERNS, TOPICS, USERS, Limits

Act = TypeVar("Act")
Options = dict[str, Sequence[Any]]
EVEN = 127
"""Up to so many combinations hypothesis draws evenly; beyond, it prefers small numbers."""


def drawn(act: Callable[..., Act], **options: Sequence[Any]) -> st.SearchStrategy[Act]:
    """An act of which each part is one of its options."""
    groups: list[Options] = [{}]
    for name, choices in options.items():
        if len(choices) * prod(map(len, groups[-1].values())) > EVEN:
            groups.append({})
        groups[-1][name] = choices
    numbers = [(group, st.integers(0, prod(map(len, group.values())) - 1)) for group in groups]

    @st.composite  # and not `map`, of which hypothesis would show only the numbers
    def made(draw: st.DrawFn) -> Act:
        parts = {}
        for group, combinations in numbers:
            number = draw(combinations)
            for name, choices in group.items():
                number, place = divmod(number, len(choices))
                parts[name] = choices[place]
        return act(**parts)

    return made()


class Arrival(NamedTuple):
    """Somebody connects; ``room``: how many bytes his side takes before it must read, ``direct``: by its socket."""

    user: str
    patterns: tuple[str, ...]
    topics: tuple[str, ...]
    cursor: str
    which: int
    wire: str
    room: int | None
    direct: bool


class Subscription(NamedTuple):
    """A connection subscribes; ``cursor``: what kind, and ``old`` which of them (in twelfths of all)."""

    member: int
    topics: tuple[str, ...]
    cursor: str
    old: int
    durable: bool


class End(NamedTuple):
    """A connection unsubscribes; ``quiet``: it wants no reply."""

    member: int
    topics: tuple[str, ...]
    durable: bool
    quiet: bool


class Grant(NamedTuple):
    """The application makes or ends a durable subscription."""

    user: str
    topic: str
    on: bool


class Publish(NamedTuple):
    """Somebody publishes, ``count`` times in a row."""

    to: tuple[str, ...]
    kind: str
    count: int


class Wait(NamedTuple):
    """Time passes."""

    seconds: float
    maintain: bool


MANY = range(12)
SOME_TOPICS = [("a",), ("b",), ("c:x",), ("a", "b"), ("a", "c:x", "c:y"), TOPICS]
CURSORS = ["none", "last", "last", "old", "old", "old", "start", "malformed", "future", "epoch"]
ADDRESSEES = [
    ("notifications",),
    ("notifications",),
    ("a",),
    ("b",),
    ("c:x",),
    ("user:ann",),
    ("user:bob:notifications",),
    ("a", "b"),
    ("b", "a", "user:ann"),
    ("c:x", "notifications", "a"),
    ("user:ann", "user:bob", "user:cem", "c:y"),
    ("a", "b", "c:x", "c:y"),
    ("nobody:here",),
    ("nobody:there", "b"),
]
KINDS = ["kept", "kept", "ephemeral", "now", "short", "short", "persistent", "long", "long"]
ROOMS = [None, None, 0, 300, 900]

limits = drawn(
    Limits,
    per_channel=[3, 4, 5],
    max_bytes=[1 << 28, 1 << 28, 9_000, 25_000],
    queue_bytes=[262144, 1024, 1024, 2500],
    slice=[1, 2, 256],
    few=[0, 1, 2, 16],
    write_bytes=[1, 250, 700, 65536],
    remembered=[100_000, 1, 2],
)
arrivals = drawn(
    Arrival,
    user=USERS,
    patterns=[PATTERNS[0], PATTERNS[0], *PATTERNS],
    topics=[(), *SOME_TOPICS],
    cursor=CURSORS,
    which=MANY,
    wire=["plain", "json", "msgpack"],
    room=ROOMS,
    direct=[False, True],
)
subscriptions = drawn(
    Subscription, member=MANY, durable=[False, False, True], topics=SOME_TOPICS, cursor=CURSORS, old=MANY
)
ends = drawn(End, member=MANY, topics=SOME_TOPICS, durable=[False, False, True], quiet=[False, True])
grants = drawn(Grant, user=USERS, topic=TOPICS, on=[True, True, False])
publishes = drawn(Publish, to=ADDRESSEES, kind=KINDS, count=[1, 1, 1, 2, 5])
waits = drawn(Wait, seconds=[1.0, 5.0, 25.0, 70.0, 300.0], maintain=[False, True])
which = st.integers(0, len(MANY) - 1)
