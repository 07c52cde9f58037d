"""The only place that makes ids: from a clock and a source of randomness that are handed in."""

import string
from random import Random

from hubd.clock import Clock

_EPOCH_ALPHABET = string.ascii_lowercase + string.digits
_DIGITS = 20
"""Random hex digits that are put by for one id; it needs 18 and a half."""
_PUT_BY = 64
"""For how many ids they are fetched at a time, because each time is a system call."""
_VARIANTS = {f"{value:x}": "89ab"[value % 4] for value in range(16)}
"""By a random digit the one of which only two bits are."""


class Ids:
    """Makes the ids of notifications, connections and epochs."""

    def __init__(self, clock: Clock, random: Random) -> None:
        self._clock = clock
        self._random = random
        self._digits = ""
        self._place = 0
        self._life = ""
        self._publications = 0

    def notification(self) -> str:
        """A UUIDv7 (RFC 9562 section 5.7): they sort by the time at which they were made."""
        time = f"{int(self._clock.now() * 1000) & (1 << 48) - 1:012x}"
        place = self._place
        if place == len(self._digits):
            self._digits = f"{self._random.getrandbits(4 * _DIGITS * _PUT_BY):0{_DIGITS * _PUT_BY}x}"
            place = 0
        self._place = place + _DIGITS
        digits = self._digits[place : place + _DIGITS]
        variant = _VARIANTS[digits[0]]
        return f"{time[:8]}-{time[8:]}-7{digits[1:4]}-{variant}{digits[4:7]}-{digits[7:19]}"

    def publication(self) -> str:
        """A name for one publication, such as no other one has, in whatever process."""
        self._life = self._life or f"{self._random.getrandbits(80):020x}"
        self._publications += 1
        return f"{self._life}-{self._publications}"

    def connection(self) -> str:
        """A name for a connection, not to be guessed."""
        return f"{self._random.getrandbits(96):024x}"

    def ticket(self) -> str:
        """A proof, not to be guessed."""
        return f"{self._random.getrandbits(192):048x}"

    def secret(self) -> bytes:
        """What to sign with, 32 bytes."""
        return self._random.getrandbits(256).to_bytes(32, "big")

    def epoch(self) -> str:
        """A name for one life of the sequence."""
        return "".join(self._random.choices(_EPOCH_ALPHABET, k=10))
