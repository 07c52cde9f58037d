"""What one client that never reads does to a thousand that do.

    python -m bench.slow_consumer

Broadcasts, one behind the other, to clients that read; in every second run there is one more that doesn't. It has to be
cut, with no more bytes waiting for it than the hub's limit and one frame, and the others must not notice: the time in
which a broadcast reaches the last of them is compared in pairs of runs, one with it and one without.
"""

import argparse
import re
import socket
import sys
from statistics import median

from bench.processes import Client, Processes, Run, Server

BODY_BYTES = 2000
QUEUE_BYTES = 262144
"""The hub's default for [limits] queue_bytes."""
BEARABLE = 0.10
_CUT = re.compile(r": (\d+) bytes wait for it, more than")
_HANDSHAKE = (
    "GET /notifications?user=stuck HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)


def main() -> None:
    parser = argparse.ArgumentParser(description="One client that never reads among many that do.")
    parser.add_argument("--connections", type=int, default=1000)
    parser.add_argument("--broadcasts", type=int, default=200, help="in each run")
    parser.add_argument("--pairs", type=int, default=7)
    options = parser.parse_args()
    with Processes() as processes:
        hub = processes.hub()
        client = processes.client(hub, options.connections)
        client.run(20, 1, BODY_BYTES)
        before = hub.rss_bytes()
        ratios = []
        for pair in range(options.pairs):
            runs = {
                stuck: run(hub, client, options.broadcasts, stuck=stuck) for stuck in ((False, True)[:: (-1) ** pair])
            }
            ratios.append(runs[True].last_us["p50"] / runs[False].last_us["p50"])
            print(
                f"  last delivery after {runs[False].last_us['p50'] / 1e3:.2f} ms without it,"
                f" {runs[True].last_us['p50'] / 1e3:.2f} ms with it: {ratios[-1]:.3f}",
                flush=True,
            )
        grown = (hub.rss_bytes() - before) / 1024
        waiting = [int(size) for size in _CUT.findall(hub.log.read_text())]
    show(options, ratios, waiting, grown)


def run(hub: Server, client: Client, broadcasts: int, *, stuck: bool) -> Run:
    """One run; with ``stuck`` there is a connection that doesn't read, which is gone at the end."""
    if not stuck:
        return client.run(broadcasts, 1, BODY_BYTES)
    with open_stuck(hub.port) as connection:
        result = client.run(broadcasts, 1, BODY_BYTES)
        if not was_cut(connection, broadcasts * result.payload_bytes):
            sys.exit("FAILED: the client that never reads was not cut")
    return result


def open_stuck(port: int) -> socket.socket:
    """A WebSocket from which nothing is read, and for which the kernel keeps as little as in an Ethernet.

    Its receive buffer is small, and so are its segments: by the large ones of the loopback interface the hub's side
    would be given a send buffer of 4 MB, and the hub would learn late that nobody reads.
    """
    connection = socket.socket()
    connection.settimeout(10)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, 1460)
    connection.connect(("127.0.0.1", port))
    connection.sendall(_HANDSHAKE.encode())
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        head += connection.recv(1)
    if not head.startswith(b"HTTP/1.1 101 "):
        sys.exit(f"FAILED: the handshake was answered with {head!r}")
    return connection


def was_cut(connection: socket.socket, sent: int) -> bool:
    """Whether the stream ends before all that was sent."""
    received = 0
    try:
        while received < sent:
            data = connection.recv(65536)
            if not data:
                return True
            received += len(data)
    except ConnectionResetError:
        return True
    except TimeoutError:
        pass
    return False


def show(options: argparse.Namespace, ratios: list[float], waiting: list[int], grown: float) -> None:
    """The figures; ends the program with status 1 if they aren't bearable."""
    payload_bytes = BODY_BYTES + 256  # at most
    print(f"{options.connections} clients that read, and one that doesn't; {options.pairs} pairs of runs")
    print(f"  cut {len(waiting)} times, with {min(waiting)} to {max(waiting)} bytes waiting (limit {QUEUE_BYTES})")
    print(f"  the hub's memory over all runs: {grown:+.0f} KiB")
    print(f"  last delivery with it / without it: {median(ratios):.3f} ({min(ratios):.3f} to {max(ratios):.3f})")
    if len(waiting) != options.pairs or max(waiting) > QUEUE_BYTES + payload_bytes:
        sys.exit("FAILED: not cut each time, or with more bytes than there may be")
    if median(ratios) > 1 + BEARABLE:
        sys.exit(f"FAILED: the others were slowed down by more than {BEARABLE:.0%}")


if __name__ == "__main__":
    main()
