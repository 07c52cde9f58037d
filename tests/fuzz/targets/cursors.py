"""Cursors: any text either names a place in the hub's sequence, or is told apart by the right gap."""

import asyncio
from functools import cache
from random import Random
from zlib import crc32

from hubd.core.cursor import read_cursor
from hubd.testing import connect
from tests.fuzz import mutation
from tests.fuzz.target import Target, timed
from tests.hub_world import World, ids, story

KEPT, SENT = 3, 10
SOME = 8
"""Of what is no cursor, one in so many is also resumed with: that takes longer, and comes out the same."""
TOPIC = "team:engineering"
LOWER = frozenset("abcdefghijklmnopqrstuvwxyz0123456789")
DIGITS = "0123456789"
WORDS = ("0", "1", "9", "10", "11", "00", "-", "999999999999999999", "1000000000000000000", "-1", "+1", "1_0", "²", "٣")


@cache
def world() -> World:
    """A hub that has sent ten, and keeps three."""
    made = World(per_channel=KEPT)
    asyncio.run(made.publish(TOPIC, count=SENT))
    return made


def take(data: bytes) -> None:
    text = data.decode("utf-8", "surrogateescape").replace("EPOCH", world().cursor().partition("-")[0])
    cursor = timed(read_cursor, text)
    if cursor is None:
        assert not is_cursor(text), f"refused: {text!r}"
    else:
        assert is_cursor(text), f"taken: {text!r}"
        assert str(cursor) == text and read_cursor(str(cursor)) == cursor
    if cursor is not None or crc32(data) % SOME == 0:
        check_resume(text)


def is_cursor(text: str) -> bool:
    epoch, _, number = text.partition("-")
    return (
        len(epoch) == 10
        and all(letter in LOWER for letter in epoch)
        and 1 <= len(number) <= 18
        and all(letter in DIGITS for letter in number)
        and (number == "0" or number[0] != "0")
    )


def check_resume(text: str) -> None:
    """Whoever comes back with it gets what is kept behind it, and a gap exactly if that isn't all."""
    here = world()
    connection = timed(connect, here.hub, "42", (TOPIC,), text)
    here.settle(connection)
    told = story(connection)
    connection.drop()
    epoch, _, number = text.partition("-")
    if not is_cursor(text) or (f"{epoch}-" == here.cursor(0)[:-1] and int(number) > SENT):
        gap, after = ["gap None bad_cursor"], 0
    elif f"{epoch}-" != here.cursor(0)[:-1]:
        gap, after = ["gap None epoch"], 0
    else:
        after = int(number)
        gap = [f"gap {TOPIC} evicted"] if after < SENT - KEPT else []
    assert told == ["welcome", *gap, *ids(max(after, SENT - KEPT) + 1, SENT)], told


def mutate(data: bytes, random: Random) -> bytes:
    text = data.decode("utf-8", "surrogateescape")
    epoch, _, number = text.partition("-")
    match random.randrange(6):
        case 0:
            text = f"{epoch}-{random.choice((0, 1, 6, 7, 8, 9, 10, 11, 10**17, 10**18))}"
        case 1:
            text = f"{random.choice(('EPOCH', 'EPOCHS', 'abcdefghij'))}-{number}"
        case _:
            text = mutation.change_text(text, random, WORDS)
    return text.encode("utf-8", "surrogateescape")


def seeds() -> list[bytes]:
    texts = ["EPOCH-5", "EPOCH-7", "EPOCH-10", "EPOCH-11", "EPOCH-0", "abcdefghij-5", "", "-", "no~cursor", "EPOCH-05"]
    texts.append("EPOCH-5\n")
    return [text.encode() for text in texts]


TARGET = Target("cursors", take, seeds, mutate, ("EPOCH", *WORDS), max_bytes=256)
