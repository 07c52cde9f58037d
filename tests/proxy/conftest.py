"""A real nginx, a real Caddy, with TLS, and a hub process behind them; configured by the files in `deploy/`."""

import asyncio
import contextlib
import datetime
import ipaddress
import os
import random
import shutil
import signal
import socket
import ssl
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, NamedTuple

import aiohttp
import jwt
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from hubd.edge.keys import new_key
from tests.browser.conftest import chromium

__all__ = ["chromium"]

ROOT = Path(__file__).parents[2]
SECRET = "s" * 64
STARTED_S = 20.0


def token(user: str, **claims: Any) -> str:
    """A token of a user, for all topics."""
    return jwt.encode({"sub": user, "exp": 4_000_000_000, "topics": ["**"]} | claims, SECRET, algorithm="HS256")


def free_port() -> int:
    """A port that nobody has now, and that no outgoing connection takes before we do."""
    while True:
        port = random.randrange(20_000, 30_000)
        with socket.socket() as taken, contextlib.suppress(OSError):
            taken.bind(("127.0.0.1", port))
            return port


class Certificate(NamedTuple):
    """A certificate for this machine, and what trusts it."""

    chain: Path
    key: Path
    trusting: ssl.SSLContext


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    """Made for the session, signed by itself."""
    folder = tmp_path_factory.mktemp("tls")
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    names = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=2))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    chain, private = folder / "cert.pem", folder / "key.pem"
    chain.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    pkcs8, plain = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    private.write_bytes(key.private_bytes(serialization.Encoding.PEM, pkcs8, plain))
    return Certificate(chain, private, ssl.create_default_context(cafile=str(chain)))


class Process:
    """A program that runs until it is stopped; what it wrote is in `log`."""

    def __init__(self, folder: Path, name: str) -> None:
        self.log = folder / f"{name}.log"
        self._process: asyncio.subprocess.Process | None = None

    async def run(self, *command: str, cwd: Path, **environ: str) -> None:
        """Start it."""
        clean = {name: value for name, value in os.environ.items() if not name.startswith("HUBD_")}
        with self.log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *command, cwd=cwd, stdout=log, stderr=log, env=clean | {"PYTHONPATH": str(ROOT)} | environ
            )

    async def listening(self, port: int) -> None:
        """Wait until it takes connections."""
        assert self._process is not None
        deadline = asyncio.get_running_loop().time() + STARTED_S
        while True:
            assert self._process.returncode is None, f"it ended:\n{self.log.read_text()}"
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                assert asyncio.get_running_loop().time() < deadline, f"never listened:\n{self.log.read_text()}"
                await asyncio.sleep(0.02)
                continue
            writer.transport.abort()
            return

    async def stop(self, number: int = signal.SIGTERM) -> None:
        """Stop it, at last by force."""
        if self._process is None or self._process.returncode is not None:
            return
        self._process.send_signal(number)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._process.wait(), 10)
        if self._process.returncode is None:
            self._process.kill()
            await self._process.wait()


class Hub(Process):
    """`hubd serve` with a config of its own, behind a proxy at `public_url`."""

    def __init__(self, folder: Path, public_url: str) -> None:
        super().__init__(folder, "hub")
        self.port = free_port()
        self.admin_port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.key, digest = new_key("backend")
        self._folder = folder
        self._config = folder / "config.toml"
        self._sections = f"""
[server]
port = {self.port}
admin_port = {self.admin_port}
public_url = "{public_url}"
trusted_proxies = ["127.0.0.1"]
drain_s = 3
[[auth.jwt]]
algorithm = "HS256"
key = "{SECRET}"
[[auth.api_keys]]
id = "backend"
sha256 = "{digest}"
rights = ["publish", "admin"]
"""

    async def start(self, limits: str = "") -> None:
        """Start it, with more options in `[limits]`."""
        self._config.write_text(f"{self._sections}\n[limits]\n{limits}\n")
        await self.run(sys.executable, "-m", "hubd", "serve", "--config", str(self._config), cwd=self._folder)
        await self.listening(self.port)

    async def publish(self, to: str, /, **notification: Any) -> str:
        """Publish straight to the hub; the notification's id."""
        async with (
            aiohttp.ClientSession() as http,
            http.post(
                f"{self.url}/api/notifications",
                headers={"Authorization": f"Bearer {self.key}"},
                json={"to": to, "notification": {"type": "alert"} | notification},
            ) as answer,
        ):
            assert answer.status == 202, await answer.text()
            return str((await answer.json())["id"])


class Proxy(Process):
    """A proxy that is about to listen on a port, with a certificate."""

    def __init__(self, folder: Path, certificate: Certificate, port: int) -> None:
        super().__init__(folder, type(self).__name__.lower())
        self.port = port
        self.url = f"https://localhost:{port}"
        self._folder = folder
        self._certificate = certificate


class Nginx(Proxy):
    """nginx with the server block of `deploy/nginx.conf`, or with a changed one."""

    def write(self, hub_port: int, changes: dict[str, str]) -> Path:
        """Write the shipped config with this machine's ports and files and with these changes; gives where it is."""
        text = (ROOT / "deploy/nginx.conf").read_text()
        places = {
            "127.0.0.1:8080": f"127.0.0.1:{hub_port}",
            "listen 443 ssl http2;": f"listen 127.0.0.1:{self.port} ssl http2;",
            "    listen [::]:443 ssl http2;\n": "",
            "hub.example.com;": "localhost;",
            "/etc/ssl/certs/hub.example.com.pem": str(self._certificate.chain),
            "/etc/ssl/private/hub.example.com.key": str(self._certificate.key),
        }
        for old, new in (places | changes).items():
            assert old in text, f"deploy/nginx.conf has no {old!r}"
            text = text.replace(old, new)
        temporary = "\n".join(
            f"{kind}_temp_path {self._folder}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        user = "user root;\n" if os.geteuid() == 0 else ""  # else its workers couldn't write into our folder
        config = self._folder / "nginx.conf"
        config.write_text(
            f"{user}daemon off;\nworker_processes 1;\npid {self._folder}/nginx.pid;\nerror_log stderr warn;\n"
            f"events {{ worker_connections 1024; }}\nhttp {{\naccess_log off;\n{temporary}\n{text}\n}}\n"
        )
        return config

    async def start(self, hub_port: int, changes: dict[str, str] | None = None) -> None:
        """Start it."""
        program = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
        if program is None:
            pytest.fail("these tests need nginx: apt-get install -y --no-install-recommends nginx")
        config = self.write(hub_port, changes or {})
        await self.run(program, "-e", "stderr", "-p", str(self._folder), "-c", str(config), cwd=self._folder)
        await self.listening(self.port)

    async def change(self, hub_port: int, changes: dict[str, str] | None = None) -> None:
        """Go on with another config, from scratch: whatever is open breaks."""
        await self.stop()
        await self.start(hub_port, changes)


class Caddy(Proxy):
    """Caddy with `deploy/Caddyfile`."""

    async def start(self, hub_port: int) -> None:
        """Start it."""
        program = shutil.which("caddy")
        if program is None:
            pytest.fail("these tests need Caddy: apt-get install -y --no-install-recommends caddy")
        text = (ROOT / "deploy/Caddyfile").read_text()
        tls = f"\ttls {self._certificate.chain} {self._certificate.key}\n"
        for old, new in {
            "hub.example.com {": f"https://localhost:{self.port} {{\n{tls}",
            "127.0.0.1:8080": f"127.0.0.1:{hub_port}",
        }.items():
            assert old in text, f"deploy/Caddyfile has no {old!r}"
            text = text.replace(old, new)
        config = self._folder / "Caddyfile"
        config.write_text(
            "{\n\tadmin off\n\tauto_https disable_redirects\n\tskip_install_trust\n\tgrace_period 1s\n}\n" + text
        )
        await self.run(
            program, "run", "--config", str(config), "--adapter", "caddyfile", cwd=self._folder,
            HOME=str(self._folder), XDG_DATA_HOME=str(self._folder), XDG_CONFIG_HOME=str(self._folder),
        )  # fmt: skip
        await self.listening(self.port)


class Site(NamedTuple):
    """A hub behind a proxy."""

    hub: Hub
    proxy: Any
    trusting: ssl.SSLContext

    @property
    def url(self) -> str:
        """Where browsers find it."""
        return str(self.proxy.url)


@pytest.fixture
async def behind_nginx(tmp_path: Path, certificate: Certificate) -> AsyncIterator[Site]:
    """A hub and nginx in front; neither is started."""
    proxy = Nginx(tmp_path, certificate, free_port())
    hub = Hub(tmp_path, proxy.url)
    yield Site(hub, proxy, certificate.trusting)
    await proxy.stop()
    await hub.stop()


@pytest.fixture
async def behind_caddy(tmp_path: Path, certificate: Certificate) -> AsyncIterator[Site]:
    """A hub and Caddy in front; neither is started."""
    proxy = Caddy(tmp_path, certificate, free_port())
    hub = Hub(tmp_path, proxy.url)
    yield Site(hub, proxy, certificate.trusting)
    await proxy.stop()
    await hub.stop()
