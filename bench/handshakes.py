"""CPU of a WebSocket handshake with a user's token, compared with aiohttp's own `WebSocketResponse` without any."""

import argparse
from collections.abc import Callable
from functools import partial
from pathlib import Path

from bench.blocks import ROUNDS, take_turns
from bench.processes import Processes
from bench.results import Results
from bench.visitors import Coming, Visitors, plain_server

CONNECTS = 1500
REACH = "<= 1.0"
TOPICS = ("news", "team:*")
"""What each user's token allows."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--connections", type=int, default=CONNECTS, help="connects in a block")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--short", action="store_true", help="with half as many connects, and plain connections alone")
    options = parser.parse_args()
    count = options.connections // 2 if options.short else options.connections
    results = Results("handshakes")
    with Processes() as processes:
        measure(processes, results, count, options.rounds, with_subprotocol=not options.short)
    results.save()


def measure(processes: Processes, results: Results, count: int, rounds: int, *, with_subprotocol: bool) -> None:
    """Blocks of connects by turns: first with tokens that the hub hasn't seen yet, then with the same again."""
    tokens = fresh_tokens(processes, count, blocks=2 + 2 * (1 + 3 * rounds)).pop
    hub = processes.hub(auth=True)
    plain_form = Visitors(processes, hub, tokens())
    blocks: dict[str, Callable[[], Coming]] = {
        "first": lambda: coming(plain_form, count, tokens()),
        "repeated": lambda: coming(plain_form, count),
    }
    if with_subprotocol:
        own_form = Visitors(processes, hub, tokens(), subprotocol="hubd.v1.json")
        blocks["first, welcomed"] = lambda: coming(own_form, count, tokens())
        blocks["repeated, welcomed"] = lambda: coming(own_form, count)
    baseline = partial(coming, Visitors(processes, plain_server(processes)), count)
    for block in (baseline, *blocks.values()):
        block()  # what a process does the first time it does only then
    cost = Coming.cpu_us.fget
    assert cost is not None
    found = take_turns(baseline, blocks, cost, rounds)
    results.add("CPU of a handshake", "aiohttp", "us", [cost(run) for run in found.baselines()], connects=count)
    for name in blocks:
        results.add(f"CPU of a handshake, {name}", "hub", "us", [cost(run) for run in found.runs(name)], connects=count)
        ratios = [1 / ratio for ratio in found.ratios(name, cost)]
        results.add(f"CPU of a handshake, {name}", "hub/aiohttp", "times", ratios, REACH, connects=count)
    results.note(f"{count} connects in a block, each with its token, one topic; {found.thrown} rounds thrown out")


def fresh_tokens(processes: Processes, count: int, blocks: int) -> list[Path]:
    """Files with tokens that no hub has seen yet; made before anything is measured, for it would be in the way."""
    return [processes.tokens_file(count, (*TOPICS, f"run-{block}")) for block in range(blocks)]


def coming(visitors: Visitors, count: int, tokens: Path | None = None) -> Coming:
    """A block: so many come, with other tokens if there are any, and leave again, which isn't measured."""
    if tokens is not None:
        visitors.bring(tokens)
    run = visitors.come(count)
    visitors.leave()
    return run
