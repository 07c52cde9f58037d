"""The plugin `webhooks` in a hub, calling what a test puts in the place of a network; and a receiver's own check."""

import asyncio
import base64
import hashlib
import hmac
import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

from hubd_webhooks import Webhooks
from hubd_webhooks.config import WebhooksConfig

from hubd.plugin import Answer
from hubd.testing import Other, PluginWorld, hub_for

KEY = bytes(range(32))
SECRET = "whsec_" + base64.b64encode(KEY).decode()
OTHER_KEY = bytes(range(100, 124))
OTHER_SECRET = "whsec_" + base64.b64encode(OTHER_KEY).decode()
URL = "https://app.example.com/hooks"
QUIET = {"events": ["published"]}


def endpoint(**options: Any) -> dict[str, Any]:
    return {"url": URL, "secret": SECRET, **options}


def config(*endpoints: Mapping[str, Any], **options: Any) -> dict[str, Any]:
    return {"endpoints": list(endpoints) or [endpoint(**QUIET)], **options}


class Call(NamedTuple):
    """One call, as the network saw it."""

    at: float
    url: str
    headers: Mapping[str, str]
    body: bytes
    timeout_s: float

    @property
    def events(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = json.loads(self.body)["events"]
        return found

    @property
    def id(self) -> str:
        return self.headers["webhook-id"]


class Network:
    """Stands for the network: answers each call as ``answers`` say, the last one for ever.

    An answer is a status, an `Answer`, an exception, a future to wait for, or what gives one of these for a URL.
    """

    def __init__(self, *answers: Any) -> None:
        self.answers: list[Any] = list(answers) or [204]
        self.calls: list[Call] = []
        self.open = 0
        self.most_open = 0
        self.closed = False
        self.now: Callable[[], float] = lambda: 0.0

    async def send(
        self, method: str, url: str, *, headers: Mapping[str, str], body: bytes, timeout_s: float, answer_bytes: int
    ) -> Answer:
        assert method == "POST" and answer_bytes == 0 and not self.closed
        self.calls.append(Call(self.now(), url, dict(headers), body, timeout_s))
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if callable(answer):
            answer = answer(url)
        self.open += 1
        self.most_open = max(self.most_open, self.open)
        try:
            if isinstance(answer, asyncio.Future):
                answer = await asyncio.shield(answer)
            else:
                await asyncio.sleep(0)
        finally:
            self.open -= 1
        if isinstance(answer, BaseException):
            raise answer
        return answer if isinstance(answer, Answer) else Answer(answer, {}, b"")

    async def close(self) -> None:
        self.closed = True

    @property
    def events(self) -> list[dict[str, Any]]:
        """Of all calls, also those that failed."""
        return [event for call in self.calls for event in call.events]

    def data_of(self, type_: str) -> list[dict[str, Any]]:
        return [event["data"] for event in self.events if event["type"] == type_]


def saying(status: int, **headers: str) -> Answer:
    """An answer with headers; _ in their names stands for -."""
    return Answer(status, {name.replace("_", "-"): value for name, value in headers.items()}, b"")


class World(NamedTuple):
    hub: PluginWorld
    network: Network
    plugin: Webhooks

    async def publish(self, count: int = 1, to: str = "news", **fields: Any) -> None:
        """Publish so many, without waiting for what comes of it."""
        for number in range(count):
            await self.hub.publish(to, {"type": "test", "n": number} | fields, settle=False)

    async def metric(self, name: str, **labels: str) -> float:
        return await self.hub.metric(f"webhooks_{name}", **{"endpoint": "app.example.com", **labels})


@asynccontextmanager
async def webhooks(
    options: Mapping[str, Any] | None = None, *answers: Any, others: tuple[Other, ...] = (), **kit: Any
) -> AsyncIterator[World]:
    """A hub with webhooks; no network is behind it, but a `Network` that gives these answers."""
    network = Network(*answers)

    class Connected(Webhooks):
        def make_egress(self, config: WebhooksConfig) -> Any:
            network.closed = False
            return network

    async with hub_for(Connected, options or config(), name="webhooks", others=others, **kit) as hub:
        network.now = hub.clock.monotonic
        yield World(hub, network, hub.plugin)


# --- What a receiver does, written down from the specification and not from the plugin


def is_genuine(headers: Mapping[str, str], body: bytes, key: bytes, now: float) -> bool:
    """Whether a call is signed with this key, and not older than five minutes."""
    stamp = headers["webhook-timestamp"]
    if abs(now - int(stamp)) > 300:
        return False
    signed = headers["webhook-id"].encode() + b"." + stamp.encode() + b"." + body
    wanted = base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()
    given = headers["webhook-signature"].split(" ")
    return any(hmac.compare_digest(f"v1,{wanted}", one) for one in given)
