"""Publishes to one user each, over 16 HTTP connections: singly and in batches, against a bare aiohttp handler.

    python -m bench publishes --rounds 9

The hub runs as in production: publishers by API key, users by tokens, with limits, replay and metrics. Of the users who
are published to, some are connected, and what they get is checked as every answer is. The bare handler parses the same
body with orjson and answers as many bytes. A ratio is the handler's time by the hub's: over 1 the hub is faster.
"""

import argparse
import subprocess
import sys
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from bench.blocks import Round, Rounds, take_turns
from bench.processes import BODY_BYTES, CLIENT_CORE, Client, Processes, Server
from bench.results import Results

BLOCK_S = 0.5
"""About how long one block takes."""
WARM_UP_S = 1.0
FIRST_CALLS = 200
"""From how many calls it is told how many make a block."""
BATCH = 100


class RequestsRun(NamedTuple):
    """One run of the client: what it measured, and what the server spent on it."""

    seconds: float
    calls: int
    notifications: int
    deliveries: int
    answer_bytes: float
    server_cpu_s: float
    client_cpu_s: float
    answer_us: Mapping[str, int]

    @property
    def us(self) -> float:
        """Time for one notification."""
        return self.seconds / self.notifications * 1e6

    @property
    def cpu_us(self) -> float:
        """The server's CPU for one notification."""
        return self.server_cpu_s / self.notifications * 1e6


class Requests(Client):
    """The load client of HTTP calls (`native/requests.c`), with users who are connected."""

    def __init__(self, processes: Processes, server: Server, connections: int, publishers: int) -> None:
        program, tokens = processes.native("requests"), processes.tokens_file(connections)
        command = [program, str(server.port), server.key, str(publishers), str(tokens)]
        process = processes.start(command, CLIENT_CORE, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        super().__init__(process, server)
        self.answer()

    def publish(self, calls: int, users: int, *, batch: int = 0, ids: bool = False) -> RequestsRun:
        """Publish to so many users one after the other, ``batch`` notifications a call (0: by the call for one)."""
        return self.measure(f"publish {calls} {batch} {users} {BODY_BYTES} {int(ids)}")

    def measure(self, command: str) -> RequestsRun:
        """What a command of the client's takes."""
        cpu = self._server.cpu_s()
        report = self.ask(command)
        cpu = self._server.cpu_s() - cpu
        return RequestsRun(
            seconds=report["seconds"],
            calls=report["calls"],
            notifications=report["notifications"],
            deliveries=report["deliveries"],
            answer_bytes=report["answer_bytes"],
            server_cpu_s=cpu,
            client_cpu_s=report["client_cpu_seconds"],
            answer_us=report["answer_us"],
        )


def main() -> None:
    parser = argparse.ArgumentParser(description="Publishes to one user each, against a bare aiohttp handler.")
    parser.add_argument("--connections", type=int, default=1000, help="users who are connected")
    parser.add_argument("--users", type=int, default=10000, help="users who are published to")
    parser.add_argument("--publishers", type=int, default=16, help="HTTP connections, one call at a time on each")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--short", action="store_true", help="the main figures only, some 20 s")
    options = parser.parse_args()
    results = Results("publishes")
    with Processes() as processes:
        hub = Requests(processes, processes.hub(auth=True), options.connections, options.publishers)
        bare_server = processes.telling("bare", [sys.executable, "-m", "bench.bare"], "plain")
        bare = Requests(processes, bare_server, 0, options.publishers)
        all_connected = options.connections
        ways: dict[str, Callable[[int], RequestsRun]] = {
            "hub, single": lambda calls: hub.publish(calls, options.users),
            f"hub, batches of {BATCH}": lambda calls: hub.publish(calls, options.users, batch=BATCH),
        }
        if not options.short:
            ways |= {
                "hub, single, with ids": lambda calls: hub.publish(calls, options.users, ids=True),
                "hub, single, all connected": lambda calls: hub.publish(calls, all_connected),
                f"hub, batches of {BATCH}, all connected": lambda calls: hub.publish(calls, all_connected, batch=BATCH),
            }
        rounds = take_turns(
            block_of(lambda calls: bare.publish(calls, options.users)),
            {name: block_of(way) for name, way in ways.items()},
            lambda run: run.cpu_us,
            options.rounds,
        )
        show(results, rounds, list(ways), options)
    results.save()


def block_of(way: Callable[[int], RequestsRun]) -> Callable[[], RequestsRun]:
    """What runs a block, warmed up, of as many calls as take about ``BLOCK_S``."""
    pace = FIRST_CALLS / way(FIRST_CALLS).seconds
    warm = way(max(1, round(pace * WARM_UP_S)))
    calls = max(1, round(warm.calls / warm.seconds * BLOCK_S))
    return lambda: way(calls)


def show(results: Results, rounds: Rounds[RequestsRun], names: list[str], options: argparse.Namespace) -> None:
    """All figures."""
    given = {"publishers": options.publishers, "users": options.users, "connections": options.connections}
    for name in names:
        reach = ">= 0.7" if name == "hub, single" else ""
        results.add(
            "throughput, of bare aiohttp's", name, "times", rounds.ratios(name, lambda run: run.us), reach, **given
        )
        results.add("CPU, bare aiohttp's by this", name, "times", rounds.ratios(name, lambda run: run.cpu_us), **given)
    for name in names:
        if "batches" in name:
            single = "hub, single, all connected" if "connected" in name else "hub, single"
            reach = "" if "connected" in name else ">= 5"
            show_batch(results, rounds.kept, name, single, reach, given)
    for name in ("bare aiohttp", *names):
        show_absolute(results, name, rounds.runs(name) if name in names else rounds.baselines(), given)
    if rounds.thrown:
        results.note(f"{rounds.thrown} rounds thrown out: their two runs of bare aiohttp were too different")


def show_batch(
    results: Results, kept: list[Round[RequestsRun]], name: str, single: str, reach: str, given: Mapping[str, Any]
) -> None:
    """How much cheaper a notification is in a batch."""
    by_cpu = [one.runs[single].cpu_us / one.runs[name].cpu_us for one in kept]
    by_time = [one.runs[single].us / one.runs[name].us for one in kept]
    results.add("CPU, single publishes by this, per notification", name, "times", by_cpu, reach, batch=BATCH, **given)
    results.add("time, single publishes by this, per notification", name, "times", by_time, batch=BATCH, **given)


def show_absolute(results: Results, name: str, runs: list[RequestsRun], given: Mapping[str, Any]) -> None:
    """What only means something beside the others of this run."""
    results.add("publishes a second", name, "", [1e6 / run.us for run in runs], **given)
    results.add("CPU each", name, "us", [run.cpu_us for run in runs], **given)
    for part in ("p50", "p99"):
        results.add(f"answer {part}", name, "ms", [run.answer_us[part] / 1e3 for run in runs], **given)
    results.add("bytes of an answer", name, "", [run.answer_bytes for run in runs], **given)
    results.add("client busy", name, "%", [run.client_cpu_s / run.seconds * 100 for run in runs], **given)


if __name__ == "__main__":
    main()
