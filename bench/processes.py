"""The processes of a measurement: compiled, started, pinned to a core each, looked at through /proc, and ended."""

import json
import os
import re
import resource
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple, Self

HERE = Path(__file__).parent
SERVER_CORE, CLIENT_CORE = 0, 1
BODY_BYTES = 20
"""What makes a frame of 220 bytes, of which some 140 are the hub's own fields."""

_READY = re.compile(r" listening on http://127\.0\.0\.1:(\d+)")
_KEY = re.compile(r"hub_dev_\w+")
_HUB_SETTINGS = {
    "HUBD_LIMITS__PER_IP": "0",  # all connections come from one address
    "HUBD_LIMITS__PING_S": "3600",  # nothing but broadcasts is to be measured
    "HUBD_REPLAY__SAVED_FILE": "off",  # each run begins with nothing
}


class Server(NamedTuple):
    """A server that is up."""

    pid: int
    port: int
    key: str
    log: Path

    def cpu_s(self) -> float:
        """Seconds of CPU that it has used so far, its system calls included."""
        return int(Path(f"/proc/{self.pid}/schedstat").read_text().split()[0]) / 1e9

    def rss_bytes(self) -> int:
        """Memory that it has at the moment."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        return int(status.partition("VmRSS:")[2].split()[0]) * 1024


class Run(NamedTuple):
    """One run of the load client: what it measured, and what the server spent on it."""

    seconds: float
    broadcasts: int
    deliveries: int
    payload_bytes: int
    server_cpu_s: float
    client_cpu_s: float
    last_us: Mapping[str, int]
    delivery_us: Mapping[str, int]

    @property
    def broadcast_ms(self) -> float:
        """Time for one broadcast."""
        return self.seconds / self.broadcasts * 1e3

    @property
    def cpu_us(self) -> float:
        """The server's CPU for one delivery."""
        return self.server_cpu_s / self.deliveries * 1e6


class Client:
    """A load client with its connections open."""

    def __init__(self, process: subprocess.Popen[str], server: Server) -> None:
        self._process = process
        self._server = server

    def run(self, broadcasts: int, window: int, body_bytes: int = BODY_BYTES) -> Run:
        """Publish so many broadcasts, ``window`` of them outstanding at a time."""
        cpu = self._server.cpu_s()
        report = self._ask(f"run {broadcasts} {window} {body_bytes}\n")
        cpu = self._server.cpu_s() - cpu
        return Run(
            seconds=report["seconds"],
            broadcasts=broadcasts,
            deliveries=report["deliveries"],
            payload_bytes=report["payload_bytes"],
            server_cpu_s=cpu,
            client_cpu_s=report["client_cpu_seconds"],
            last_us=report["last_us"],
            delivery_us=report["delivery_us"],
        )

    def _ask(self, command: str) -> dict[str, Any]:
        assert self._process.stdin is not None
        self._process.stdin.write(command)
        self._process.stdin.flush()
        return self.answer()

    def answer(self) -> dict[str, Any]:
        """The next line that the client says; ends the program if it found something wrong instead."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            sys.exit(f"the load client has ended with status {self._process.wait()}")
        answer: dict[str, Any] = json.loads(line)
        return answer


class Processes:
    """A context in which servers and clients are started, and at whose end they are gone."""

    def __enter__(self) -> Self:
        self._stack = ExitStack()
        self._folder = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="hubd-bench-")))
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def native(self, name: str) -> str:
        """The path of a C program of ``native/``, compiled when it is first asked for."""
        program = self._folder / name
        if not program.exists():
            source = HERE / "native" / f"{name}.c"
            subprocess.run(["cc", "-O2", "-Wall", "-Wextra", "-o", str(program), str(source)], check=True)
        return str(program)

    def hub(self, **settings: str) -> Server:
        """A hub in dev mode on its defaults, but for what would get in the way here."""
        command = [sys.executable, "-m", "hubd", "serve", "--dev", "--port", "0"]
        return self._server("hub", command, _HUB_SETTINGS | settings)

    def limit(self, payload_bytes: int) -> Server:
        """The C server that does one plain ``send()`` per client."""
        return self._server("limit", [self.native("limit"), str(payload_bytes)], {})

    def client(self, server: Server, connections: int) -> Client:
        """A load client, once all its connections are open."""
        command = [self.native("client"), str(server.port), server.key, str(connections)]
        process = self.start(command, CLIENT_CORE, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        client = Client(process, server)
        client.answer()
        return client

    def _server(self, name: str, command: list[str], settings: Mapping[str, str]) -> Server:
        log = self._folder / f"{name}.log"
        with log.open("w") as errors:
            process = self.start(command, SERVER_CORE, settings, stdout=subprocess.PIPE, stderr=errors)
        assert process.stdout is not None
        ready = _READY.search(process.stdout.readline())
        if ready is None:
            sys.exit(f"{name} did not start:\n{log.read_text()}")
        key = _KEY.search(log.read_text())
        return Server(process.pid, int(ready[1]), key[0] if key else "none", log)

    def start(
        self, command: list[str], core: int, settings: Mapping[str, str] | None = None, **streams: Any
    ) -> subprocess.Popen[str]:
        """A process on one core, with as many open files as there may be; it is ended with the others."""

        def prepare() -> None:
            os.sched_setaffinity(0, {core})
            most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))

        process: subprocess.Popen[str] = subprocess.Popen(
            command,
            env={**os.environ, **(settings or {})},
            cwd=HERE.parent,
            text=True,
            preexec_fn=prepare,  # noqa: PLW1509 - nothing here has threads
            **streams,
        )
        self._stack.callback(_end, process)
        return process


def _end(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.wait()
    for stream in (process.stdin, process.stdout):
        if stream is not None:
            stream.close()
