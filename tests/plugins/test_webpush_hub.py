"""From a registration to a decrypted push, through the whole hub and a push service that checks what it gets."""

from pathlib import Path

from hubd.testing.webpush_service import Fault, Scripted
from tests.plugins.webpush_world import SUBJECT, from_base64url, pem, webpush


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
        assert push.claims["sub"] == SUBJECT


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
        world.hub.reconfigure({"vapid_private_key": new, "subject": SUBJECT, **options})
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


async def test_after_a_rotation_a_page_that_names_no_key_still_gets_its_pushes(tmp_path: Path) -> None:
    """As `fetch(..., {body: JSON.stringify(subscription)})` registers it, with whichever key it was made."""
    old, new = pem(), pem()
    (tmp_path / "old.pem").write_text(old)
    async with webpush(vapid_private_key=old) as world:
        first = await world.subscribe("ada")
        options = {"allow_hosts": ["127.0.0.1"], "old_vapid_private_key_files": [str(tmp_path / "old.pem")]}
        world.hub.reconfigure({"vapid_private_key": new, "subject": SUBJECT, **options})
        await world.hub.register("ada", "webpush", **first)
        for count in (1, 2):
            await world.hub.publish("user:ada", {"type": "alert"})
            await world.arrived(count)
        assert len(world.service.refused) == 1  # the other key is tried once, and then it is known


async def test_a_device_whose_key_is_gone_is_kept_and_not_pushed_to() -> None:
    async with webpush(vapid_private_key=pem()) as world:
        await world.subscribe("ada", applicationServerKey=await world.key())
        world.hub.reconfigure({"vapid_private_key": pem(), "subject": SUBJECT, "allow_hosts": ["127.0.0.1"]})
        receipt = await world.hub.publish("user:ada", {"type": "alert"})
        await world.hub.advance(60)
        assert world.service.requests == 0 and len(world.hub.hub.devices) == 1
        chain = await world.hub.handle.explain(receipt.id, "ada")
        assert "key is gone" in str(chain)


async def test_a_service_that_is_busy_is_tried_again_and_nothing_is_lost() -> None:
    async with webpush() as world:
        endpoint = (await world.subscribe("ada"))["endpoint"]
        world.service.answer(endpoint, Scripted(503), Fault.RESET, Scripted(429, {"Retry-After": "30"}))
        await world.hub.publish("user:ada", {"type": "alert"}, id="patient", ttl=3600)
        assert [data["id"] for data in await world.arrived(1)] == ["patient"]
        assert world.service.requests == 4


async def test_nothing_secret_is_told_of_a_device() -> None:
    async with webpush() as world:
        made = await world.subscribe("ada")
        listed = await world.hub.request("GET", "/api/devices", user="ada")
        metrics = await world.hub.request("GET", "/metrics", key=True)
        for secret in (made["endpoint"], made["endpoint"][-16:], made["keys"]["auth"], made["keys"]["p256dh"]):
            assert secret.encode() not in listed.body + metrics.body


async def test_the_key_is_told_to_anybody_and_not_kept_on_the_way() -> None:
    async with webpush() as world:
        answer = await world.hub.request("GET", "/api/push/vapid-public-key")
        assert answer.headers["Cache-Control"] == "no-store"
        assert len(from_base64url(answer.json()["key"])) == 65
