"""The plugin's life: what it loads when, and what a reload changes."""

import asyncio
import subprocess
import sys
from typing import Any

import pytest
from hubd_webpush import WebPush
from hubd_webpush.plugin import CONNECTIONS

from hubd.hooks.push import Device, Outcome, PushResult
from hubd.testing.webpush_service import Fault
from tests.plugins.webpush_world import PEM, SUBJECT, HubWorld, pem, push, webpush

WAIT_S = 20


def device_of(world: HubWorld, made: dict[str, Any]) -> Device:
    return Device("d1", "ada", "webpush", world.hub.plugin.backend.check(made).fields)


def test_nothing_heavy_is_loaded_with_it() -> None:
    code = (
        "import sys, hubd_webpush; hubd_webpush.WebPush(hubd_webpush.WebPush.Config(vapid_private_key=sys.argv[1],"
        " subject='mailto:a@b.c')); print(sorted({'pywebpush', 'py_vapid', 'requests', 'http_ece'} & {*sys.modules}))"
    )
    shown = subprocess.run([sys.executable, "-c", code, PEM], capture_output=True, text=True, check=True, timeout=60)
    assert shown.stdout.strip() == "[]"


async def test_its_backend_is_the_one_for_web_push() -> None:
    async with webpush() as world:
        (backend,) = world.hub.plugin.hubd_push_backends()
        assert backend.platform == "webpush" and [*world.hub.hub.push_backends] == ["webpush"]
        assert backend.limits.at_once < CONNECTIONS


async def test_a_reload_takes_over_keys_and_services() -> None:
    async with webpush() as world:
        made = world.service.subscribe(await world.key())
        await world.hub.register("ada", "webpush", **made)
        before = await world.key()
        options = {"vapid_private_key": pem(), "subject": "https://example.com/contact"}
        world.hub.reconfigure({**options, "allow_hosts": ["localhost"], "services": ["push.example.com"]})
        assert await world.key() != before
        refused = await world.hub.request("POST", "/api/push-subscriptions", user="ada", json=made)
        assert [error["path"] for error in refused.json()["errors"]] == ["endpoint"]
        other = {**made, "endpoint": "https://eu.push.example.com/1"}
        assert (await world.hub.request("POST", "/api/push-subscriptions", user="ada", json=other)).status == 201


async def test_calls_under_way_end_when_the_hosts_change() -> None:
    async with webpush() as world:
        made = world.service.subscribe(await world.key())
        world.service.answer(made["endpoint"], Fault.STALL)
        backend = world.hub.plugin.backend
        call = asyncio.get_running_loop().create_task(backend.send(device_of(world, made), push()))
        async with asyncio.timeout(WAIT_S):
            while not world.service.requests:
                await asyncio.sleep(0.005)
            options = {"vapid_private_key": PEM, "subject": SUBJECT}
            world.hub.reconfigure({**options, "allow_hosts": ["127.0.0.1", "localhost"]})
            assert await call == PushResult(Outcome.LATER, "closed")
        assert (await backend.send(device_of(world, made), push())).outcome is Outcome.ACCEPTED


async def test_after_the_end_everything_is_for_later() -> None:
    async with webpush() as world:
        made = world.service.subscribe(await world.key())
        device, backend = device_of(world, made), world.hub.plugin.backend
        await world.hub.plugin.hubd_shutdown()
        assert await backend.send(device, push()) == PushResult(Outcome.LATER, "closed")


def test_a_plugin_that_never_started_ends_all_the_same() -> None:
    asyncio.run(WebPush(WebPush.Config(vapid_private_key=PEM, subject=SUBJECT)).hubd_shutdown())


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
async def test_the_key_can_only_be_read(method: str) -> None:
    async with webpush() as world:
        assert (await world.hub.request(method, "/api/push/vapid-public-key")).status == 405
