"""The broker: gives every publication its place in the one sequence and hands it on in that order."""

from collections.abc import Callable
from typing import NamedTuple, Protocol

from hubd.core.notification import Notification

OnPublication = Callable[[int, Notification], int]
"""Called without a pause in strictly increasing sequence; gives how many connections it was queued for."""


class Published(NamedTuple):
    """A publication's sequence number, and for how many connections of this process it was queued."""

    sequence: int
    live: int


class Broker(Protocol):
    """What brings a publication to every hub that should have it.

    ``on_publication`` is synchronous: from the sequence number to the outboxes nothing else can happen, which is what
    keeps order and replay right without locks. ``publish`` may wait; it returns after the call for its notification.
    """

    def start(self, on_publication: OnPublication, sequence: int = 0) -> None:
        """From now on publications are handed to this function; ``sequence`` was the last one's number."""
        ...

    async def publish(self, notification: Notification) -> Published:
        """Give it its number and hand it on."""
        ...


class LocalBroker:
    """The broker of a hub that is alone: a counter."""

    def __init__(self) -> None:
        self._sequence = 0
        self._on_publication: OnPublication | None = None

    def start(self, on_publication: OnPublication, sequence: int = 0) -> None:
        """Hand publications to this function; the first one's number comes after ``sequence``."""
        self._on_publication = on_publication
        self._sequence = sequence

    async def publish(self, notification: Notification) -> Published:
        """Give it the next number and hand it on at once."""
        assert self._on_publication is not None
        self._sequence += 1
        return Published(self._sequence, self._on_publication(self._sequence, notification))
