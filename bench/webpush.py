"""What a Web Push costs the plugin, against plain pywebpush: both send to a push service in another process.

    python -m bench.webpush
    python -m bench.webpush --rounds 20 --pushes 500

The service decrypts and checks every push (hubd.testing.webpush_service); what that costs it isn't counted. Both sides
send the same payloads to the same subscriptions with the same headers, so many at a time, over kept connections. Blocks
of the two alternate, so that whatever disturbs one disturbs the other. Times are CPU times of this process, all of its
threads together. Of the hub only the plugin's send is in it. Plain pywebpush gets what is best for it: one session for
all, the key parsed once, a fresh dict of claims for each push.
"""

import argparse
import asyncio
import gc
import json
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import aiohttp
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from hubd_webpush.backend import AT_ONCE, WebPushBackend, topic_of
from hubd_webpush.config import WebPushConfig
from py_vapid import Vapid02
from pywebpush import webpush_async

from hubd.clock import SystemClock
from hubd.hooks.push import Device, Outcome, Push
from hubd.plugin import Egress, Priority
from hubd.testing.webpush_service import WebPushService

ROOT = Path(__file__).resolve().parent.parent
SUBJECT = "mailto:ops@example.com"
SUBSCRIPTIONS = 100
TTL_S = 3600
TIMEOUT_S = 30.0
Send = Callable[[int], Awaitable[None]]


class Figures(NamedTuple):
    """Microseconds of CPU for each push, in each block."""

    plugin: list[float]
    plain: list[float]

    @property
    def ratio(self) -> float:
        """How many times more pushes the plugin makes of a second of CPU: the median over the pairs of blocks."""
        return median(plain / plugin for plugin, plain in zip(self.plugin, self.plain, strict=True))


async def serve(public: str) -> None:
    """The push service: says where its subscriptions are, and at the end how many pushes it took and refused."""
    async with WebPushService() as service:
        service.url = service.url.replace("127.0.0.1", "localhost")  # a name, as the real ones have
        print(json.dumps([service.subscribe(public) for _ in range(SUBSCRIPTIONS)]), flush=True)
        await asyncio.to_thread(sys.stdin.read)
        print(json.dumps([len(service.pushes), service.refused[:3]]), flush=True)


class Service:
    """That service, in a process of its own."""

    def __init__(self, public: str) -> None:
        command = [sys.executable, "-m", "bench.webpush", "--serve", public]
        self._process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        self.subscriptions: list[dict[str, Any]] = json.loads(self._process.stdout.readline())

    def end(self) -> tuple[int, list[str]]:
        """How many pushes it took, and why others not."""
        out, _ = self._process.communicate(timeout=TIMEOUT_S)
        taken, refused = json.loads(out)
        return taken, refused


def plugin_side(backend: WebPushBackend, subscriptions: Sequence[dict[str, Any]], data: bytes) -> Send:
    """The plugin's send."""
    devices = [
        Device(f"d{place}", "ada", "webpush", backend.check(subscription).fields)
        for place, subscription in enumerate(subscriptions)
    ]

    async def send(place: int) -> None:
        push = Push(
            id=f"n{place}", type="alert", priority=Priority.IMPORTANT, title="", body="", url="", collapse_key=None,
            tag=f"n{place}", expires_at=0, ttl_s=TTL_S, overrides={}, data=lambda most: data,
        )  # fmt: skip
        result = await backend.send(devices[place % len(devices)], push)
        assert result.outcome is Outcome.ACCEPTED, result

    return send


def plain_side(
    session: aiohttp.ClientSession, vapid: Vapid02, subscriptions: Sequence[dict[str, Any]], data: bytes
) -> Send:
    """pywebpush by itself."""

    async def send(place: int) -> None:
        await webpush_async(
            subscriptions[place % len(subscriptions)],
            data,
            vapid_private_key=vapid,
            vapid_claims={"sub": SUBJECT},
            ttl=TTL_S,
            headers={"Urgency": "normal", "Topic": topic_of(f"n{place}")},
            timeout=TIMEOUT_S,
            aiohttp_session=session,
        )

    return send


async def block(send: Send, pushes: int, at_once: int) -> float:
    """Microseconds of CPU for each of so many pushes."""
    places = iter(range(pushes))

    async def work() -> None:
        for place in places:
            await send(place)

    gc.collect()
    begun = time.process_time()
    async with asyncio.TaskGroup() as group:
        for _ in range(at_once):
            group.create_task(work())
    return (time.process_time() - begun) / pushes * 1e6


async def measure(rounds: int, pushes: int, payload_bytes: int, at_once: int) -> Figures:
    """Blocks of both by turns; the first of each warms up and isn't counted."""
    private = generate_private_key(SECP256R1())
    pem = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    config = WebPushConfig.model_validate(
        {"vapid_private_key": pem, "subject": SUBJECT, "allow_hosts": ["localhost"], "timeout_s": TIMEOUT_S}
    )
    service = Service(config.key.public)
    data = json.dumps({"title": "x" * (payload_bytes - len('{"title": ""}'))}).encode()
    egress = Egress(config.allow_hosts, per_host=at_once)
    backend = WebPushBackend(config)
    backend.open(egress, SystemClock())
    figures = Figures([], [])
    connector = aiohttp.TCPConnector(limit_per_host=at_once)
    async with aiohttp.ClientSession(connector=connector) as session:
        plugin = plugin_side(backend, service.subscriptions, data)
        plain = plain_side(session, Vapid02(private), service.subscriptions, data)
        for place in range(rounds + 1):
            sides = [(plugin, figures.plugin), (plain, figures.plain)]
            for send, found in sides if place % 2 else reversed(sides):
                took = await block(send, pushes, at_once)
                if place:
                    found.append(took)
    await egress.close()
    taken, refused = await asyncio.to_thread(service.end)
    assert (taken, refused) == (2 * (rounds + 1) * pushes, []), (taken, refused)
    return figures


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--pushes", type=int, default=300, help="pushes in a block")
    parser.add_argument("--bytes", type=int, default=500, help="bytes of a payload")
    parser.add_argument("--at-once", type=int, default=AT_ONCE)
    parser.add_argument("--serve", metavar="PUBLIC_KEY", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        asyncio.run(serve(options.serve))
        return
    figures = asyncio.run(measure(options.rounds, options.pushes, options.bytes, options.at_once))
    for name, found in (("hubd_webpush", figures.plugin), ("webpush_async", figures.plain)):
        print(f"{name:14} {median(found):7.1f} us of CPU a push ({1e6 / median(found):,.0f} pushes per CPU second)")
    print(
        f"ratio          {figures.ratio:.2f} times as many pushes per CPU second, median of {len(figures.plain)} pairs"
    )


if __name__ == "__main__":
    main()
