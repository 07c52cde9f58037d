"""What an explanation costs: 1,000 notifications to 100,000 users each in memory; its time, and their memory.

    python -m bench explain

One hub without sockets, in this process: a topic with 100,000 durable subscribers, 1,000 of them connected. Of each
notification some have acked, some were pushed to, and for some a gate had something to say. It is asked for the chain
of users of every kind, and for the counts of notifications. Rings keep a single
one, so what the process grows by is the records, and what else is remembered of a publish: its id, what was acked.
"""

import argparse
import asyncio
import gc
import resource
import time
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

from bench.results import Results
from hubd.config import Config
from hubd.core.subscriptions import Grant
from hubd.core.users import UserSet
from hubd.core.verdict import drop
from hubd.explaining import Explaining
from hubd.hub import Hub
from hubd.testing import RecordingConnection, RecordingPusher, Soon, connect, make_hub

NOTIFICATIONS, USERS, CONNECTED = 1_000, 100_000, 1_000
EXCEPTIONS = 20
"""So many ack each of them, besides all others who stay at what most are at."""
ASKED = 3_000


class QuietPusher(RecordingPusher):
    """Takes whole sets, and lists nobody."""

    def push(self, record: Any, users: UserSet) -> None:
        assert self.hub is not None
        self.hub.delivering.accepted(record, users)


def main() -> None:
    parser = argparse.ArgumentParser(description="What an explanation costs.")
    parser.add_argument("--notifications", type=int, default=NOTIFICATIONS)
    parser.add_argument("--users", type=int, default=USERS)
    options = parser.parse_args()
    results = Results("explain")
    asyncio.run(measure(results, options.notifications, options.users))
    results.save()


async def measure(results: Results, notifications: int, users: int) -> None:
    """Fill a hub, and ask it."""
    hub, here, soon = await _hub_with(users)
    await _publish(hub, here, soon, 50, "before")
    before = _rss()
    await _publish(hub, here, soon, notifications, "n")
    grown = _rss() - before
    ledger = hub.delivering.ledger
    explaining = Explaining(hub)
    random = Random(1)

    def one_of(kind: str) -> Callable[[], str]:
        first, last = {"connected": (0, CONNECTED - 1), "away": (CONNECTED, users - 1), "unknown": (users, users)}[kind]
        return lambda: f"u{random.randint(first, last)}"

    for kind in ("connected", "away", "unknown"):
        user = one_of(kind)
        times = [
            await _timed(explaining.of_user(f"n{random.randrange(notifications)}", user(), lambda name: True))
            for _ in range(ASKED)
        ]
        given = {"notifications": notifications, "users": users}
        results.add(f"explain, a user who is {kind}", "hub", "ms", times, reach="<= 10", **given)
        slow = sorted(times)[int(0.999 * len(times))]
        results.add(f"explain, a user who is {kind}: 99.9 %", "hub", "ms", [slow], reach="<= 10", **given)
    times = [
        await _timed(explaining.of_all(f"n{random.randrange(notifications)}", lambda name: True)) for _ in range(ASKED)
    ]
    results.add("counts of a notification", "hub", "ms", times, reach="<= 10")
    results.add("memory by the ledger's count", "hub", "KiB/n.", [ledger.budget.used / len(ledger) / 1024])
    results.add("memory as the process has grown", "hub", "KiB/n.", [grown / notifications / 1024])


def _rss() -> int:
    """Bytes of memory that this process has."""
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


async def _timed(work: Any) -> float:
    """Milliseconds of CPU time, since others use this machine as well; nothing is waited for."""
    begun = time.process_time()
    await work
    return (time.process_time() - begun) * 1000


async def _hub_with(users: int) -> tuple[Hub, list[RecordingConnection], Soon]:
    pusher = QuietPusher()
    config = Config.model_validate({"replay": {"per_channel": 1}, "delivery": {"explain_bytes": 1 << 30}})
    hub, clock, soon = make_hub(config, pusher=pusher)
    grant = Grant(by_server=True, patterns=(), checked_at=clock.now())
    for number in range(users):
        await hub.durables.put(f"u{number}", "t", grant)
    here = [connect(hub, f"u{number}") for number in range(CONNECTED)]
    return hub, here, soon


async def _publish(hub: Hub, here: list[RecordingConnection], soon: Soon, notifications: int, name: str) -> None:
    random = Random(2)
    kept = UserSet(hub.numbers.number_of(f"u{number}") for number in range(CONNECTED, CONNECTED + 500))
    for connection in here:
        connection._raw.clear()
    for number in range(notifications):
        body = {"id": f"{name}{number}", "to": "t", "notification": {"type": "order"}, "priority": "important"}
        await hub.publish(hub.prepare(body), "bench")
        soon.settle()
        for connection in random.sample(here, EXCEPTIONS):
            hub.ack(connection.identity.user, [f"{name}{number}"], [connection])
        (record,) = hub.delivering.ledger.find_all(f"{name}{number}")
        record.judge([("quiet", drop(kept, "muted"))], hub.clock.now())
        hub.clock.advance(0.01)  # type: ignore[attr-defined]
        if number % 50 == 49:  # some are always open
            hub.clock.advance(10)  # type: ignore[attr-defined]
            hub.delivering.wake()
            for connection in here:
                connection._raw.clear()


if __name__ == "__main__":
    main()
