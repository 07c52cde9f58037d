"""Fan-out end to end: hubd, the limit (a C loop of send()), and other servers, by turns.

    python -m bench fanout --connections 1000 10000 --window 1 8 --peers hub nchan nats

From a publish being sent to its last delivery being received. All servers stay up, each with its own connections, and
take turns in short blocks. A ratio is the limit's cost by the server's in the same round: over 1 the server is faster.
hubd has all of it on: users with HS256 tokens, each with a channel of his own and one topic, an API key, replay,
presence, limits, metrics. What the others send is as long as hubd's frames.
"""

import argparse
from collections.abc import Callable
from statistics import median
from typing import NamedTuple

from bench.blocks import ROUNDS, Rounds, take_turns
from bench.peers import PEERS, Missing
from bench.processes import BODY_BYTES, Client, Processes, Run, Server
from bench.results import Results
from bench.targeted import saved

HUB, LIMIT = "hub", "limit"
BLOCK_S, SHORT_BLOCK_S = 0.6, 0.3
"""About how long the limit takes for one block."""
LEAST_IN_BLOCK = 5
WINDOWS_IN_BLOCK = 3
"""How often a block turns over all that is outstanding, at least: so that it isn't all beginning and end."""
WARM_UP_DELIVERIES = 40_000
SHORT_PEERS = [HUB, "nchan", "nats", "websockets"]
REACH = {
    ("wall", 10000, 1): ">= 0.88",
    ("CPU", 10000, 1): ">= 0.88",
    ("wall", 10000, 8): ">= 3.0",
}
RIVALS = {(1000, 1): "nchan", (1000, 8): "nats"}
"""Whom the hub has to equal."""
COSTS: dict[str, Callable[[Run], float]] = {"wall": lambda run: run.seconds, "CPU": lambda run: run.cpu_us}
IDLE_REACH = {19000: "<= 4.0"}
_HEADING = (
    f"  {'':10}  {'of the limit: wall':22} {'CPU':20}  us CPU of a"
    f"   ms to last: p50     p99   to each: p50     p99   client busy"
)


class Contender(NamedTuple):
    """One that takes turns: its client, and with how long a body its messages have the size of all."""

    client: Client
    body_bytes: int = BODY_BYTES

    def run(self, broadcasts: int, window: int) -> Run:
        """One block."""
        return self.client.run(broadcasts, window, self.body_bytes)

    def warm_up(self, connections: int, window: int = 1) -> Run:
        """A short one, for what is slower the first time."""
        return self.run(max(window, WARM_UP_DELIVERIES // connections), window)


def main() -> None:
    parser = argparse.ArgumentParser(description="Fan-out of hubd and others against a C loop of send().")
    parser.add_argument("--connections", type=int, nargs="+", help="1000 10000; without --short 19000 too")
    parser.add_argument("--window", type=int, nargs="+", default=[1, 8], help="publishes outstanding at a time")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--peers", nargs="+", choices=[HUB, *PEERS], help="who takes part; without it, all")
    parser.add_argument("--short", action="store_true", help="shorter blocks, and fewer peers and connections")
    options = parser.parse_args()
    peers = options.peers or (SHORT_PEERS if options.short else [HUB, *PEERS])
    block_s = SHORT_BLOCK_S if options.short else BLOCK_S
    results = Results("fanout")
    with saved(results):
        for connections in options.connections or ([1000, 10000] if options.short else [1000, 10000, 19000]):
            with Processes() as processes:
                contenders = connect(processes, results, peers, connections)
                for window in options.window:
                    measure(results, contenders, connections, window, options.rounds, block_s)


def connect(processes: Processes, results: Results, peers: list[str], connections: int) -> dict[str, Contender]:
    """All servers, with all their connections."""
    print(f"\n{connections:,} connections")
    contenders = {}
    payload_bytes = 0
    for name in sorted(peers, key=[HUB, *PEERS].index):
        try:
            server = processes.hub(auth=True) if name == HUB else PEERS[name](processes)
        except Missing as missing:
            text = f"{name} was not measured: {missing}"
            if text not in results.notes:
                results.note(text)
            continue
        client = open_client(processes, results, name, server, connections)
        found = Contender(client).warm_up(connections).payload_bytes
        payload_bytes = payload_bytes or found
        contenders[name] = Contender(client, BODY_BYTES + payload_bytes - found)
    client = open_client(processes, results, LIMIT, processes.limit(payload_bytes), connections)
    contenders[LIMIT] = Contender(client)
    results.note(f"{connections:,} connections: frames of {payload_bytes} bytes")
    return contenders


def open_client(processes: Processes, results: Results, name: str, server: Server, connections: int) -> Client:
    """All connections of one server, and what they take of its memory."""
    before = server.rss_bytes()
    client = processes.client(server, connections)
    idle = (server.rss_bytes() - before) / connections / 1024
    reach = IDLE_REACH.get(connections, "") if name == HUB else ""
    results.add("memory of an idle connection", name, "KiB", [idle], reach, connections=connections)
    return client


def measure(
    results: Results, contenders: dict[str, Contender], connections: int, window: int, rounds: int, block_s: float
) -> None:
    """The rounds of one number of connections and one window."""
    about = f"{connections:,} connections, window {window}"
    warm_ups = {}
    for name, contender in list(contenders.items()):
        try:
            warm_ups[name] = contender.warm_up(connections, window)
        except SystemExit as failure:  # a peer that loses something is told, and the others go on
            if name in (HUB, LIMIT):
                raise
            del contenders[name]
            results.note(f"{about}: {name} was left out from here on, for its load client found it wrong: {failure}")
    broadcasts = max(LEAST_IN_BLOCK, WINDOWS_IN_BLOCK * window, round(block_s / warm_ups[LIMIT].broadcast_ms * 1e3))

    def block(name: str) -> Callable[[], Run]:
        return lambda: contenders[name].run(broadcasts, window)

    others = {name: block(name) for name in contenders if name != LIMIT}
    found = take_turns(block(LIMIT), others, lambda run: run.seconds, rounds)
    print(f"\n{about}: {len(found.kept)} rounds, blocks of {broadcasts} broadcasts")
    if found.thrown:
        results.note(f"{about}: {found.thrown} more were thrown out")
    keep_all(results, found, list(others), {"connections": connections, "window": window})


def keep_all(results: Results, found: Rounds[Run], names: list[str], given: dict[str, int]) -> None:
    """The figures of these rounds: a table of all servers, and lines for what the hub has to reach."""
    print(_HEADING)
    for name in [LIMIT, *names]:
        runs = found.baselines() if name == LIMIT else found.runs(name)
        ratios = ["1" if name == LIMIT else keep_ratio(results, found, name, cost, given) for cost in COSTS]
        medians = [results.keep(what, name, unit, values, **given).median for what, unit, values in details(runs)]
        row = "{:12.2f} {:18.2f} {:8.2f} {:13.2f} {:8.2f} {:12.0%}".format(*medians)
        print(f"  {name:10}  {ratios[0]:22} {ratios[1]:20} {row}")
    if HUB not in names:
        return
    at = given["connections"], given["window"]
    for cost, of in COSTS.items():
        if reach := REACH.get((cost, *at)):
            results.add(f"fan-out of the limit, {cost}", HUB, "", found.ratios(HUB, of), reach, **given)
    for rival in names:
        ratios_to_it = [each.runs[rival].seconds / each.runs[HUB].seconds for each in found.kept]
        if RIVALS.get(at) == rival:
            results.add(f"fan-out of {rival}, wall", HUB, "", ratios_to_it, ">= 1.0", **given)
        elif rival != HUB:
            results.keep(f"fan-out of {rival}, wall", HUB, "", ratios_to_it, **given)


def keep_ratio(results: Results, found: Rounds[Run], name: str, cost: str, given: dict[str, int]) -> str:
    """The limit's cost by that of one server."""
    ratios = found.ratios(name, COSTS[cost])
    if name != HUB or (cost, *given.values()) not in REACH:  # which gets a line of its own
        results.keep(f"fan-out of the limit, {cost}", name, "", ratios, **given)
    return f"{median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"


def details(runs: list[Run]) -> list[tuple[str, str, list[float]]]:
    """What is said of each server."""
    return [
        ("CPU per delivery", "us", [run.cpu_us for run in runs]),
        ("last delivery, p50", "ms", [run.last_us["p50"] / 1e3 for run in runs]),
        ("last delivery, p99", "ms", [run.last_us["p99"] / 1e3 for run in runs]),
        ("each delivery, p50", "ms", [run.delivery_us["p50"] / 1e3 for run in runs]),
        ("each delivery, p99", "ms", [run.delivery_us["p99"] / 1e3 for run in runs]),
        ("client busy", "", [run.client_cpu_s / run.seconds for run in runs]),
    ]


if __name__ == "__main__":
    main()
