"""The hub is stopped and started while publishing goes on: who was there misses nothing, or is told that he did."""

import asyncio
import signal
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.restart.daemon import Daemon
from tests.restart.feeding import Feed, Sent
from tests.restart.visitors import Crowd, Visitor


class Size(NamedTuple):
    """How much of everything; ``patience``: of the seconds that the hub tells clients to wait, so many do they wait."""

    clients: int
    topics: int
    publishers: int
    pause_s: float
    before_s: float
    after_s: float
    patience: float


FEW = Size(clients=63, topics=4, publishers=3, pause_s=0.01, before_s=1.0, after_s=0.5, patience=0.1)
MANY = Size(clients=1000, topics=20, publishers=4, pause_s=0.08, before_s=8.0, after_s=5.0, patience=1.0)
SIZES = pytest.mark.parametrize(
    "size", [pytest.param(FEW, id="few"), pytest.param(MANY, id="1000", marks=pytest.mark.long)]
)


class Outage(NamedTuple):
    """What there was, and how long things took (seconds)."""

    crowd: Crowd
    feed: Feed
    stopped_in: float
    ready_in: float
    all_back_in: float

    def __str__(self) -> str:
        connects = sum(visitor.connects - 1 for visitor in self.crowd.visitors)
        received = sum(len(visitor.got) for visitor in self.crowd.visitors)
        gaps = Counter(gap.reason for visitor in self.crowd.visitors for gap in visitor.gaps)
        return (
            f"{len(self.crowd.visitors)} clients, {len(self.feed.sent)} published, {received} received;"
            f" stopped in {self.stopped_in:.2f} s, ready again {self.ready_in:.2f} s later, all back"
            f" {self.all_back_in:.2f} s after that ({connects} connections); gaps {dict(gaps)},"
            f" publishers that noticed {len(self.feed.outages)}"
        )


@pytest.fixture
async def daemon(tmp_path: Path) -> AsyncIterator[Daemon]:
    made = Daemon(tmp_path)
    yield made
    await made.end()


async def outage(daemon: Daemon, size: Size, number: signal.Signals) -> Outage:
    """Clients come, publishing begins, the hub goes and comes back, and everybody gets the last notification."""
    await daemon.start()
    crowd = Crowd(daemon, size.clients, size.topics, size.patience)
    try:
        await crowd.come()
        feed = Feed(daemon, size.clients, size.topics, size.publishers, size.pause_s)
        await feed.to_all()
        await crowd.until(lambda visitor: bool(visitor.got), "has got something")
        await asyncio.sleep(size.before_s / 2)
        for visitor in crowd.sleepers:
            visitor.sleep()
        await asyncio.sleep(size.before_s / 2)
        stopped_in = await daemon.stop(number)
        ready_in = await daemon.start()
        for visitor in crowd.sleepers:
            visitor.wake()
        all_back_in = await crowd.until(lambda visitor: visitor.is_in and visitor.connects > 1, "is back")
        await asyncio.sleep(size.after_s)
        await feed.stop()
        last = await feed.to_all()
        await crowd.until(lambda visitor: last.mark in visitor.got[-1:], "has got the last one")
    finally:
        await crowd.end()
    assert not crowd.faults, crowd.faults[0]
    return Outage(crowd, feed, stopped_in, ready_in, all_back_in)


def meant_for(visitor: Visitor, sent: list[Sent]) -> list[str]:
    """The marks of what a client should get, in sequence."""
    return [one.mark for one in sorted(sent, key=lambda one: one.sequence) if one.to in visitor.channels]


@SIZES
@pytest.mark.timeout(200)
async def test_a_clean_restart_loses_nothing(size: Size, daemon: Daemon) -> None:
    happened = await outage(daemon, size, signal.SIGTERM)
    print(happened)
    sent = happened.feed.sent
    assert happened.feed.outages, "nobody published while the hub was away"
    assert len({one.epoch for one in sent}) == 1
    for visitor in happened.crowd.visitors:
        assert visitor.got == meant_for(visitor, sent), f"{visitor.user} by {visitor.wire}"
        assert visitor.gaps == [], f"{visitor.user} by {visitor.wire}"


@SIZES
@pytest.mark.timeout(200)
async def test_a_crash_loses_nothing_in_silence(size: Size, daemon: Daemon) -> None:
    happened = await outage(daemon, size, signal.SIGKILL)
    print(happened)
    sent = happened.feed.sent
    epoch = sent[-1].epoch
    first, second = ([one for one in sent if (one.epoch == epoch) is is_new] for is_new in (False, True))
    assert first and len({one.epoch for one in first}) == 1
    lost = repeated = 0
    for visitor in happened.crowd.visitors:
        who = f"{visitor.user} by {visitor.wire}"
        assert [gap[1:] for gap in visitor.gaps] == [(None, "epoch")], who
        before, after = visitor.got[: visitor.gaps[0].after], visitor.got[visitor.gaps[0].after :]
        meant, fresh = meant_for(visitor, first), meant_for(visitor, second)
        assert after[len(after) - len(fresh) :] == fresh, f"{who}: after the gap"
        # What still waited for an ack was stored, and is in the rings again before all others.
        again = after[: len(after) - len(fresh)]
        assert len(set(again)) == len(again) and set(again) <= {*meant, *fresh}, f"{who}: it wasn't sent to him before"
        # What went out, and the publisher never heard of it, he has sent again: under the same id, to the new epoch.
        unanswered = [mark for mark in before if mark not in set(meant)]
        assert set(unanswered) <= set(after), f"{who}: got what nobody sent him"
        assert len(unanswered) <= size.publishers
        known = [mark for mark in before if mark in set(meant)]
        assert known == meant[: len(known)], f"{who}: something is missing, and not between its last one and the gap"
        lost += len(meant) - len(known)
        repeated += len(unanswered)
    print(f"lost between the last cursor and the gap: {lost}; came again with the same id: {repeated}")
