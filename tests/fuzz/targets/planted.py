"""A target with a fault planted in it."""

from random import Random

from tests.fuzz.mutation import change_bytes
from tests.fuzz.rules.planted import harmless
from tests.fuzz.target import Target


def take(data: bytes) -> None:
    assert harmless(data), "found"


def mutate(data: bytes, random: Random) -> bytes:
    return change_bytes(data, random, ())


TARGET = Target("planted", take, lambda: [b"harmless"], mutate, max_bytes=16)
