"""Connections that come and go: the load client that opens, checks and closes them, and publishing for it to check."""

import json
import subprocess
import sys
import time
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from bench.processes import CLIENT_CORE, SERVER_CORE, Processes, Server, Talking

TARGET = "/notifications?topics=news"
"""What each asks for: its own user's channel and everybody's come by themselves, the topic doesn't."""
IN_FLIGHT = 256
"""How many are on their way in at a time."""
BATCH = 1000
"""Notifications in one publish."""


class Coming(NamedTuple):
    """Connections that came at once, and what that took."""

    count: int
    seconds: float
    server_cpu_s: float
    client_cpu_s: float

    @property
    def cpu_us(self) -> float:
        """The server's CPU for one of them."""
        return self.server_cpu_s / self.count * 1e6

    @property
    def each_us(self) -> float:
        """Time for one of them."""
        return self.seconds / self.count * 1e6


class Visitors(Talking):
    """A load client of one transport; its n-th connection is user un's."""

    def __init__(
        self,
        processes: Processes,
        server: Server,
        tokens: Path | None = None,
        *,
        transport: str = "websocket",
        subprotocol: str = "",
        in_flight: int = IN_FLIGHT,
    ) -> None:
        command = [processes.native("connections"), str(server.port), transport, str(in_flight), str(tokens or "-")]
        command += [subprotocol] if subprotocol else []
        super().__init__(processes.start(command, CLIENT_CORE, stdin=subprocess.PIPE, stdout=subprocess.PIPE))
        self._server = server

    def come(self, count: int, target: str = TARGET, frames: str = "", number: int = 0) -> Coming:
        """So many open a connection, and each gets these frames, as ``Publisher.publish`` publishes them."""
        cpu = self._server.cpu_s()
        self.say(f"open {count} {number} {frames or '-'} {target}")
        answer = self._answer("opened")
        cpu = self._server.cpu_s() - cpu
        self._answer("settled")
        return Coming(count, answer["seconds"], cpu, answer["client_cpu_seconds"])

    def bring(self, tokens: Path) -> None:
        """From now on they come with these tokens."""
        self.say(f"tokens {tokens}")
        self._answer("tokens")

    def expect(self, frames: str, number: int) -> None:
        """From now on each is to get these frames, beginning with this number."""
        self.say(f"more {number} {frames}")
        self._answer("waiting")

    def have_all(self) -> None:
        """Wait until each has got what was expected."""
        self._answer("complete")

    def leave(self) -> None:
        """All close their connections, and wait until the server has closed them too."""
        self.say("close")
        self._answer("closed")

    def _answer(self, word: str) -> dict[str, Any]:
        answer = self.answer()
        if word not in answer:
            sys.exit(f"the load client said {answer} instead of {word!r}")
        return answer


class Publisher:
    """Publishes to a hub what ``Visitors`` check, by the number that each notification has."""

    def __init__(self, server: Server) -> None:
        self._server = server

    def publish(self, frames: str, users: int, number: int = 0) -> None:
        """One after the other: ``b`` to everybody, ``t`` to the topic, ``u`` to each of the first so many users."""
        for place, letter in enumerate(frames, number):
            if letter == "u":
                self._send([_entry(f"user:u{user}", f"u{user}", place) for user in range(users)])
            else:
                self._send([_entry("news", "news", place) if letter == "t" else _entry("notifications", "all", place)])

    def cursor(self) -> str:
        """Where the hub stands now."""
        cursor: str = self._ask("/api/channels/news/history?limit=1")["cursor"]
        return cursor

    def connections(self) -> int:
        """How many connections the hub has now."""
        lines = self._open("/metrics").decode().splitlines()
        return sum(round(float(line.split()[-1])) for line in lines if line.startswith("hubd_connections{"))

    def wait_for(self, connections: int) -> None:
        """Wait until the hub has so many connections; ends the program if that doesn't come to be."""
        for _ in range(300):
            if (found := self.connections()) == connections:
                return
            time.sleep(0.1)
        sys.exit(f"the hub has {found} connections instead of {connections}")

    def _send(self, entries: Sequence[dict[str, Any]]) -> None:
        for start in range(0, len(entries), BATCH):
            self._ask("/api/notifications/batch", entries[start : start + BATCH])

    def _ask(self, path: str, body: Any = None) -> Any:
        return json.loads(self._open(path, None if body is None else json.dumps(body).encode()))

    def _open(self, path: str, body: bytes | None = None) -> bytes:
        headers = {"Authorization": f"Bearer {self._server.key}", "Content-Type": "application/json"}
        request = urllib.request.Request(f"http://127.0.0.1:{self._server.port}{path}", body, headers)
        with urllib.request.urlopen(request, timeout=60) as answer:
            content: bytes = answer.read()
            return content


def _entry(to: str, of: str, number: int) -> dict[str, Any]:
    return {"to": to, "notification": {"type": "bench", "number": number, "of": of}}


def plain_server(processes: Processes) -> Server:
    """aiohttp's own WebSockets on its defaults, without anything else: no user, no topic, nothing to send."""
    command = [sys.executable, "-m", "bench.plain_websockets"]
    process = processes.start(command, SERVER_CORE, stdout=subprocess.PIPE)
    assert process.stdout is not None
    port = int(process.stdout.readline().rpartition(":")[2])
    return Server(process.pid, port, "none", Path("/dev/null"))
