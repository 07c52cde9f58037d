"""Words and secrets that can be told from all others, what they look like where they should not be, and a real hub to
give them to."""

import asyncio
import base64
import json
import time
import urllib.parse
from asyncio.subprocess import Process
from typing import Any

import jwt

from tests.edge.ws_client import Client

HOST = "127.0.0.1"
WORD = "EXPLODE"
"""Where this stands, the hub of `tests/canary_hub.py` fails."""
PIECE = 12
"""So long a piece of a secret must not show."""


class Canaries:
    """Makes words that can be told from all others, and looks for them."""

    def __init__(self) -> None:
        self.words: dict[str, str] = {}

    def word(self, kind: str) -> str:
        """A canary of this kind, with letters in it that encodings change."""
        return self.plain(kind) + ' "%ä\n'

    def plain(self, kind: str) -> str:
        """One of ASCII letters alone."""
        return self.keep(kind, f"cnry{kind}{len(self.words):03}xqzjv")

    def keep(self, kind: str, secret: str) -> str:
        """A secret that somebody else has made."""
        self.words[secret] = kind
        return secret

    def found_in(self, text: str) -> set[str]:
        """The kinds of which something shows, as it is or encoded."""
        text = text.lower()
        return {kind for secret, kind in self.words.items() for piece in traces(secret) if piece.lower() in text}


def traces(secret: str) -> set[str]:
    """How a secret, or a good piece of it, would look."""
    pieces = {secret[start : start + PIECE] for start in range(0, max(1, len(secret) - PIECE + 1))}
    raw = secret.encode()
    for shift in range(3):  # in base64 it looks different in each of three places; its edges mix with what is beside
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            middle = encode(b"x" * shift + raw).decode().rstrip("=")[4:-2]
            if len(middle) >= PIECE:
                pieces.add(middle)
    return pieces | {raw.hex(), urllib.parse.quote(secret), repr(secret)[1:-1], json.dumps(secret)[1:-1]}


class Hub:
    """A hub in its process, and what is said to it."""

    def __init__(self, process: Process, port: int, canaries: Canaries, secret: str, key: str) -> None:
        self.process = process
        self.port = port
        self.canaries = canaries
        self.secret = secret
        self.key = key
        self.err = b""
        self.clients: list[Client] = []
        self.reading = asyncio.get_running_loop().create_task(self._read())

    async def _read(self) -> None:
        assert self.process.stderr is not None
        while data := await self.process.stderr.read(65536):
            self.err += data

    def token(self, user: str = "42", secret: str = "", **claims: Any) -> str:
        given = {"sub": user, "exp": time.time() + 600, "iat": time.time() - 5, "topics": ["**"], "publish": ["**"]}
        given |= {"tags": [self.canaries.plain("claim")]} | claims
        return self.canaries.keep("token", jwt.encode(given, secret or self.secret, "HS256"))

    def tokens(self) -> list[str]:
        """A good one and bad ones of many kinds."""
        good = self.token()
        return [
            good,
            self.token(secret="x" * 64),
            self.token(exp=1),
            self.token(sub=self.canaries.word("sub")),
            self.token(topics=[self.canaries.word("pattern")]),
            self.token(iss=self.canaries.plain("issuer")),
            good[:-5] + "AAAAA",
            self.canaries.plain("nojwt"),
            self.canaries.keep("header", base64.urlsafe_b64encode(b'{"alg":"cnryalg000xqzjv"}').decode()) + ".e30.AAAA",
            self.canaries.plain("long") * 1000,
            self.canaries.plain("fails") + WORD,
            self.canaries.keep("latin", "cnrylatinÿxqzjv"),
        ]

    async def raw(self, data: bytes, port: int | None = None) -> bytes:
        """Bytes as they are; what comes back until the hub closes, or for a moment."""
        reader, writer = await asyncio.open_connection(HOST, port or self.port)
        writer.write(data)
        try:
            async with asyncio.timeout(0.3):
                return await reader.read(65536)
        except (TimeoutError, ConnectionError):
            return b""
        finally:
            writer.transport.abort()

    async def open(self, **options: Any) -> Client:
        """A WebSocket, which ends with the test at the latest."""
        client = await Client.open(HOST, self.port, **options)
        self.clients.append(client)
        return client

    async def said(self, *words: str) -> None:
        """Wait until all these are in the log."""
        deadline = asyncio.get_running_loop().time() + 10
        while missing := [word for word in words if word.encode() not in self.err]:
            assert asyncio.get_running_loop().time() < deadline, f"never logged: {missing}"
            await asyncio.sleep(0.02)


def config_text(canaries: Canaries, secret: str, digest: str, form: str) -> str:
    return f"""
[server]
drain_s = 2
[auth]
query_token = true
[[auth.jwt]]
algorithm = "HS256"
key = "{secret}"
[[auth.jwt]]
algorithm = "RS256"
jwks_url = "http://hubd:{canaries.plain("jwkspass")}@127.0.0.1:1/keys?code={canaries.plain("jwkscode")}"
[[auth.api_keys]]
id = "backend"
sha256 = "{digest}"
rights = ["publish", "admin"]
[limits]
queue_bytes = 20000
per_ip = 0
per_user = 0
[log]
format = "{form}"
level = "debug"
"""
