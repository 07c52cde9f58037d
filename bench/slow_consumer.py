"""What one client that never reads does to a thousand that do.

    python -m bench slow_consumer

Broadcasts, one behind the other, to clients that read; in every second run there is one more that doesn't. It has to be
cut before the run ends, and the others must not notice: the time in which a broadcast reaches the last of them is
compared in pairs of runs, one with it and one without.
"""

import argparse
import socket
import sys

from bench.processes import Client, Processes, Run, Server
from bench.results import Results

BODY_BYTES = 2000
"""So that 400 broadcasts are more than the hub's [limits] queue_bytes and what the kernel keeps beside it."""
BEARABLE = "<= 1.1"
_CUT = " slow_consumer: "
"""What the hub logs then."""
_HANDSHAKE = (
    "GET /notifications HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nAuthorization: Bearer {}\r\n\r\n"
)


def main() -> None:
    parser = argparse.ArgumentParser(description="One client that never reads among many that do.")
    parser.add_argument("--connections", type=int, default=1000)
    parser.add_argument("--broadcasts", type=int, default=400, help="in each run")
    parser.add_argument("--pairs", type=int, default=7)
    options = parser.parse_args()
    with Processes() as processes:
        hub = processes.hub(auth=True)
        [token] = processes.tokens(1)
        client = processes.client(hub, options.connections)
        client.run(20, 1, BODY_BYTES)
        before = hub.rss_bytes()
        ratios = []
        for pair in range(options.pairs):
            runs = {
                stuck: run(hub, client, options.broadcasts, token if stuck else None)
                for stuck in ((False, True)[:: (-1) ** pair])
            }
            ratios.append(runs[True].last_us["p50"] / runs[False].last_us["p50"])
            print(
                f"  last delivery after {runs[False].last_us['p50'] / 1e3:.2f} ms without it,"
                f" {runs[True].last_us['p50'] / 1e3:.2f} ms with it: {ratios[-1]:.3f}",
                flush=True,
            )
        grown = (hub.rss_bytes() - before) / 1024
        cut = hub.log.read_text().count(_CUT)
    if cut != options.pairs:
        sys.exit(f"FAILED: cut {cut} times in {options.pairs} runs")
    results = Results("slow_consumer")
    about = {"connections": options.connections}
    results.add("last delivery with one that never reads / without", "hub", "times", ratios, BEARABLE, **about)
    results.add("growth of memory over all these runs", "hub", "KiB", [grown], **about)
    results.save()


def run(hub: Server, client: Client, broadcasts: int, stuck: str | None) -> Run:
    """One run; with ``stuck``, its token, there is a connection that doesn't read, which is gone at the end."""
    if stuck is None:
        return client.run(broadcasts, 1, BODY_BYTES)
    with open_stuck(hub.port, stuck) as connection:
        result = client.run(broadcasts, 1, BODY_BYTES)
        if not was_cut(connection, broadcasts * result.payload_bytes):
            sys.exit("FAILED: the client that never reads was not cut")
    return result


def open_stuck(port: int, token: str) -> socket.socket:
    """A WebSocket from which nothing is read, and for which the kernel keeps as little as in an Ethernet.

    Its receive buffer is small, and so are its segments: by the large ones of the loopback interface the hub's side
    would be given a send buffer of 4 MB, and the hub would learn late that nobody reads.
    """
    connection = socket.socket()
    connection.settimeout(10)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, 1460)
    connection.connect(("127.0.0.1", port))
    connection.sendall(_HANDSHAKE.format(token).encode())
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


if __name__ == "__main__":
    main()
