"""Fan-out end to end, compared with a C server that does one ``send()`` per client.

    python -m bench.fanout --connections 1000 10000 --window 1 8

From a publish being sent over HTTP to its last frame being received. Both servers stay up, each with its own
connections, and take turns in short blocks, because only neighbours in time can be compared on a machine with
neighbours. A ratio is the limit's time by the hub's: over 1 the hub is faster.
"""

import argparse
from statistics import median

from bench.processes import Client, Processes, Run

BLOCK_S = 0.6
"""About how long one block takes."""
WARM_UP = 20


def main() -> None:
    parser = argparse.ArgumentParser(description="Fan-out of hubd against a C loop of send().")
    parser.add_argument("--connections", type=int, nargs="+", default=[1000, 10000])
    parser.add_argument("--window", type=int, nargs="+", default=[1, 8], help="publishes outstanding at a time")
    parser.add_argument("--blocks", type=int, default=9, help="pairs of blocks for each figure")
    options = parser.parse_args()
    for connections in options.connections:
        with Processes() as processes:
            measure(processes, connections, options.window, options.blocks)


def measure(processes: Processes, connections: int, windows: list[int], blocks: int) -> None:
    """One number of connections, with all windows."""
    hub = processes.hub()
    before = hub.rss_bytes()
    hub_client = processes.client(hub, connections)
    idle = (hub.rss_bytes() - before) / connections / 1024
    payload_bytes = hub_client.run(WARM_UP, 1).payload_bytes
    limit_client = processes.client(processes.limit(payload_bytes), connections)
    limit_client.run(WARM_UP, 1)
    print(f"\n{connections} connections, frames of {payload_bytes} bytes; idle: {idle:.2f} KiB of the hub's RSS each")
    for window in windows:
        broadcasts = max(2 * window, 3, round(BLOCK_S / limit_client.run(WARM_UP, window).seconds * WARM_UP))
        pairs = [take_turns(limit_client, hub_client, broadcasts, window) for _ in range(blocks)]
        show(pairs, window, broadcasts)


def take_turns(limit: Client, hub: Client, broadcasts: int, window: int) -> tuple[Run, Run]:
    """A block of each."""
    return limit.run(broadcasts, window), hub.run(broadcasts, window)


def show(pairs: list[tuple[Run, Run]], window: int, broadcasts: int) -> None:
    """The figures of one window: medians over the blocks, and of the ratios the range too."""
    print(f"  window {window} ({len(pairs)} pairs of blocks of {broadcasts} broadcasts)")
    _show_ratio("wall", [limit.seconds / hub.seconds for limit, hub in pairs])
    _show_ratio("CPU per delivery", [limit.cpu_us / hub.cpu_us for limit, hub in pairs])
    for name, runs in (("limit", [limit for limit, _ in pairs]), ("hub", [hub for _, hub in pairs])):
        print(
            f"    {name:5}  {median(run.broadcast_ms for run in runs):8.2f} ms a broadcast,"
            f" CPU {median(run.cpu_us for run in runs):5.2f} us a delivery,"
            f" delivery p50 {median(run.delivery_us['p50'] for run in runs) / 1e3:.1f} ms"
            f" p99 {median(run.delivery_us['p99'] for run in runs) / 1e3:.1f} ms;"
            f" client busy {median(run.client_cpu_s / run.seconds for run in runs):.0%}"
        )


def _show_ratio(of: str, ratios: list[float]) -> None:
    print(f"    limit/hub, {of + ':':18} {median(ratios):.2f}  ({min(ratios):.2f} to {max(ratios):.2f})")


if __name__ == "__main__":
    main()
