"""Notifications to single users while broadcasts go on without a pause, against the same with an unsliced loop.

    python -m bench targeted --connections 10000 --rate 100

There is one broadcast behind the other to write, and meanwhile notifications to single users are published by schedule,
on HTTP connections of their own. Their latency counts from the moment at which they were due to that at which the
user's client has them. In every other block the hub writes a broadcast to everybody before its loop turns again
(`bench/unsliced.py`).
"""

import argparse
import os
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from statistics import median
from typing import Any, NamedTuple

from bench.blocks import ROUNDS, Rounds, take_turns
from bench.processes import BODY_BYTES, CLIENT_CORE, Processes, Server, Talking
from bench.results import Results
from bench.unsliced import SLICED, UNSLICED

BLOCK_S = 3.0
"""About how long one block takes."""
WARM_UP = 10
UNTIL_TARGETED = -1
"""So many broadcasts: until all targeted ones have come."""
AS_IN_PRODUCTION = {"HUBD_LIMITS__PING_S": "25"}
"""What measurements leave out otherwise."""


class TargetedRun(NamedTuple):
    """What one run measured; times are in seconds, latencies in milliseconds."""

    broadcasts: int
    broadcast_s: float
    last_ms: Mapping[str, float]
    targeted_ms: Mapping[str, float]
    late_ms: Mapping[str, float]
    payload_bytes: int
    server_cpu_s: float
    client_cpu_s: float
    seconds: float


class TargetedClient(Talking):
    """A load client (`native/targeted.c`) with its connections open, each of a user of its own with his token."""

    def __init__(
        self, processes: Processes, server: Server, connections: int, channel: str = "notifications", query: str = ""
    ) -> None:
        tokens = str(processes.tokens_file(connections))
        program = processes.native("targeted")
        command = [program, str(server.port), server.key, tokens, str(connections), channel, query]
        self.connections = connections
        self.server = server
        super().__init__(processes.start(command, CLIENT_CORE, stdin=subprocess.PIPE, stdout=subprocess.PIPE))
        self.answer()

    def run(
        self, broadcasts: int = UNTIL_TARGETED, targeted: int = 0, rate: float = 1, body_bytes: int = BODY_BYTES
    ) -> TargetedRun:
        """Publish so many broadcasts, one behind the other, and meanwhile so many to one user each, at that rate."""
        cpu = self.server.cpu_s()
        report = self.ask(f"run {broadcasts} {targeted} {rate} {body_bytes}")
        return TargetedRun(
            broadcasts=report["broadcasts"],
            broadcast_s=report["broadcast_seconds"] / max(1, report["broadcasts"]),
            last_ms=_ms(report.get("last_us")),
            targeted_ms=_ms(report.get("targeted_us")),
            late_ms=_ms(report.get("late_us")),
            payload_bytes=report["payload_bytes"],
            server_cpu_s=self.server.cpu_s() - cpu,
            client_cpu_s=report["client_cpu_seconds"],
            seconds=report["seconds"],
        )


def _ms(parts: Mapping[str, int] | None) -> dict[str, float]:
    return {name: value / 1e3 for name, value in (parts or {}).items()}


@contextmanager
def saved(results: Results) -> Iterator[None]:
    """Also when it has to be given up on the way, which is noted then."""
    try:
        yield
    except BaseException:
        results.note("given up on the way: what is missing here was not measured, or found to be wrong")
        raise
    finally:
        results.save()


def main() -> None:
    parser = argparse.ArgumentParser(description="Notifications to single users amid broadcasts.")
    parser.add_argument("--connections", type=int, default=10_000)
    parser.add_argument("--rate", type=float, default=100, help="notifications to single users, a second")
    parser.add_argument("--seconds", type=float, default=BLOCK_S, help="of each block")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--short", action="store_true", help="fewer rounds, for a quick look")
    options = parser.parse_args()
    rounds = 3 if options.short else options.rounds
    results = Results("targeted")
    with saved(results), Processes() as processes:
        measure(processes, results, options.connections, options.rate, options.seconds, rounds)


def measure(processes: Processes, results: Results, connections: int, rate: float, seconds: float, rounds: int) -> None:
    """One hub with slices and without, in turns."""
    hub = switchable_hub(processes)
    client = TargetedClient(processes, hub, connections)
    count = max(1, round(rate * seconds))

    def block(how: signal.Signals) -> TargetedRun:
        os.kill(hub.pid, how)
        return client.run(targeted=count, rate=rate)

    client.run(broadcasts=WARM_UP, targeted=count // 10, rate=rate)
    alone = client.run(broadcasts=0, targeted=count // 2, rate=rate)
    kept = take_turns(lambda: block(UNSLICED), {"hub": lambda: block(SLICED)}, lambda run: run.broadcast_s, rounds)
    show(results, kept, alone, connections=connections, rate=rate)


def switchable_hub(processes: Processes) -> Server:
    """A hub that takes these signals."""
    return processes.hub(auth=True, module="bench.unsliced", **AS_IN_PRODUCTION)


def show(results: Results, kept: Rounds[TargetedRun], alone: TargetedRun, **given: Any) -> None:
    """All figures."""

    def add(what: str, unit: str, of: Any) -> None:
        results.add(what, "hub", unit, [of(run) for run in kept.runs("hub")], **given)
        results.add(what, "unsliced", unit, [of(run) for run in kept.baselines()], **given)

    def add_ratio(what: str, of: Any, reach: str = "") -> None:
        ratios = [1 / ratio for ratio in kept.ratios("hub", of)]
        results.add(what, "hub/unsliced", "times", ratios, reach=reach, **given)

    print(f"\n{given['connections']} connections, a broadcast at any time, {given['rate']:g}/s to single users")
    add_ratio("targeted publish amid broadcasts, p50", lambda run: run.targeted_ms["p50"], "<= 0.1")
    add_ratio("targeted publish amid broadcasts, p99", lambda run: run.targeted_ms["p99"], "<= 0.25")
    for part in ("p50", "p99", "max"):
        add(f"targeted publish amid broadcasts, {part}", "ms", lambda run, part=part: run.targeted_ms[part])
    results.add("targeted publish, no broadcasts, p50", "hub", "ms", [alone.targeted_ms["p50"]], **given)
    results.add("targeted publish, no broadcasts, p99", "hub", "ms", [alone.targeted_ms["p99"]], **given)
    add_ratio("time of a broadcast meanwhile", lambda run: run.broadcast_s)
    add("time of a broadcast meanwhile", "ms", lambda run: run.broadcast_s * 1e3)
    note_client(results, kept.runs("hub") + kept.baselines())
    if kept.thrown:
        results.note(f"{kept.thrown} rounds were thrown out, because their two unsliced blocks differed too much")


def note_client(results: Results, runs: Sequence[TargetedRun]) -> None:
    """Whether the client itself was in time."""
    busy = median(run.client_cpu_s / run.seconds for run in runs)
    late = median(run.late_ms["p99"] for run in runs)
    results.note(f"the client was busy {busy:.0%} of the time, and published {late:.2f} ms late at the p99")


if __name__ == "__main__":
    main()
