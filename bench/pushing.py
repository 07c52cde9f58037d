"""What a push waits for while another host stalls and a third one refuses: nothing. Real HTTP servers on loopback.

    python -m bench pushing

Three push services in a process of their own: one healthy, one that never answers, one that answers 429 with
Retry-After. The hub with its dispatcher pushes to each of them at the same rate. Runs take turns: all three healthy,
and one of them alone; the figure is the time from the publish call to the healthy one's answer.
"""

import argparse
import asyncio
import gc
import logging
import multiprocessing
from collections.abc import Mapping
from multiprocessing.connection import Connection
from random import Random
from typing import Any

from aiohttp import ClientSession, web

from bench.results import Results
from hubd.clock import SystemClock
from hubd.config import Config
from hubd.core.errors import FieldError
from hubd.hooks.push import Address, Device, Limits, Outcome, Push, PushResult
from hubd.hub import Hub
from hubd.ids import Ids
from hubd.tasks import Tasks

PER_S, SECONDS, ROUNDS, USERS = 60.0, 6.0, 9, 50
ANSWER_S = 0.02
HOSTS = ("healthy", "second", "third")


def serve(ports: Connection) -> None:
    """The push services, each with what it does: ``/healthy``, ``/stalled``, ``/busy``."""

    async def healthy(request: web.Request) -> web.Response:
        await asyncio.sleep(ANSWER_S)
        return web.Response(status=201)

    async def stalled(request: web.Request) -> web.Response:
        await asyncio.sleep(3600)
        return web.Response(status=201)

    async def busy(request: web.Request) -> web.Response:
        return web.Response(status=429, headers={"Retry-After": "1"})

    async def run() -> None:
        app = web.Application()
        app.add_routes([web.post("/healthy", healthy), web.post("/stalled", stalled), web.post("/busy", busy)])
        runner = web.AppRunner(app, handler_cancellation=True)
        await runner.setup()
        for _ in HOSTS:
            site = web.TCPSite(runner, "127.0.0.1", 0)
            await site.start()
        found = [address[1] for address in runner.addresses]
        ports.send(found)
        await asyncio.get_running_loop().run_in_executor(None, ports.recv)
        await runner.cleanup()

    asyncio.run(run())


class Backend:
    """A plain HTTP call; ``times`` has when the healthy one answered, by the notification's id."""

    platform = "bench"
    limits = Limits(at_once=32, timeout_s=10)

    def __init__(self, session: ClientSession, urls: Mapping[str, str]) -> None:
        self._session = session
        self._urls = urls
        self.answered: dict[str, float] = {}

    def check(self, fields: Mapping[str, Any]) -> Address:
        return Address(fields["token"], fields)

    def check_overrides(self, overrides: Mapping[str, Any]) -> list[FieldError]:
        return []

    def destination(self, device: Device) -> str:
        return str(device.address["host"])

    async def send(self, device: Device, push: Push) -> PushResult:
        host = device.address["host"]
        async with self._session.post(self._urls[host], data=push.data(4000)) as response:
            if response.status == 201:
                self.answered[push.id] = asyncio.get_running_loop().time()
                return PushResult(Outcome.ACCEPTED, "201")
            after = float(response.headers["Retry-After"])
            return PushResult(Outcome.LATER, "429", retry_after_s=after, for_all=True)


async def measure(ports: list[int], does: tuple[str, ...], seconds: float, per_s: float) -> list[float]:
    """Milliseconds until the healthy one's answers; ``does``: what each of the hosts does."""
    loop, tasks, clock = asyncio.get_running_loop(), Tasks(), SystemClock()
    urls = {host: f"http://127.0.0.1:{port}/{what}" for host, port, what in zip(HOSTS, ports, does, strict=False)}
    async with ClientSession() as session:
        backend = Backend(session, urls)
        hub = Hub(
            Config(), clock=clock, ids=Ids(clock, Random(1)), call_soon=loop.call_soon, call_later=loop.call_later
        )
        hub.pushing.push_by({"bench": backend}, random=Random(1), tasks=tasks, call_later=loop.call_later)
        for host in urls:
            for number in range(USERS):
                address = Address(f"{host}{number}", {"token": f"{host}{number}", "host": host})
                await hub.devices.put(f"{host}-{number}", "bench", address)
        begun: dict[str, float] = {}
        first = loop.time()
        for number in range(int(seconds * per_s)):
            await asyncio.sleep(max(0.0, first + number / per_s - loop.time()))
            for host in urls:
                id, user = f"{host}-{number}", f"{host}-{number % USERS}"
                body = {"id": id, "to": f"user:{user}", "notification": {"type": "order"}, "priority": "critical"}
                if host == "healthy":
                    begun[id] = loop.time()
                await hub.publish(hub.prepare({**body, "ttl": 600}), "bench")
        await asyncio.sleep(1)
        missing = [id for id in begun if id not in backend.answered]
        assert not missing, f"the healthy one didn't get {len(missing)} of {len(begun)}"
        await hub.pushing.stop(0)
        hub.delivering.stop()
        await tasks.close()
    gc.collect()
    return [(backend.answered[id] - at) * 1000 for id, at in begun.items()]


def percentile(times: list[float], share: float) -> float:
    """What so many of them are below."""
    return sorted(times)[int(share * len(times))]


DOES = {
    "one healthy host alone": ("healthy",),
    "three healthy": ("healthy", "healthy", "healthy"),
    "one stalls, one answers 429": ("healthy", "stalled", "busy"),
}


def main() -> None:
    parser = argparse.ArgumentParser(description="Whether one push service feels that others don't work.")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--seconds", type=float, default=SECONDS)
    parser.add_argument("--per-second", type=float, default=PER_S, help="publishes to each host")
    parser.add_argument("--short", action="store_true", help="fewer rounds")
    options = parser.parse_args()
    logging.disable(logging.WARNING)  # that a host is paused is what is wanted here
    ours, theirs = multiprocessing.Pipe()
    services = multiprocessing.get_context("spawn").Process(target=serve, args=(theirs,))
    services.start()
    ports: list[int] = ours.recv()
    found: dict[str, list[list[float]]] = {name: [] for name in DOES}
    for number in range(3 if options.short else options.rounds):
        for name in list(DOES)[:: (-1) ** number]:
            times = asyncio.run(measure(ports, DOES[name], options.seconds, options.per_second))
            found[name].append(times)
    ours.send("stop")
    services.join()
    results = Results("pushing")
    for share, word in ((0.5, "p50"), (0.99, "p99")):
        for name, runs in found.items():
            values = [percentile(times, share) for times in runs]
            results.add(f"publish to answer, {word}: {name}", "hub", "ms", values)
    sick, well = found["one stalls, one answers 429"], found["three healthy"]
    ratios = [percentile(a, 0.99) / percentile(b, 0.99) for a, b in zip(sick, well, strict=True)]
    results.add("p99 while others are sick, by while all are healthy", "hub", "times", ratios, reach="<= 1.1")
    pooled = [percentile([time for times in runs for time in times], 0.99) for runs in (sick, well)]
    results.add("the same, over all runs together", "hub", "times", [pooled[0] / pooled[1]], reach="<= 1.1")
    results.save()
