"""The daemon: builds a hub, listens, says so, and stops in good order."""

import asyncio
import gc
import logging
import resource
import signal
import sys
from contextlib import suppress
from random import SystemRandom

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from hubd.clock import SystemClock
from hubd.config import Config
from hubd.config_options import ApiKeyEntry
from hubd.edge.app import Edge
from hubd.edge.keys import ApiKeys, new_key
from hubd.edge.origin import is_loopback
from hubd.hub import Hub
from hubd.ids import Ids
from hubd.tasks import Tasks

BACKLOG = 4096
KEEPALIVE_S = 75.0
"""For how long an HTTP connection may be silent: longer than the proxies in front, so that it is they who close."""

log = logging.getLogger("hubd")


def serve(config: Config, dev: bool) -> int:
    """Run a hub until it is told to stop; gives the exit status."""
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("aiohttp.server").addFilter(_is_our_fault)
    if dev and not is_loopback(config.server.host):
        print("hubd: --dev trusts everybody who can connect: it runs on 127.0.0.1 or ::1 only", file=sys.stderr)
        return 1
    _raise_open_files()
    for path in config.unused_settings():
        log.warning("the setting %s has no effect in this version", path)
    try:
        return asyncio.run(_serve(config, dev))
    except OSError as error:
        address = f"{config.server.host}:{config.server.port}"
        print(f"hubd: can't listen on {address}: {error.strerror or error}", file=sys.stderr)
        return 1


def _is_our_fault(record: logging.LogRecord) -> bool:
    """Drops the tracebacks that aiohttp writes for whatever isn't HTTP: any scanner would fill the log with them."""
    return not (record.exc_info and isinstance(record.exc_info[1], HttpProcessingError))


def _raise_open_files() -> None:
    """Each connection is an open file: take as many as the system allows, not the cautious number it starts with."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


async def _serve(config: Config, dev: bool) -> int:
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    clock, random, tasks = SystemClock(), SystemRandom(), Tasks()
    hub = Hub(config, clock=clock, ids=Ids(clock, random), call_soon=loop.call_soon)
    dev_key, digest = new_key("dev")
    entries = [*config.auth.api_keys]
    if dev:
        entries.append(ApiKeyEntry(id="dev", sha256=digest, rights=("publish", "admin")))
    edge = Edge(hub, keys=ApiKeys(entries), tasks=tasks, random=random, dev=dev)
    runner = web.AppRunner(
        edge.app,
        access_log=None,
        handler_cancellation=False,  # a publisher that hangs up can't stop half-way what he began
        auto_decompress=False,
        keepalive_timeout=KEEPALIVE_S,
        shutdown_timeout=config.server.drain_s,  # an upper bound: how long it really is, `_stop` decides
    )
    await runner.setup()
    site = web.TCPSite(runner, config.server.host, config.server.port, backlog=BACKLOG)
    await site.start()
    edge.start()
    # What is here now stays: the collector needn't look at it again whenever many connections come.
    gc.collect()
    gc.freeze()
    url = _url(config.server.host, runner.addresses[0][1])
    if dev:
        _say_dev(url, dev_key)
    elif not config.auth.jwt:
        log.warning("no [[auth.jwt]] is configured: nobody can connect (`hubd gen-key jwt` makes one; or use --dev)")
    print(f"hubd listening on {url}", flush=True)
    await stop.wait()
    await _stop(site, edge, runner, config.server.drain_s)
    await tasks.close()
    return 0


async def _stop(site: web.TCPSite, edge: Edge, runner: web.AppRunner, drain_s: float) -> None:
    """Take nobody in any more, tell everybody, and give what is under way until the end of ``drain_s``."""
    clock = edge.hub.clock
    until = clock.monotonic() + drain_s
    await site.stop()  # who comes now is refused by the system, and may find another hub
    await edge.stop(until)
    with suppress(TimeoutError):  # requests that aren't through by then are cut when the loop ends
        await asyncio.wait_for(runner.cleanup(), max(0.0, until - clock.monotonic()))


def _url(host: str, port: int) -> str:
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _say_dev(url: str, key: str) -> None:
    body = '{"to": "user:ada", "notification": {"type": "alert", "title": "It works", "body": "Hello from curl"}}'
    print(
        f"""
  DEV MODE: everybody on this machine may be anybody. Never let others reach it.

  Open the demo, in two browsers or tabs:
    {url}/demo/?user=ada
    {url}/demo/?user=bob

  Publish to one of them:
    curl {url}/api/notifications -H 'Authorization: Bearer {key}' -d '{body}'
""",
        file=sys.stderr,
        flush=True,
    )
