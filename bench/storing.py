"""What it costs to store: group commit against one commit each, and a durable publish against a bufferable one.

    python -m bench storing

The store alone: 64 writers, each of whom waits for his commit before his next write, on SQLite, synchronous=FULL; in
every other block the same store puts one write into a transaction. Over HTTP: one hub, publishes to one user each on 16
(and 64) connections, in turns bufferable and persistent ones, which are answered when they are on the disk.
"""

import argparse
import asyncio
import os
import signal
import tempfile
import time
from pathlib import Path

from bench.blocks import ROUNDS, take_turns
from bench.durably import BUFFERABLE, PERSISTENT
from bench.processes import Processes
from bench.publishes import Requests, RequestsRun
from bench.results import Results
from bench.targeted import saved
from hubd.clock import SystemClock
from hubd.core.stored import Keep, Lane, Row
from hubd.core.users import UserNumbers, UserSet
from hubd.store.opening import open_store
from hubd.store.waiting import Limits
from hubd.tasks import Tasks

WRITERS = 64
BLOCK_S = 1.0
CALLS = 4000
"""In one block over HTTP."""
USERS = 1000


def main() -> None:
    parser = argparse.ArgumentParser(description="What it costs to store.")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--short", action="store_true", help="fewer rounds, for a quick look")
    options = parser.parse_args()
    results = Results("storing")
    rounds = 3 if options.short else options.rounds
    with saved(results), Processes() as processes:
        measure_store(results, rounds)
        for publishers in (16,) if options.short else (16, 64):
            measure_http(processes, results, publishers, rounds)


def measure_store(results: Results, rounds: int) -> None:
    """Writes a second, with group commit and without."""

    def block(batch: int) -> float:
        with tempfile.TemporaryDirectory(prefix="hubd-bench-") as folder:
            return asyncio.run(writes_a_second(Path(folder), batch))

    kept = take_turns(lambda: block(1), {"group commit": lambda: block(Limits().batch)}, lambda rate: 1 / rate, rounds)
    results.add("writes a second, one commit each", "store", "", kept.baselines(), writers=WRITERS)
    results.add("writes a second, group commit", "store", "", kept.runs("group commit"), writers=WRITERS)
    ratios = kept.ratios("group commit", lambda rate: 1 / rate)
    results.add("group commit by one commit each", "store", "times", ratios, reach=">= 8", writers=WRITERS)


async def writes_a_second(folder: Path, batch: int) -> float:
    """Of writers who each wait for their commit."""
    clock, tasks, numbers = SystemClock(), Tasks(), UserNumbers()
    limits = Limits(batch=batch, set_aside=batch // 10)
    store = await open_store(f"sqlite:///{folder}/bench.db", clock, numbers, tasks, limits=limits)
    users = [UserSet((numbers.hold(f"u{number}"),)) for number in range(USERS)]
    end = time.perf_counter() + BLOCK_S

    async def write(writer: int) -> int:
        count = 0
        while time.perf_counter() < end:
            row = a_row(f"{writer}-{count}", users[(writer * 31 + count) % USERS])
            await store.write(Keep(row), Lane.PUBLISH)
            count += 1
        return count

    begun = time.perf_counter()
    counts = await asyncio.gather(*(write(writer) for writer in range(WRITERS)))
    seconds = time.perf_counter() - begun
    await store.close(5.0)
    await tasks.close()
    return sum(counts) / seconds


def a_row(key: str, users: UserSet) -> Row:
    """As of an important notification to one user."""
    now = int(time.time() * 1000)
    body = b'{"id":"%b","type":"bench","title":"%b","priority":"important","sent_at":%d' % (
        key.encode(),
        b"x" * 100,
        now,
    )
    return Row(
        key,
        key,
        body,
        ("user:u1:notifications",),
        "persistent",
        now,
        now + 86_400_000,
        None,
        None,
        (),
        users,
        users,
        now,
    )


def measure_http(processes: Processes, results: Results, publishers: int, rounds: int) -> None:
    """A durable publish against a bufferable one, in one hub."""
    hub = processes.hub(auth=True, module="bench.durably")
    client = Requests(processes, hub, USERS, publishers)

    def block(how: signal.Signals) -> RequestsRun:
        os.kill(hub.pid, how)
        return client.publish(CALLS, USERS)

    for how in (BUFFERABLE, PERSISTENT):
        block(how)
    kept = take_turns(lambda: block(BUFFERABLE), {"durable": lambda: block(PERSISTENT)}, lambda run: run.cpu_us, rounds)
    given = {"publishers": publishers}
    for name, runs in (("bufferable", kept.baselines()), ("durable", kept.runs("durable"))):
        results.add(f"publish, {name}: CPU", "hub", "us", [run.cpu_us for run in runs], **given)
        results.add(f"publish, {name}: time", "hub", "us", [run.us for run in runs], **given)
    ratios = [1 / ratio for ratio in kept.ratios("durable", lambda run: run.cpu_us)]
    results.add("publish, durable by bufferable: CPU", "hub", "times", ratios, reach="<= 1.5", **given)


if __name__ == "__main__":
    main()
