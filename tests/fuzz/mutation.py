"""Makes inputs from inputs: of bytes, of texts, and of trees as documents are."""

import json
import math
from collections.abc import Sequence
from random import Random
from typing import Any

import msgpack

NUMBERS: list[Any] = [
    0, 1, -1, 2, 60, 1000, 2**31, 2**53, 2**63 - 1, 2**63, 2**64 - 1, 2**64, -(2**63), -(2**63) - 1, 10**30,
    366 * 86400, 366 * 86400 + 1, 1_800_000_000_000, 0.5, -0.0, 1e-320, 1e20, 1.7e308, math.nan, math.inf, -math.inf,
]  # fmt: skip
SCALARS: list[Any] = [None, True, False, "", "0", "true", [], {}, *NUMBERS]
LETTERS = [
    "\n", "\r", "\t", "\x00", "\x1f", "\x7f", " ", ":", "*", "**", ".", ",", "-", "_", "@", "/", "\\", '"', "'", "%",
    "é", "é", "ſ", "İ", "١", "１", "：", "\u200b", "\u2028", "\ufeff", "\uffff", "😀", "hub", "user", "<b>",
]  # fmt: skip
LENGTHS = [2, 3, 63, 64, 65, 127, 128, 129, 199, 200, 201, 255, 256, 257, 1000]
"""What a piece is repeated up to: the lengths at which something ends, and their neighbours."""
WIDE = 1200


def change_bytes(data: bytes, random: Random, words: Sequence[str]) -> bytes:
    """A few bytes changed; where atheris is at hand, libFuzzer does this better."""
    changed = bytearray(data)
    for _ in range(random.choice((1, 1, 2, 4))):
        place = random.randrange(len(changed) + 1)
        stop = min(len(changed), place + random.choice((1, 1, 2, 4, 16)))
        match random.randrange(6):
            case 0 if place < len(changed):
                changed[place] ^= 1 << random.randrange(8)
            case 1:
                changed[place:place] = random.randbytes(random.choice((1, 2, 4)))
            case 2:
                del changed[place:stop]
            case 3:
                changed[place:place] = changed[place:stop] * random.choice((1, 2, 100))
            case 4 if words:
                changed[place:stop] = random.choice(words).encode("utf-8", "surrogatepass")
            case _:
                del changed[place:]
    return bytes(changed)


def change_text(text: str, random: Random, words: Sequence[str]) -> str:
    """A text with something of it changed, repeated, taken out or put in."""
    place = random.choice((0, len(text), random.randrange(len(text) + 1)))
    stop = min(len(text), place + random.choice((1, 1, 4, 64)))
    match random.randrange(6):
        case 0:
            return text[:place] + random.choice(LETTERS) + text[place:]
        case 1:
            return text[:place] + text[stop:]
        case 2 if text:
            longer = text[place:stop] or text[-1:]
            return (text + longer * random.choice(LENGTHS))[: random.choice(LENGTHS)]
        case 3 if words:
            return text[:place] + random.choice(words) + text[stop:]
        case 4 if words:
            return random.choice(words)
    return text[:place] + text[place:].swapcase()


def change_tree(tree: Any, random: Random, keys: Sequence[str], words: Sequence[str]) -> Any:
    """The same tree with one of its nodes changed; nothing of the old one is touched."""
    if isinstance(tree, dict) and tree and random.random() < 0.75:
        place = random.choice(list(tree))
        return {**tree, place: change_tree(tree[place], random, keys, words)}
    if isinstance(tree, list) and tree and random.random() < 0.75:
        at = random.randrange(len(tree))
        return [*tree[:at], change_tree(tree[at], random, keys, words), *tree[at + 1 :]]
    if isinstance(tree, dict) and random.random() < 0.9:
        return _change_object(tree, random, keys, words)
    if isinstance(tree, list) and random.random() < 0.9:
        return _change_list(tree, random, keys, words)
    if isinstance(tree, str) and random.random() < 0.8:
        return change_text(tree, random, words)
    if isinstance(tree, bool) and random.random() < 0.5:
        return not tree
    if isinstance(tree, int | float) and random.random() < 0.5:
        # The largest integers are no floats.
        return tree + random.choice((1, -1, 0.5) if abs(tree) < 2**60 else (1, -1))
    return _leaf(tree, random, words)


def _leaf(tree: Any, random: Random, words: Sequence[str]) -> Any:
    match random.randrange(8):
        case 0:
            return [tree]
        case 1:
            return {"a": tree}
        case 2:
            return nested(tree, random)
        case 3 | 4 if words:
            return random.choice(words)
    return random.choice(SCALARS)


def _change_object(tree: dict[Any, Any], random: Random, keys: Sequence[str], words: Sequence[str]) -> Any:
    changed = dict(tree)
    match random.randrange(7):
        case 0 if changed:
            del changed[random.choice(list(changed))]
        case 1 if changed:
            name = random.choice(list(changed))
            changed[change_text(str(name), random, keys)] = changed.pop(name)
        case 2 if changed:
            changed[random.choice(keys)] = random.choice(list(changed.values()))
        case 3 if random.random() < 0.1:
            changed |= {f"k{number}": number for number in range(random.choice((10, 40, 256, 257)))}
        case _:
            changed[random.choice(keys)] = _leaf(random.choice(words), random, words)
    return changed


def _change_list(tree: list[Any], random: Random, keys: Sequence[str], words: Sequence[str]) -> Any:
    at = random.randrange(len(tree) + 1)
    flat = not any(isinstance(one, dict | list) for one in tree)  # many of many would be more than there is memory
    match random.randrange(5):
        case 0:
            return tree[:at] + tree[at + 1 :]
        case 1 if flat:
            return tree * random.choice((2, 3, 10))
        case 2 if flat and tree and random.random() < 0.1:
            return (tree * WIDE)[: random.choice((100, 101, 1000, 1001))]
        case 3 if tree:
            return [*tree, change_tree(random.choice(tree), random, keys, words)]
    return [*tree[:at], _leaf(None, random, words), *tree[at:]]


def nested(tree: Any, random: Random) -> Any:
    """The tree inside of many containers: about as many as may be."""
    for _ in range(random.choice((5, 6, 7, 15, 16, 17, 126, 127, 128, 129))):
        tree = [tree] if random.random() < 0.5 else {"a": tree}
    return tree


def write_json(tree: Any, random: Random) -> bytes:
    """The tree as JSON, now and then as no program writes it."""
    text = json.dumps(tree, ensure_ascii=random.random() < 0.5, default=str)
    match random.randrange(40):
        case 0 | 1:
            pairs = '"a":1,"a":2,' if random.random() < 0.5 else '"action":"ping","to":"a",'
            text = text.replace("{", "{" + pairs, 1)
        case 2:
            text = text.replace('": "', '": "\\ud800', 1)
        case 3:
            text = " \n" + text.replace(":", " :\t")
        case 4:
            text = text.replace('"a"', '"\\u0061"')
        case 5:
            text = "[" * random.choice((100, 990, 3000)) + text
        case 6:
            text = text.replace("1", "1" * random.choice((18, 20, 30, 5000)), 1)
    return text.encode("utf-8", "surrogatepass")


def write_msgpack(tree: Any, random: Random) -> bytes:
    """The tree as msgpack, now and then with what JSON doesn't have."""
    try:
        return bytes(msgpack.packb(_exotic(tree, random) if random.random() < 0.2 else tree))
    except (ValueError, OverflowError, TypeError):  # too deep, too large, or a key that can't be one
        return bytes(msgpack.packb({"action": "ping"}))


def _exotic(tree: Any, random: Random) -> Any:
    if isinstance(tree, dict) and tree and random.random() < 0.8:
        key = random.choice(list(tree))
        if random.random() < 0.3:
            other: Any = random.choice((b"a", 1, None, True, 1.5, msgpack.Timestamp(1, 2)))
            return {**tree, other: tree[key]}
        return {**tree, key: _exotic(tree[key], random)}
    if isinstance(tree, list) and tree and random.random() < 0.8:
        return [_exotic(tree[0], random), *tree[1:]]
    return random.choice((b"bin", msgpack.ExtType(5, b"x"), msgpack.ExtType(-1, b"x"), msgpack.Timestamp(1, 2)))
