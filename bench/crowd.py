"""Hostile connections: as many as are asked for, of three kinds, opened again whenever the hub cuts them.

    python -m bench.crowd PORT KEY COUNT

A third sends a request's head in drops, a third a body in drops, a third asks for a long answer and reads none of it.
It says a line of JSON for each line that it is sent: how many of each kind are open, and how often they were cut.
"""

import json
import select
import socket
import sys
import time
from typing import NamedTuple

TOPIC = "crowd"
"""The channel whose history is the long answer."""
ADDRESS = "127.0.0.9"
ROUND_S = 1.0
PARTS = 20
"""In how many parts a round is done, so that it is no burst."""
_ENDED = select.POLLHUP | select.POLLERR | select.POLLRDHUP


class Kind(NamedTuple):
    """What one kind of connection sends at first, and then in each round."""

    name: str
    begin: bytes
    more: bytes


class Hostile:
    """One connection, and those after it."""

    def __init__(self, port: int, kind: Kind) -> None:
        self.kind = kind
        self.cut = 0
        self._port = port
        self._open()

    def _open(self) -> None:
        self._socket = socket.socket()
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self._socket.bind((ADDRESS, 0))
        self._socket.connect(("127.0.0.1", self._port))
        self._socket.sendall(self.kind.begin)
        self._socket.setblocking(False)
        self._poll = select.poll()
        self._poll.register(self._socket, _ENDED)

    def close(self) -> None:
        """End it."""
        self._socket.close()

    def step(self) -> None:
        """One more drop, or a new connection when the hub has ended this one."""
        try:
            if not self._poll.poll(0):
                self._socket.send(self.kind.more)
                return
        except BlockingIOError:
            return
        except OSError:
            pass
        self.close()
        self.cut += 1
        self._open()


def kinds(key: str) -> list[Kind]:
    """The three."""
    head = f"HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {key}\r\n"
    return [
        Kind("slow heads", f"GET /health/live {head}".encode(), b"X-A: b\r\n"),
        Kind("slow bodies", f"POST /api/notifications {head}Content-Length: 1000000\r\n\r\n".encode(), b" "),
        Kind("readers of nothing", f"GET /api/channels/{TOPIC}/history?limit=1000 {head}\r\n".encode(), b""),
    ]


def main() -> None:
    port, key, count = int(sys.argv[1]), sys.argv[2], int(sys.argv[3])
    crowd = [Hostile(port, kinds(key)[number % 3]) for number in range(count)]
    begun, part = time.monotonic(), 0
    while True:
        part += 1
        for hostile in crowd[part % PARTS :: PARTS]:
            hostile.step()
        pause = begun + part * ROUND_S / PARTS - time.monotonic()
        if select.select([sys.stdin], [], [], max(0.0, pause))[0]:
            if not sys.stdin.readline():
                return
            cut = {kind.name: sum(one.cut for one in crowd if one.kind.name == kind.name) for kind in kinds(key)}
            print(json.dumps({"open": len(crowd), "cut": cut}), flush=True)


if __name__ == "__main__":
    main()
