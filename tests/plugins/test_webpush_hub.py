"""From a registration to a decrypted push, through the whole hub and a push service that checks what it gets."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from hubd.testing import PluginWorld, hub_for
from hubd.testing.webpush_service import WebPushService
from hubd_webpush import WebPush


def pem() -> str:
    key = generate_private_key(SECP256R1())
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


class World:
    """A hub that pushes by Web Push, and the service."""

    def __init__(self, hub: PluginWorld, service: WebPushService) -> None:
        self.hub = hub
        self.service = service

    async def key(self) -> str:
        answer = await self.hub.request("GET", "/api/push/vapid-public-key")
        assert answer.status == 200
        return str(answer.json()["key"])

    async def subscribe(self, user: str) -> dict[str, Any]:
        subscription = self.service.subscribe(await self.key())
        await self.hub.register(user, "webpush", **subscription)
        return subscription

    async def arrived(self, count: int) -> list[Any]:
        await self.hub.until(lambda: len(self.service.pushes) >= count)
        return [push.data for push in self.service.pushes]


@asynccontextmanager
async def webpush(**config: Any) -> AsyncIterator[World]:
    async with WebPushService() as service:
        options = {
            "vapid_private_key": pem(),
            "subject": "mailto:ops@example.com",
            "allow_hosts": ["127.0.0.1"],
            **config,
        }
        async with hub_for(WebPush, options) as hub:
            service._clock = hub.clock  # signatures are for the time that the hub has
            yield World(hub, service)


async def test_who_is_away_gets_what_was_published() -> None:
    async with webpush() as world:
        await world.subscribe("ada")
        payload = {"type": "alert", "title": "Shipped", "body": "Order 1234", "url": "/orders/1234"}
        receipt = await world.hub.publish("user:ada", payload, id="n1", ttl=3600)
        (data,) = await world.arrived(1)
        assert receipt.id == data["id"] == "n1" and data["channel"] == "user:ada:notifications"
        assert {name: data[name] for name in payload} == payload
        (push,) = world.service.pushes
        assert (push.urgency, 3590 <= push.ttl_s <= 3600, len(push.topic or "")) == ("normal", True, 32)
        assert push.claims["sub"] == "mailto:ops@example.com"


async def test_one_who_is_here_and_acks_is_not_pushed_to() -> None:
    async with webpush() as world:
        await world.subscribe("ada")
        ada = world.hub.connect("ada")
        receipt = await world.hub.publish("user:ada", {"type": "alert"})
        world.hub.hub.ack("ada", [receipt.id], [ada])
        await world.hub.advance(30)
        await world.hub.publish("user:ada", {"type": "alert"}, id="unacked")
        assert [data["id"] for data in await world.arrived(1)] == ["unacked"]


async def test_a_large_one_is_light_and_the_rest_is_fetched_with_what_it_carries() -> None:
    async with webpush() as world:
        await world.subscribe("ada")
        await world.hub.publish("user:ada", {"type": "alert", "title": "T" * 5000, "more": "x" * 20_000}, id="big")
        (data,) = await world.arrived(1)
        assert data["fetch"] is True and data["id"] == "big" and world.service.pushes[0].size <= 4096
        headers = {"Authorization": f"Bearer {data['hub_capability']}"}
        answer = await world.hub.request("GET", "/api/notifications/big", headers=headers)
        assert answer.status == 200 and answer.json()["more"] == "x" * 20_000
        answer = await world.hub.request("POST", "/api/acks", headers=headers, json={"ids": ["big"]})
        assert answer.status == 200, answer


async def test_what_is_gone_is_taken_off() -> None:
    async with webpush() as world:
        subscription = await world.subscribe("ada")
        world.service.unsubscribe(subscription["endpoint"])
        await world.hub.publish("user:ada", {"type": "alert"})
        await world.hub.until(lambda: len(world.hub.hub.devices) == 0)
        assert (await world.hub.request("GET", "/api/devices", user="ada")).json() == {"devices": []}


async def test_rotation_each_browser_is_reached_by_the_key_that_it_subscribed_with(tmp_path: Path) -> None:
    old, new = pem(), pem()
    (tmp_path / "old.pem").write_text(old)
    async with webpush(vapid_private_key=old) as world:
        first = await world.subscribe("ada")
        options = {"allow_hosts": ["127.0.0.1"], "old_vapid_private_key_files": [str(tmp_path / "old.pem")]}
        world.hub.reconfigure({"vapid_private_key": new, "subject": "mailto:ops@example.com", **options})
        second = await world.subscribe("ada")
        await world.hub.publish("user:ada", {"type": "alert"})
        await world.arrived(2)
        assert {push.endpoint for push in world.service.pushes} == {first["endpoint"], second["endpoint"]}
        assert world.service.refused == []


async def test_overrides_reach_the_worker() -> None:
    async with webpush() as world:
        await world.subscribe("ada")
        shown = {"image": "/map.png", "actions": [{"action": "track", "title": "Track", "url": "/track"}]}
        await world.hub.publish("user:ada", {"type": "alert"}, push={"webpush": {**shown, "urgency": "high"}})
        (data,) = await world.arrived(1)
        assert data["hub_push"] == shown and world.service.pushes[0].urgency == "high"
        body = {"to": "user:ada", "notification": {"type": "x"}, "push": {"webpush": {"color": "red"}}}
        answer = await world.hub.request("POST", "/api/notifications", key=True, json=body)
        assert [error["path"] for error in answer.json()["errors"]] == ["push.webpush.color"]


@pytest.mark.parametrize("wrong", [{}, {"vapid_private_key": "no key"}])
async def test_without_a_key_it_says_how_to_make_one(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="hubd gen-key vapid"):
        WebPush.Config.model_validate(wrong)
