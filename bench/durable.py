"""What durable subscriptions cost a publish to their topic: from one of them to a million, a thousand connected.

    python -m bench durable

Hubs with 1, 1,000, 100,000 and 1,000,000 durable subscribers are up at the same time and take turns. A thousand of
the subscribers (or the one) are connected, each with a token of his own; the others are away, and what is published is
kept for them. A publish is measured from its request to its last frame.

Who is subscribed is noted with each publication, in a set that publications share until it changes. So
it is also measured what they cost when one more user subscribes before each of them.
"""

import argparse
import http.client
import sys
from collections.abc import Sequence
from contextlib import closing
from itertools import count as count_from
from typing import Any

from bench.blocks import ROUNDS, Rounds, take_turns
from bench.processes import Processes, Server
from bench.results import Results
from bench.targeted import AS_IN_PRODUCTION, TargetedClient, TargetedRun, saved

TOPIC = "orders"
SUBSCRIBERS = (1, 1_000, 100_000, 1_000_000)
BASELINE, COMPARED = 1_000, 1_000_000
CONNECTED = 1_000
PUBLISHES = 60
"""In one block."""
JOINS = 40
"""How many publishes a block has when one more subscribes before each."""

_newcomers = count_from()


def main() -> None:
    parser = argparse.ArgumentParser(description="What durable subscriptions cost a publish.")
    parser.add_argument("--connected", type=int, default=CONNECTED, help="subscribers who are connected, at most")
    parser.add_argument("--publishes", type=int, default=PUBLISHES, help="in one block")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--short", action="store_true", help="only what has a figure to reach")
    options = parser.parse_args()
    results = Results("durable")
    subscribers = (BASELINE, COMPARED) if options.short else SUBSCRIBERS
    rounds = 5 if options.short else options.rounds
    with saved(results), Processes() as processes:
        measure(processes, results, subscribers, options.connected, options.publishes, rounds)


def measure(
    processes: Processes, results: Results, subscribers: Sequence[int], connected: int, publishes: int, rounds: int
) -> None:
    """All numbers of subscribers, in turns."""
    clients = {}
    for count in subscribers:
        hub = filled_hub(processes, count)
        clients[count] = TargetedClient(processes, hub, min(connected, count), TOPIC)
        if count == COMPARED:
            results.add("memory of a hub with its subscribers", "hub", "MiB", [hub.rss_bytes() / 2**20], durable=count)

    def block(count: int) -> TargetedRun:
        client = clients[count]
        return client.run(broadcasts=publishes * (1 if client.connections > 1 else 10))

    for count in subscribers:
        block(count)
    others = {str(count): lambda count=count: block(count) for count in subscribers if count != BASELINE}
    kept = take_turns(lambda: block(BASELINE), others, wall, rounds)
    show(results, kept, connected)
    if len(subscribers) > 2:
        joins = take_turns(
            lambda: cpu_with_joins(clients[BASELINE]),
            {"most": lambda: cpu_with_joins(clients[COMPARED])},
            lambda cpu_s: cpu_s,
            max(3, rounds // 2),
        )
        ratios = [1 / ratio for ratio in joins.ratios("most", lambda cpu_s: cpu_s)]
        what = f"publish, {COMPARED:,} durable by {BASELINE:,}, one more before each: CPU"
        results.add(what, "hub", "times", ratios, durable=COMPARED, connected=connected)


def cpu_with_joins(client: TargetedClient) -> float:
    """Seconds of the hub's CPU for somebody's subscribing and a publish behind it."""
    server = client.server
    before = server.cpu_s()
    with closing(http.client.HTTPConnection("127.0.0.1", server.port)) as connection:
        for _ in range(JOINS):
            path = f"/api/users/newcomer{next(_newcomers)}/subscriptions/{TOPIC}"
            connection.request("PUT", path, headers={"Authorization": f"Bearer {server.key}"})
            answer = connection.getresponse()
            answer.read()
            if answer.status != 201:
                sys.exit(f"FAILED: subscribing was answered with {answer.status}")
            client.run(broadcasts=1)
    return (server.cpu_s() - before) / JOINS


def filled_hub(processes: Processes, subscribers: int) -> Server:
    """A hub that has so many durable subscribers to the topic when it starts."""
    settings = {"FILLED_TOPIC": TOPIC, "FILLED_SUBSCRIBERS": str(subscribers)} | AS_IN_PRODUCTION
    return processes.hub(auth=True, module="bench.filled", **settings)


def wall(run: TargetedRun) -> float:
    """Seconds of a publish, to its last frame."""
    return run.broadcast_s


def cpu(run: TargetedRun) -> float:
    """Seconds of the hub's CPU for a publish, with all its frames."""
    return run.server_cpu_s / run.broadcasts


def show(results: Results, kept: Rounds[TargetedRun], connected: int) -> None:
    """All figures."""
    print(f"\none publish to a topic with durable subscribers, of whom {connected:,} at most are connected")
    all_runs: dict[int, list[Any]] = {int(name): kept.runs(name) for name in kept.kept[0].runs}
    all_runs[BASELINE] = kept.baselines()
    for count, runs in sorted(all_runs.items()):
        given = {"durable": count, "connected": min(connected, count)}
        what = f"publish, {count:,} durable subscriber{'s' * (count > 1)}"
        results.add(f"{what}: wall", "hub", "ms", [wall(run) * 1e3 for run in runs], **given)
        results.add(f"{what}: CPU", "hub", "ms", [cpu(run) * 1e3 for run in runs], **given)
    for name in kept.kept[0].runs:
        count = int(name)
        if count < BASELINE:
            continue
        reach = "<= 1.2" if count == COMPARED else ""
        for of, cost in (("wall", wall), ("CPU", cpu)):
            ratios = [1 / ratio for ratio in kept.ratios(name, cost)]
            what = f"publish, {count:,} durable subscribers by {BASELINE:,}: {of}"
            results.add(what, "hub", "times", ratios, reach=reach, durable=count, connected=connected)
    if kept.thrown:
        results.note(f"{kept.thrown} rounds were thrown out, because their two baselines differed too much")


if __name__ == "__main__":
    main()
