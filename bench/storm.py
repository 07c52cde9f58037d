"""10,000 clients that come back at once and resume where they stood, compared with as many that only connect."""

import argparse
from collections.abc import Callable
from functools import partial

from bench.blocks import ROUNDS, take_turns
from bench.processes import Processes, Server
from bench.results import Results
from bench.visitors import TARGET, Coming, Publisher, Visitors

CONNECTIONS = 10_000
MISSED = "ubutu"
"""What each has missed in the main block: three of its own, one to everybody, one to its topic."""
BROADCASTS = "b" * 10
REACH = "<= 1.3"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--connections", type=int, default=CONNECTIONS)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--subprotocol", default="", help="hubd.v1.json: each is welcomed, too")
    parser.add_argument("--short", action="store_true", help="a fifth of the connections, and the main figures alone")
    options = parser.parse_args()
    count = options.connections // 5 if options.short else options.connections
    results = Results("storm")
    with Processes() as processes:
        hub = processes.hub(auth=True)
        storm = Storm(processes, hub, count, options.subprotocol)
        measure(storm, results, options.rounds, short=options.short)
    results.save()


def measure(storm: "Storm", results: Results, rounds: int, *, short: bool) -> None:
    """Blocks of storms by turns."""
    blocks: dict[str, Callable[[], Coming]] = {f"{len(MISSED)} missed": partial(storm.resume, MISSED)}
    if not short:
        blocks |= {
            "nothing missed": partial(storm.resume, ""),
            "10 broadcasts missed": partial(storm.resume, BROADCASTS),
        }
    storm.connect()
    found = take_turns(storm.connect, blocks, _seconds, rounds)
    count = storm.count
    results.add("connecting", "hub", "us each", [run.each_us for run in found.baselines()], connections=count)
    for name in blocks:
        runs = found.runs(name)
        results.add(f"resuming, {name}", "hub", "us each", [run.each_us for run in runs], connections=count)
        for unit, cost in (("time", _seconds), ("CPU", _cpu)):
            ratios = [1 / ratio for ratio in found.ratios(name, cost)]
            reach = REACH if name == f"{len(MISSED)} missed" else ""
            results.add(f"resuming/connecting, {unit}, {name}", "hub", "times", ratios, reach, connections=count)
    results.note(f"{count} connections at once; {found.thrown} rounds thrown out; missed: {MISSED}")


def _seconds(run: Coming) -> float:
    return run.seconds


def _cpu(run: Coming) -> float:
    return run.server_cpu_s


class Storm:
    """A hub and those who come back to it, each with a token that the hub knows already."""

    def __init__(self, processes: Processes, hub: Server, count: int, subprotocol: str) -> None:
        self.count = count
        self._publisher = Publisher(hub)
        self._visitors = Visitors(processes, hub, processes.tokens_file(count), subprotocol=subprotocol)
        self._published = 0

    def connect(self) -> Coming:
        """All come without a cursor."""
        run = self._visitors.come(self.count)
        self._see_that_all_are_live()
        return run

    def resume(self, missed: str) -> Coming:
        """All come with the cursor from before so much was published, which each then gets, and then what is live."""
        cursor = self._publisher.cursor()
        first = self._next(missed)
        self._publisher.publish(missed, self.count, first)
        run = self._visitors.come(self.count, f"{TARGET}&cursor={cursor}", missed, first)
        self._see_that_all_are_live()
        return run

    def _see_that_all_are_live(self) -> None:
        first = self._next("b")
        self._visitors.expect("b", first)
        self._publisher.publish("b", self.count, first)
        self._visitors.have_all()
        self._visitors.leave()

    def _next(self, frames: str) -> int:
        """The number of the next one that is published."""
        first = self._published
        self._published += len(frames)
        return first
