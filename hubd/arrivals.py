"""What shows that a notification arrived where nobody acks: the answer to a ping behind it, a poll's next cursor."""

from collections import OrderedDict
from itertools import islice

from hubd.core.connection import Connection
from hubd.core.ring import Rings
from hubd.delivering import Delivering

LOOK_BACK = 1000
"""How many ring entries are looked at to find what an answer brings."""
HANDED_KEPT = 100_000
"""Of how many answers to polls it is remembered what they brought."""


class Arrivals:
    """Follows what was given to connections that don't ack, as far as somebody waits to hear of it."""

    def __init__(self, delivering: Delivering, rings: Rings) -> None:
        self._delivering = delivering
        self._rings = rings
        self._answers = 0
        self._handed: OrderedDict[int, tuple[int, tuple[int, ...]]] = OrderedDict()
        """By the number of an answer: to which user (by number) it went, and the sequence numbers of what was in it."""

    def pong(self, connection: Connection, sequence: int) -> None:
        """A connection answered the ping that went out right behind a notification."""
        if not connection.acks and connection.user is not None:
            self._delivering.proved(sequence, connection.user.number)

    def handed(self, connection: Connection, upto: int) -> int:
        """A poll is about to be answered with what has come for it up to this sequence number.

        Where somebody waits to hear whether that arrives, gives a number for the cursor to carry; else 0.
        """
        delivery = self._delivering.delivery
        user, first = connection.user, delivery.open.first_sequence
        if connection.acks or user is None or first is None or first > upto:
            return 0
        after = max(connection.since, first - 1)
        found = tuple(
            entry.sequence
            for entry in islice(self._rings.after(connection.names(), after), LOOK_BACK)
            if entry.sequence <= upto and delivery.open.waits_for(entry.sequence, user.number)
        )
        if not found:
            return 0
        self._answers += 1
        self._handed[self._answers] = user.number, found
        if len(self._handed) > HANDED_KEPT:
            self._handed.popitem(last=False)
        return self._answers

    def answer_arrived(self, connection: Connection, answer: int) -> None:
        """The user's next poll brings the cursor of that answer: he has got it."""
        number, sequences = self._handed.get(answer, (None, ()))
        if connection.user is not None and connection.user.number == number:
            del self._handed[answer]
            for sequence in sequences:
                self._delivering.proved(sequence, number)
