"""What an ack costs: over the WebSocket on which the notification came, and by HTTP, one by one and many in a call.

    python -m bench acks --connections 1000 --rounds 7

Over WebSockets it is a difference: broadcasts whose every recipient acks at once, less the same without acks. By HTTP
it is whole calls (`POST /api/acks`), each with the user's token. In the end the hub must have counted every ack.
"""

import argparse
import re
import sys
import urllib.request
from collections.abc import Callable

from bench.blocks import ROUNDS, Round, take_turns
from bench.processes import BODY_BYTES, Processes, Server
from bench.publishes import Requests, RequestsRun
from bench.results import Results

BROADCASTS = 20
IN_A_CALL = 50
"""How many are acked by one call, where it is many; the rings keep 100 notifications of each user."""
_COUNT = re.compile(r"^hubd_acks_total (\S+)$", re.MULTILINE)


def main() -> None:
    parser = argparse.ArgumentParser(description="CPU of acks, over WebSockets and by HTTP.")
    parser.add_argument("--connections", type=int, default=1000)
    parser.add_argument("--publishers", type=int, default=16, help="HTTP connections, one call at a time on each")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--short", action="store_true", help="fewer rounds, some 15 s")
    options = parser.parse_args()
    results = Results("acks")
    rounds = min(3, options.rounds) if options.short else options.rounds
    with Processes() as processes:
        server = processes.hub(auth=True)
        client = Requests(processes, server, options.connections, options.publishers)
        acked = over_websockets(results, client, rounds, options.connections)
        acked += by_http(results, client, rounds, options.connections)
        counted = acks_counted(server)
        if counted != acked:
            sys.exit(f"FAILED: {acked} acks were sent, the hub has counted {counted}")
    results.save()


def over_websockets(results: Results, client: Requests, rounds: int, connections: int) -> int:
    """Broadcasts with and without; gives how many acks were sent."""
    sent = 0

    def broadcasts(acks: int) -> Callable[[], RequestsRun]:
        def block() -> RequestsRun:
            nonlocal sent
            run = client.measure(f"broadcast {BROADCASTS} {BODY_BYTES} {acks}")
            sent += acks * run.deliveries
            return run

        return block

    for acks in (0, 1):
        broadcasts(acks)()
    turns = take_turns(broadcasts(0), {"acks": broadcasts(1)}, cpu_us, rounds)
    given = {"connections": connections, "transport": "websocket"}
    results.add("CPU of an ack", "WebSocket", "us", [_added(one) for one in turns.kept], **given)
    with_acks = [cpu_us(run) for run in turns.runs("acks")]
    results.add("CPU of a delivery with its ack", "WebSocket", "us", with_acks, **given)
    results.add("CPU of a delivery", "WebSocket", "us", [cpu_us(run) for run in turns.baselines()], **given)
    if turns.thrown:
        results.note(f"{turns.thrown} rounds thrown out: their two runs without acks were too different")
    return sent


def by_http(results: Results, client: Requests, rounds: int, connections: int) -> int:
    """One by one and many in a call; gives how many acks were sent."""
    singly: list[RequestsRun] = []
    together: list[RequestsRun] = []
    # The first round warms up.
    for _ in range(rounds + 1):
        client.publish((IN_A_CALL + 1) * connections // 100, connections, batch=100)
        singly.append(client.measure(f"ack {connections} 1"))
        together.append(client.measure(f"ack {connections} {IN_A_CALL}"))
    given = {"connections": connections, "transport": "http"}
    for name, runs, count in (("HTTP, single", singly, 1), (f"HTTP, {IN_A_CALL} a call", together, IN_A_CALL)):
        cpu = [run.server_cpu_s / run.calls / count * 1e6 for run in runs[1:]]
        results.add("CPU of an ack", name, "us", cpu, ids=count, **given)
        per_second = [run.calls * count / run.seconds for run in runs[1:]]
        results.add("acks a second", name, "", per_second, ids=count, **given)
        results.add("answer p99", name, "ms", [run.answer_us["p99"] / 1e3 for run in runs[1:]], ids=count, **given)
    return (rounds + 1) * (IN_A_CALL + 1) * connections


def cpu_us(run: RequestsRun) -> float:
    """The hub's CPU for one delivery, its ack included where there is one."""
    return run.server_cpu_s / run.deliveries * 1e6


def _added(one: Round[RequestsRun]) -> float:
    return cpu_us(one.runs["acks"]) - (cpu_us(one.first) + cpu_us(one.last)) / 2


def acks_counted(server: Server) -> int:
    """How many the hub says there were."""
    request = urllib.request.Request(
        f"http://127.0.0.1:{server.port}/metrics", headers={"Authorization": f"Bearer {server.key}"}
    )
    with urllib.request.urlopen(request, timeout=10) as answer:
        found = _COUNT.search(answer.read().decode())
    if found is None:
        sys.exit("FAILED: the hub's metrics have no count of acks")
    return round(float(found[1]))


if __name__ == "__main__":
    main()
