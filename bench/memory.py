"""Memory of the server for each idle connection, by transport and number, compared with aiohttp's own WebSockets."""

import argparse
from collections.abc import Sequence

from bench.processes import Processes
from bench.results import Results
from bench.targeted import saved
from bench.visitors import TARGET, Publisher, Visitors, plain_server

CONNECTIONS = (1000, 10_000, 19_000)
TRANSPORTS = ("websocket", "sse", "poll")
PLAIN = 10_000
"""With how many aiohttp is measured."""
REACH_AT, REACH = 19_000, "<= 4.0"
WAIT_S = 60
"""How long a poll waits: as long as it may."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--connections", type=int, nargs="+", default=CONNECTIONS)
    parser.add_argument("--transports", nargs="+", choices=TRANSPORTS, default=TRANSPORTS)
    parser.add_argument("--subprotocol", default="", help="hubd.v1.json: for the WebSockets")
    parser.add_argument("--short", action="store_true", help="WebSockets alone, of the highest number")
    options = parser.parse_args()
    results = Results("memory")
    if options.short:
        options.connections, options.transports = [max(options.connections)], ["websocket"]
    with saved(results):
        measure(results, options.connections, options.transports, options.subprotocol)
        plain = of_plain(PLAIN)
        results.add("idle connection, RSS", "aiohttp", "KiB", [plain], connections=PLAIN, transport="websocket")
        results.note("each of a user of its own with a token and one topic; a hub of its own for each figure")


def measure(results: Results, connections: Sequence[int], transports: Sequence[str], subprotocol: str) -> None:
    """A figure for each."""
    for transport in transports:
        for count in connections:
            kibibytes = of_hub(transport, count, subprotocol if transport == "websocket" else "")
            reach = REACH if transport == "websocket" and count == REACH_AT else ""
            what = f"idle {transport}, RSS, {count:,} of them"
            results.add(what, "hub", "KiB", [kibibytes], reach, connections=count, transport=transport)


def of_hub(transport: str, count: int, subprotocol: str) -> float:
    """By how many KiB a fresh hub has grown for each of them when all are there; then each gets a broadcast."""
    with Processes() as processes:
        hub = processes.hub(auth=True)
        publisher = Publisher(hub)
        publisher.connections()
        tokens = processes.tokens_file(count)
        visitors = Visitors(processes, hub, tokens, transport=transport, subprotocol=subprotocol)
        before = hub.rss_bytes()
        visitors.come(count, f"{TARGET}&wait={WAIT_S}" if transport == "poll" else TARGET)
        publisher.wait_for(count)
        grown = hub.rss_bytes() - before
        visitors.expect("b", 0)
        publisher.publish("b", count)
        visitors.have_all()
    return grown / count / 1024


def of_plain(count: int) -> float:
    """The same of aiohttp, where there is nobody to publish."""
    with Processes() as processes:
        server = plain_server(processes)
        visitors = Visitors(processes, server)
        before = server.rss_bytes()
        visitors.come(count)
        return (server.rss_bytes() - before) / count / 1024
