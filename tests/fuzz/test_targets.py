"""Every target, a little and without atheris, so that none of them rots; and each finds what is planted for it."""

import re
from collections.abc import Callable, Iterator
from random import Random
from typing import Any

import pytest

from hubd import config, jwt_keys
from hubd.core import channel, cursor, document, notification, protocol, publish
from hubd.edge import frames, origin, polling, proxies
from tests.fuzz import mutation
from tests.fuzz.every_target import TARGETS
from tests.fuzz.target import Target, TooSlow, timed

INPUTS = 300
PLANTED_INPUTS = 4000
POOL = 200


def inputs(target: Target, count: int) -> Iterator[bytes]:
    """The seeds, and what comes from them; the same every time."""
    random = Random(1)
    pool = target.seeds()
    yield from pool[:]
    for number in range(count):
        data = random.choice(pool)
        made = target.mutate(data, random) if number % 3 else mutation.change_bytes(data, random, target.words)
        made = made[: target.max_bytes]
        yield made
        if len(pool) < POOL:
            pool.append(made)


def take(target: Target, data: bytes) -> None:
    try:
        target.take(data)
    except Exception as error:
        error.add_note(f"by this input: {data!r}")
        raise


@pytest.mark.parametrize("target", TARGETS.values(), ids=list(TARGETS))
def test_a_few_inputs_of_each_kind(target: Target) -> None:
    for data in inputs(target, INPUTS):
        take(target, data)


def leak(algorithm: str, secret: bytes) -> None:
    raise ValueError(f"{secret.decode()} is no key")


def weak_mark(draft: publish.Draft) -> bytes:
    return repr((draft.channels, draft.payload, draft.group)).encode()


def fits(pattern: list[str], segments: list[str]) -> bool:
    return all(wanted in ("*", "**", found) for wanted, found in zip(pattern, segments, strict=False))


def from_the_front(lines: list[str]) -> Iterator[str]:
    for line in lines:
        yield from line.split(",")


def longer(pattern: re.Pattern[str], more: str) -> re.Pattern[str]:
    return re.compile(pattern.pattern + more, pattern.flags)


# Where it is planted, and what stands there then.
PLANTED: list[tuple[str, Any, str, Any]] = [
    ("frames", frames, "_check_utf8", lambda text, final: b""),
    ("frames", frames, "_MAX_CONTROL_BYTES", 126),
    ("frames", frames, "_RESERVED_BITS", 0x60),
    ("frames", frames, "_CLOSE_CODES", frozenset(range(1000, 5000))),
    ("actions", document, "_dict", dict),
    ("actions", document, "_refuse_surrogates", lambda value: None),
    ("actions", protocol, "REF_CHARS", 10_000),
    ("cursors", cursor, "_CURSOR", re.compile(r"([a-z0-9]{10})-(\d{1,18})")),
    ("cursors", cursor, "_CURSOR", longer(cursor._CURSOR, "\n?")),
    ("topics", channel, "_NAME", longer(channel._NAME, "\n?")),
    ("topics", channel, "SEGMENTS", 7),
    ("topics", channel, "_fits", fits),
    ("bodies", publish, "HUB_FIELDS", notification.HUB_FIELDS[:-1]),
    ("bodies", publish.Draft, "fingerprint", weak_mark),
    ("bodies", publish, "check_size", lambda value, depth, keys: None),
    ("bodies", publish, "_treated", lambda body, payload, defaults: ("important", "bufferable")),
    ("config", jwt_keys, "_shared_secret", leak),
    ("config", config, "_BARE_KEY", re.compile("(?s).*")),
    ("config", config, "_environment_value", lambda path, text: 1),
    ("config", config, "_apply_environment", lambda raw, environ, sources: []),
    ("requests", polling, "LONGEST_S", 600.0),
    ("requests", origin, "_ORIGIN", longer(origin._ORIGIN, ".*")),
    ("requests", channel, "_fits", fits),
    ("forwarded", proxies, "counted", str),
    ("forwarded", proxies, "_from_the_end", from_the_front),
    ("forwarded", proxies, "_ENTRY", re.compile(r"(.*)")),
]


@pytest.mark.parametrize(
    ("name", "place", "attribute", "fault"), PLANTED, ids=[f"{name}-{attribute}" for name, _, attribute, _ in PLANTED]
)
def test_what_is_planted_is_found(
    name: str, place: Any, attribute: str, fault: Any, monkeypatch: pytest.MonkeyPatch, fresh_names: None
) -> None:
    monkeypatch.setattr(place, attribute, fault)
    with pytest.raises(Exception) as found:
        for data in inputs(TARGETS[name], PLANTED_INPUTS):
            TARGETS[name].take(data)
    assert found.type is not TooSlow


@pytest.fixture
def fresh_names() -> Iterator[None]:
    """Channel names are remembered: not from before the fault, and not beyond it."""
    channel.parse_channel.cache_clear()
    yield
    channel.parse_channel.cache_clear()


def test_every_target_has_something_planted() -> None:
    assert {name for name, *_ in PLANTED} == set(TARGETS)


def test_what_takes_long_is_found_and_a_busy_machine_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = {"passed": 0.0, "worked": 0.0}
    monkeypatch.setattr("tests.fuzz.target.time.perf_counter", lambda: clock["passed"])
    monkeypatch.setattr("tests.fuzz.target.time.process_time", lambda: clock["worked"])

    def work(passed: float, worked: float) -> Callable[[], None]:
        def pass_time() -> None:
            clock["passed"] += passed
            clock["worked"] += worked

        return pass_time

    monkeypatch.setattr("tests.fuzz.target._watch.mark", 0.0)
    timed(work(0.9, 0.9))
    timed(work(60, 0.01))
    with pytest.raises(TooSlow):
        timed(work(1.1, 1.1))
