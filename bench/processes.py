"""The processes of a measurement: compiled, started, pinned to a core each, looked at through /proc, and ended."""

import ctypes
import hashlib
import json
import os
import re
import resource
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any, NamedTuple, Self

import jwt

HERE = Path(__file__).parent
SERVER_CORE, CLIENT_CORE = 0, 1
BODY_BYTES = 20
"""What makes a frame of 220 bytes, of which some 140 are the hub's own fields."""

TOKEN_S = 12 * 3600
"""How long users' tokens are good: longer than anything here takes."""
START_S = 20.0
END_S = 5.0
_libc = ctypes.CDLL(None)
_PR_SET_PDEATHSIG = 1

_READY = re.compile(r" listening on http://127\.0\.0\.1:(\d+)")
_KEY = re.compile(r"hub_dev_\w+")
_HUB_SETTINGS = {
    "HUBD_LIMITS__PER_IP": "0",  # all connections come from one address
    "HUBD_LIMITS__PING_S": "3600",  # nothing but broadcasts is to be measured
    "HUBD_REPLAY__SAVED_FILE": "off",  # each run begins with nothing
}


class Server(NamedTuple):
    """A server that is up. ``protocol`` is a name in ``native/protocols.h``."""

    pid: int
    port: int
    key: str
    log: Path
    protocol: str = "hub"
    publish_port: int = 0  # 0: the same

    def cpu_s(self) -> float:
        """Seconds of CPU that all its threads have used so far, their system calls included."""
        threads = Path(f"/proc/{self.pid}/task").glob("*/schedstat")
        return sum(int(thread.read_text().split()[0]) for thread in threads) / 1e9

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


class Talking:
    """A load client that is told what to do on its standard input, and answers each time with a line of JSON."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def say(self, command: str) -> None:
        """Give it a command."""
        assert self._process.stdin is not None
        self._process.stdin.write(command + "\n")
        self._process.stdin.flush()

    def answer(self) -> dict[str, Any]:
        """The next line that the client says; ends the program if it found something wrong instead."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            sys.exit(f"the load client has ended with status {self._process.wait()}")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def ask(self, command: str) -> dict[str, Any]:
        """Give it a command, and wait for the answer."""
        self.say(command)
        return self.answer()


class Client(Talking):
    """A load client with its connections open."""

    def __init__(self, process: subprocess.Popen[str], server: Server) -> None:
        super().__init__(process)
        self._server = server

    def run(self, broadcasts: int, window: int, body_bytes: int = BODY_BYTES) -> Run:
        """Publish so many broadcasts, ``window`` of them outstanding at a time."""
        cpu = self._server.cpu_s()
        report = self.ask(f"run {broadcasts} {window} {body_bytes}")
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


class Processes:
    """A context in which servers and clients are started, and at whose end they are gone."""

    def __enter__(self) -> Self:
        self._stack = ExitStack()
        before = signal.signal(signal.SIGTERM, lambda *_: sys.exit("told to end"))  # as by timeout(1)
        self._stack.callback(signal.signal, signal.SIGTERM, before)
        self._folder = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="hubd-bench-")))
        self._hubs = 0
        self._secret = secrets.token_urlsafe(48)
        self._api_key = f"hub_bench_{secrets.token_hex(32)}"
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

    def hub(self, *, auth: bool = False, module: str = "hubd", **settings: str) -> Server:
        """A hub on its defaults, but for what would get in the way here; ``tokens`` makes tokens that it takes.

        In dev mode, or with ``auth`` as an application would run it: users by their tokens, publishers by an API key.
        ``module`` is what is run: one that starts the real hub with something in it changed.
        """
        command = [sys.executable, "-m", module, "serve", "--port", "0"]
        jwt_key = {"algorithm": "HS256", "key": self._secret}
        self._hubs += 1
        settings = {"HUBD_STORE__URL": f"sqlite:///{self._folder}/hub{self._hubs}.db"} | settings
        settings = _HUB_SETTINGS | {"HUBD_AUTH__JWT": json.dumps([jwt_key])} | settings
        if not auth:
            return self._server("hub", [*command, "--dev"], settings)
        digest = hashlib.sha256(self._api_key.encode()).hexdigest()
        api_key = {"id": "bench", "sha256": digest, "rights": ["publish", "admin"], "channels": ["**"]}
        settings["HUBD_AUTH__API_KEYS"] = json.dumps([api_key])
        return self._server("hub", command, settings)._replace(key=self._api_key)

    def tokens(self, count: int, topics: Sequence[str] = ("**",)) -> list[str]:
        """HS256 tokens that the hubs of this context take, for users u0, u1, ..., each with these topics allowed."""
        now = int(time.time())
        claims = {"iat": now, "exp": now + TOKEN_S, "topics": list(topics)}
        return [jwt.encode({"sub": f"u{number}"} | claims, self._secret, "HS256") for number in range(count)]

    def tokens_file(self, count: int, topics: Sequence[str] = ("**",)) -> Path:
        """A file with these tokens, one a line, for programs in C."""
        with tempfile.NamedTemporaryFile("w", prefix="tokens-", dir=self._folder, delete=False) as file:
            file.writelines(f"{token}\n" for token in self.tokens(count, topics))
        return Path(file.name)

    def limit(self, payload_bytes: int) -> Server:
        """The C server that does one plain ``send()`` per client."""
        return self._server("limit", [self.native("limit"), str(payload_bytes)], {})

    def client(self, server: Server, connections: int) -> Client:
        """A load client, once all its connections are open."""
        ports = [str(server.port), str(server.publish_port or server.port)]
        command = [self.native("client"), server.protocol, *ports, str(connections)]
        if server.key:
            command += [server.key, str(self.tokens_file(connections, ["news"]))]
        process = self.start(command, CLIENT_CORE, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        client = Client(process, server)
        client.answer()
        return client

    def telling(
        self, name: str, command: list[str], protocol: str, settings: Mapping[str, str] | None = None
    ) -> Server:
        """A server of somebody else that tells its port as hubd does."""
        return self._server(name, command, settings or {})._replace(protocol=protocol)

    def listening(self, command: list[str], port: int, protocol: str, publish_port: int = 0) -> Server:
        """A server that is up as soon as somebody can connect; its name is that of its program."""
        name = Path(command[0]).name
        log = self.folder(name) / "log"
        with log.open("w") as errors:
            process = self.start(command, SERVER_CORE, stdout=errors, stderr=errors)
        for each in filter(None, (port, publish_port)):
            _wait_for(each, process, log)
        return Server(process.pid, port, "", log, protocol, publish_port)

    def folder(self, name: str) -> Path:
        """A folder that is gone in the end."""
        folder = self._folder / f"of-{name}"
        folder.mkdir(exist_ok=True)
        return folder

    def _server(self, name: str, command: list[str], settings: Mapping[str, str]) -> Server:
        log = self._folder / f"{name}-{len(list(self._folder.glob('*.log')))}.log"  # there may be several of them
        with log.open("w") as errors:
            process = self.start(command, SERVER_CORE, settings, stdout=subprocess.PIPE, stderr=errors)
        assert process.stdout is not None
        ready = _READY.search(process.stdout.readline())
        if ready is None:
            sys.exit(f"{name} did not start:\n{log.read_text()}")
        key = _KEY.search(log.read_text())
        return Server(process.pid, int(ready[1]), key[0] if key else "", log)

    def start(
        self, command: list[str], core: int, settings: Mapping[str, str] | None = None, **streams: Any
    ) -> subprocess.Popen[str]:
        """A process on one core, with as many open files as there may be; it is ended with the others."""

        def prepare() -> None:
            _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)  # also gone when this process is killed
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
    if process.poll() is None and children(process.pid):
        process.terminate()  # the master of nginx's workers, which would live on without it
        with suppress(subprocess.TimeoutExpired):
            process.wait(END_S)
    process.kill()
    process.wait()
    for stream in (process.stdin, process.stdout):
        if stream is not None:
            stream.close()


def free_port() -> int:
    """A port that nobody listens on at the moment."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def _wait_for(port: int, process: subprocess.Popen[str], log: Path) -> None:
    for _ in range(int(START_S / 0.05)):
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        if process.poll() is not None:
            break
        time.sleep(0.05)
    sys.exit(f"{process.args} did not start:\n{log.read_text()}")


def children(pid: int) -> list[int]:
    """The processes that this one has started."""
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
