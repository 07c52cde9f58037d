"""What a delivery and a connection cost as there are more of them, from 1,000 connections to 19,000.

    python -m bench growth

A hub for each number is up at the same time, with connections that have a user each, his channel and a topic. They
are left alone for as long as it takes to ping everybody once; then they take turns in being published to, together with
C servers that do one ``send()`` per client. Ratios are to the hub with the fewest.
"""

import argparse
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import NamedTuple

from bench.blocks import ROUNDS, take_turns
from bench.processes import Processes, Server
from bench.results import Results
from bench.targeted import AS_IN_PRODUCTION, TargetedClient, saved

CONNECTIONS = (1_000, 5_000, 10_000, 19_000)
BLOCK_DELIVERIES = 57_000
"""How many deliveries one block has, at least."""
PING_S = float(AS_IN_PRODUCTION["HUBD_LIMITS__PING_S"])
SETTLE_S = 1.0


class Crowd(NamedTuple):
    """A hub with its connections, and what the hub's memory grew by for each of them."""

    server: Server
    client: TargetedClient
    rss_bytes: float


def main() -> None:
    parser = argparse.ArgumentParser(description="What a delivery and a connection cost as there are more of them.")
    parser.add_argument("--connections", type=int, nargs="+", default=list(CONNECTIONS))
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--idle", type=float, default=PING_S, help="seconds without anything to do")
    options = parser.parse_args()
    results = Results("growth")
    with saved(results), Processes() as processes:
        crowds = {count: gather(processes, count) for count in sorted(options.connections)}
        print(f"\nhubs with {', '.join(f'{count:,}' for count in crowds)} connections")
        measure_memory(results, crowds)
        measure_idle(results, processes.hub(auth=True, **AS_IN_PRODUCTION), crowds, options.idle)
        measure_deliveries(results, processes, crowds, options.rounds)


def gather(processes: Processes, connections: int) -> Crowd:
    """A hub with so many connections."""
    server = processes.hub(auth=True, **AS_IN_PRODUCTION)
    before = server.rss_bytes()
    client = TargetedClient(processes, server, connections, query="?topics=news")
    time.sleep(SETTLE_S)
    return Crowd(server, client, (server.rss_bytes() - before) / connections)


def measure_memory(results: Results, crowds: Mapping[int, Crowd]) -> None:
    """A connection's part of the hub's memory."""
    costs = {count: [crowd.rss_bytes / 1024] for count, crowd in crowds.items()}
    add_with_ratios(results, "memory of an idle connection", "KiB", costs)


def measure_idle(results: Results, empty: Server, crowds: Mapping[int, Crowd], seconds: float) -> None:
    """A connection's part of the hub's CPU while there is nothing to do but its pings; all hubs at the same time."""
    servers = {0: empty} | {count: crowd.server for count, crowd in crowds.items()}
    before = {count: server.cpu_s() for count, server in servers.items()}
    time.sleep(seconds)
    spent = {count: (server.cpu_s() - before[count]) / seconds for count, server in servers.items()}
    results.add("CPU while idle, nobody connected", "hub", "us/s", [spent.pop(0) * 1e6], connections=0)
    costs = {count: [cpu * 1e6 / count] for count, cpu in spent.items()}
    add_with_ratios(results, "CPU of an idle connection, a second", "us", costs)


def measure_deliveries(results: Results, processes: Processes, crowds: Mapping[int, Crowd], rounds: int) -> None:
    """The hub's CPU for a delivery, and the limit's, which shows how much of its growth is the system's."""
    fewest, *more = crowds
    payload_bytes = crowds[fewest].client.run(broadcasts=1).payload_bytes
    limits = {
        count: processes.client(processes.limit(payload_bytes), count)
        for count in {fewest, more[-1] if more else fewest}
    }

    def hub_block(count: int) -> float:
        run = crowds[count].client.run(broadcasts=-(-BLOCK_DELIVERIES // count))
        return run.server_cpu_s / run.broadcasts / count * 1e6

    def limit_block(count: int) -> float:
        return limits[count].run(-(-BLOCK_DELIVERIES // count), 1).cpu_us

    blocks: dict[tuple[str, int], Callable[[], float]] = {("hub", count): partial(hub_block, count) for count in crowds}
    blocks |= {("limit", count): partial(limit_block, count) for count in sorted(limits)}
    for block in blocks.values():
        block()
    baseline = blocks.pop(("hub", fewest))
    kept = take_turns(baseline, {f"{who} {count}": block for (who, count), block in blocks.items()}, float, rounds)
    for who in ("hub", "limit"):
        costs = {count: kept.runs(f"{who} {count}") for one, count in blocks if one == who}
        if who == "hub":
            costs = {fewest: [(each.first + each.last) / 2 for each in kept.kept]} | costs
        add_with_ratios(results, "CPU of a delivery", "us", costs, who)
    if kept.thrown:
        results.note(f"{kept.thrown} rounds were thrown out, because their two blocks of {fewest:,} differed too much")


def add_with_ratios(
    results: Results, what: str, unit: str, costs: Mapping[int, Sequence[float]], who: str = "hub"
) -> None:
    """What each number of connections costs, and by how many times that differs from the smallest number."""
    fewest, *more = costs
    for count, values in costs.items():
        results.add(f"{what}, {count:,} connections", who, unit, values, connections=count)
    for count in more:
        ratios = [value / base for value, base in zip(costs[count], costs[fewest], strict=True)]
        results.add(f"{what}, {count:,} by {fewest:,}", who, "times", ratios, connections=count)


if __name__ == "__main__":
    main()
