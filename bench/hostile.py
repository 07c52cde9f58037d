"""What a thousand hostile connections do to two hundred ordinary ones.

    python -m bench hostile

Ordinary clients get broadcasts, one behind the other, in pairs of runs: one without and one with hostile connections
beside them, a third of which send a request's head in drops, a third a body in drops, and a third read nothing of a
long answer. The hub cuts them again and again, and they come back. The ordinary ones must not wait twice as long.
"""

import argparse
import json
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

from bench.crowd import TOPIC
from bench.processes import BODY_BYTES, CLIENT_CORE, Client, Processes, Run, Server

BEARABLE = 2.0
GROWTH_MB = 256
"""How much more memory the hub may take: what it keeps of answers that nobody takes, twice, and its connections."""
LONG_ANSWER = 100
"""How many notifications of 32 KB it has."""
SETTLE_S = 40.0
"""Until all kinds have been cut for the first time."""


def main() -> None:
    parser = argparse.ArgumentParser(description="Hostile connections among ordinary ones.")
    parser.add_argument("--connections", type=int, default=200)
    parser.add_argument("--hostile", type=int, default=1000)
    parser.add_argument("--broadcasts", type=int, default=2000, help="in each run")
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--settle", type=float, default=SETTLE_S, help="seconds from their coming to the run")
    options = parser.parse_args()
    with Processes() as processes:
        hub = processes.hub(auth=True)
        client = processes.client(hub, options.connections)
        for _ in range(LONG_ANSWER):
            publish(hub, {"to": TOPIC, "notification": {"type": "x", "text": "y" * 32_000}})
        client.run(200, 1, BODY_BYTES)
        before = hub.rss_bytes()
        pairs = [pair(processes, hub, client, options) for _ in range(options.pairs)]
        grown = (peak_bytes(hub) - before) / 2**20
    show(options, pairs, grown)


def pair(processes: Processes, hub: Server, client: Client, options: argparse.Namespace) -> tuple[Run, Run]:
    """A run without them, and one with them."""
    without = client.run(options.broadcasts, 1, BODY_BYTES)
    with crowd(processes, hub, options.hostile) as ask:
        time.sleep(options.settle)
        beside = client.run(options.broadcasts, 1, BODY_BYTES)
        told = ask()
    time.sleep(1)
    print(
        f"  p99 of a delivery: {without.delivery_us['p99'] / 1e3:.2f} ms without them,"
        f" {beside.delivery_us['p99'] / 1e3:.2f} ms with {told['open']}; cut: {told['cut']}",
        flush=True,
    )
    if not all(told["cut"].values()) and options.settle >= SETTLE_S:
        sys.exit("FAILED: some were never cut")
    return without, beside


@contextmanager
def crowd(processes: Processes, hub: Server, count: int) -> Iterator[Any]:
    """The hostile connections, while this lasts; gives what asks them how they are."""
    command = [sys.executable, "-m", "bench.crowd", str(hub.port), hub.key, str(count)]
    process = processes.start(command, CLIENT_CORE, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdin is not None and process.stdout is not None
    lines = process.stdin, process.stdout

    def ask() -> dict[str, Any]:
        lines[0].write("\n")
        lines[0].flush()
        answer: dict[str, Any] = json.loads(lines[1].readline())
        return answer

    ask()  # once all are open
    yield ask
    process.kill()
    process.wait()


def publish(hub: Server, body: dict[str, Any]) -> None:
    headers = {"Authorization": f"Bearer {hub.key}"}
    url = f"http://127.0.0.1:{hub.port}/api/notifications"
    urllib.request.urlopen(urllib.request.Request(url, json.dumps(body).encode(), headers), timeout=10).close()


def peak_bytes(hub: Server) -> int:
    """The most memory that it ever had."""
    return int(Path(f"/proc/{hub.pid}/status").read_text().partition("VmHWM:")[2].split()[0]) * 1024


def show(options: argparse.Namespace, pairs: list[tuple[Run, Run]], grown: float) -> None:
    """The figures; ends the program with status 1 if they aren't bearable."""
    print(f"{options.connections} ordinary clients, {options.hostile} hostile connections; {len(pairs)} pairs of runs")
    ratios = {}
    for name in ("delivery_us", "last_us"):
        found = [getattr(beside, name)["p99"] / getattr(without, name)["p99"] for without, beside in pairs]
        ratios[name] = median(found)
        what = "any delivery" if name == "delivery_us" else "a broadcast's last one"
        print(f"  p99 of {what}, with them / without: {median(found):.2f} ({min(found):.2f} to {max(found):.2f})")
    print(f"  the hub's memory at its peak: {grown:+.0f} MiB")
    if max(ratios.values()) > BEARABLE:
        sys.exit(f"FAILED: the ordinary ones waited more than {BEARABLE} times as long")
    if grown > GROWTH_MB:
        sys.exit(f"FAILED: it took more than {GROWTH_MB} MiB")


if __name__ == "__main__":
    main()
