"""The only place that makes ids: from a clock and a source of randomness that are handed in."""

import string
from random import Random
from uuid import UUID

from hubd.clock import Clock

_EPOCH_ALPHABET = string.ascii_lowercase + string.digits


class Ids:
    """Makes the ids of notifications, connections and epochs."""

    def __init__(self, clock: Clock, random: Random) -> None:
        self._clock = clock
        self._random = random

    def notification(self) -> str:
        """A UUIDv7 (RFC 9562 section 5.7): they sort by the time at which they were made."""
        milliseconds = int(self._clock.now() * 1000) & (1 << 48) - 1
        bits = self._random.getrandbits(74)
        value = milliseconds << 80 | 0x7 << 76 | (bits >> 62) << 64 | 0b10 << 62 | bits & (1 << 62) - 1
        return str(UUID(int=value))

    def connection(self) -> str:
        """A name for a connection, not to be guessed."""
        return f"{self._random.getrandbits(96):024x}"

    def ticket(self) -> str:
        """A proof, not to be guessed."""
        return f"{self._random.getrandbits(192):048x}"

    def epoch(self) -> str:
        """A name for one life of the sequence."""
        return "".join(self._random.choices(_EPOCH_ALPHABET, k=10))
