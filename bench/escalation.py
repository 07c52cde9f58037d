"""What it costs that an important notification to a large topic is followed until everybody has acked it.

    python -m bench escalation

A topic has a hundred thousand durable subscribers; ten thousand of them are connected, by connections that could ack.
One hub, with a store and with push services that accept everything, publishes informational and important notifications
to it in turns: those who are away are pushed to at once, for the others a deadline runs. A publish is measured from its
request to its last frame. Afterwards many are published whose deadlines are far off, to see what each takes while it is
open.
"""

import argparse
import os
import signal

from bench.blocks import ROUNDS, take_turns
from bench.escalating import IMPORTANT, INFORMATIONAL
from bench.processes import Processes
from bench.results import Results
from bench.targeted import AS_IN_PRODUCTION, TargetedClient, TargetedRun, saved

TOPIC = "orders"
SUBSCRIBERS = 100_000
CONNECTED = 10_000
PUBLISHES = 8
"""In one block."""
OPEN = 60
"""How many are left open, to see what they take."""


def main() -> None:
    parser = argparse.ArgumentParser(description="What it costs to follow important notifications.")
    parser.add_argument("--subscribers", type=int, default=SUBSCRIBERS)
    parser.add_argument("--connected", type=int, default=CONNECTED)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--short", action="store_true", help="fewer rounds, for a quick look")
    options = parser.parse_args()
    results = Results("escalation")
    with saved(results), Processes() as processes:
        measure(processes, results, options.subscribers, options.connected, 5 if options.short else options.rounds)


def measure(processes: Processes, results: Results, subscribers: int, connected: int, rounds: int) -> None:
    """Both priorities in turns, then what open ones take."""
    filled = {"FILLED_TOPIC": TOPIC, "FILLED_SUBSCRIBERS": str(subscribers)}
    # One entry a ring: what replay keeps isn't what is measured.
    settings = AS_IN_PRODUCTION | {"HUBD_REPLAY__PER_CHANNEL": "1", "HUBD_DELIVERY__PUSH_DELAY_S": "3600"}
    hub = processes.hub(auth=True, module="bench.escalating", **filled, **settings)
    client = TargetedClient(processes, hub, connected, TOPIC, query="?acks=1")
    given = {"durable": subscribers, "connected": connected}

    def block(how: signal.Signals, count: int = PUBLISHES) -> TargetedRun:
        os.kill(hub.pid, how)
        return client.run(broadcasts=count)

    for how in (INFORMATIONAL, IMPORTANT):
        block(how)
    kept = take_turns(
        lambda: block(INFORMATIONAL), {"important": lambda: block(IMPORTANT)}, lambda run: run.broadcast_s, rounds
    )
    for name, runs in (("informational", kept.baselines()), ("important", kept.runs("important"))):
        results.add(f"publish, {name}: wall", "hub", "ms", [run.broadcast_s * 1e3 for run in runs], **given)
        cpu = [run.server_cpu_s / run.broadcasts * 1e3 for run in runs]
        results.add(f"publish, {name}: CPU", "hub", "ms", cpu, **given)
    for of, cost in (("wall", wall), ("CPU", cpu_of)):
        ratios = [1 / ratio for ratio in kept.ratios("important", cost)]
        results.add(f"publish, important by informational: {of}", "hub", "times", ratios, reach="<= 1.3", **given)
    block(INFORMATIONAL, OPEN)
    before = hub.rss_bytes()
    block(INFORMATIONAL, OPEN)
    between = hub.rss_bytes()
    block(IMPORTANT, OPEN)
    each = ((hub.rss_bytes() - between) - (between - before)) / OPEN / 2**10
    results.add("memory of an important one while it is open", "hub", "KiB", [each], reach="<= 1024", **given)


def wall(run: TargetedRun) -> float:
    """Seconds of a publish, to its last frame."""
    return run.broadcast_s


def cpu_of(run: TargetedRun) -> float:
    """Seconds of the hub's CPU for a publish, with all its frames."""
    return run.server_cpu_s / run.broadcasts


if __name__ == "__main__":
    main()
