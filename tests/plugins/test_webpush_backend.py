"""What goes to a push service: headers, signatures, keys."""

import re
from pathlib import Path
from typing import Any

import pytest
from hubd_webpush.backend import FOUND_KEYS, LONGEST_TTL_S, RENEWED_S, SIGNATURES, SIGNED_S, WebPushBackend, topic_of

from hubd.hooks.push import Device, Outcome, PushResult
from hubd.plugin import Priority
from hubd.testing.webpush_service import Scripted, WebPushService
from tests.plugins.webpush_world import (
    AUTH,
    ENDPOINT,
    POINT,
    SUBJECT,
    BackendWorld,
    backend_world,
    config,
    pem,
    push,
    subscription,
)


@pytest.mark.parametrize(
    ("priority", "urgency"),
    [(Priority.CRITICAL, "high"), (Priority.IMPORTANT, "normal"), (Priority.INFORMATIONAL, "low")],
)
async def test_headers(priority: Priority, urgency: str) -> None:
    async with backend_world() as world:
        result = await world.send(world.device(), {"title": "Hi"}, priority=priority, ttl_s=77, tag="parcel 7")
        assert result == PushResult(Outcome.ACCEPTED, "201")
        found = world.last
        assert found.data == {"id": "n1", "type": "alert", "title": "Hi"}
        assert (found.urgency, found.ttl_s, found.topic) == (urgency, 77, topic_of("parcel 7"))
        now = int(world.clock.now())
        assert found.claims == {"aud": world.service.url, "exp": now + SIGNED_S, "sub": SUBJECT}


async def test_times_that_services_dont_take() -> None:
    async with backend_world() as world:
        for ttl_s, sent in ((0, 0), (LONGEST_TTL_S, LONGEST_TTL_S), (366 * 86_400, LONGEST_TTL_S)):
            await world.send(world.device(), ttl_s=ttl_s)
            assert world.last.ttl_s == sent


def test_a_topic_tells_nothing_and_fits() -> None:
    tags = ["", "a", "b", "x" * 5000, "Zürich 🚂"]
    topics = {topic_of(tag) for tag in tags}
    assert len(topics) == len(tags) and {len(topic) for topic in topics} == {32}
    assert all(re.fullmatch("[A-Za-z0-9_-]+", topic) for topic in topics)


@pytest.mark.parametrize(
    ("for_fcm", "said", "endpoint", "has_one"),
    [
        (False, None, ENDPOINT, False),
        (True, None, ENDPOINT, True),
        (False, True, ENDPOINT, True),
        (True, False, ENDPOINT, False),
        (False, None, "https://updates.push.services.mozilla.com/x", True),
        (False, False, "https://updates.push.services.mozilla.com/x", False),
    ],
)
def test_chromes_service_gets_a_topic_only_when_asked_for(
    for_fcm: bool, said: bool | None, endpoint: str, has_one: bool
) -> None:
    backend = WebPushBackend(config(topic_for_fcm=for_fcm))
    origin = backend._services.origin_of(endpoint)
    assert backend._has_topic(origin, push(overrides={} if said is None else {"topic": said})) == has_one


async def test_overrides_of_headers() -> None:
    async with backend_world() as world:
        await world.send(world.device(), None, {"urgency": "very-low", "topic": False})
        assert (world.last.urgency, world.last.topic) == ("very-low", None)


class Counting:
    """Signs, and counts."""

    def __init__(self, world: BackendWorld) -> None:
        self.count = 0
        self._sign = world.backend._sign
        world.backend._sign = self

    def __call__(self, *args: Any) -> str:
        self.count += 1
        return self._sign(*args)


async def test_a_signature_is_made_once_for_half_a_day() -> None:
    async with backend_world() as world:
        signing, device = Counting(world), world.device()
        for _ in range(20):
            assert (await world.send(device)).outcome is Outcome.ACCEPTED
            assert (await world.send(world.device())).outcome is Outcome.ACCEPTED
        assert signing.count == 1
        world.clock.advance(SIGNED_S - RENEWED_S - 1)
        await world.send(device)
        assert signing.count == 1
        world.clock.advance(2)
        assert (await world.send(device)).outcome is Outcome.ACCEPTED
        assert signing.count == 2


async def test_each_service_gets_a_signature_of_its_own() -> None:
    async with backend_world() as world, WebPushService(clock=world.clock) as second:
        first = world.service
        for world.service in (first, second, first, second):
            assert (await world.send(world.device())).outcome is Outcome.ACCEPTED
        assert (len(first.pushes), len(second.pushes)) == (2, 2)


async def test_a_clock_that_was_wrong_and_is_put_back() -> None:
    async with backend_world() as world:
        signing, device = Counting(world), world.device()
        world.clock._now += 10 * 86_400
        await world.send(device)
        world.clock._now -= 10 * 86_400
        assert (await world.send(device)).outcome is Outcome.ACCEPTED
        assert signing.count == 2


async def test_signatures_are_kept_for_few_origins() -> None:
    async with backend_world() as world:
        for number in range(2 * SIGNATURES):
            world.backend._authorization(world.config.key.id, f"https://h{number}.example")
        assert len(world.backend._signatures) <= SIGNATURES


async def with_old(world: BackendWorld, old: str, folder: Path) -> str:
    """Change the key: gives the public half of the old one."""
    before = world.config.key.public
    (folder / "old.pem").write_text(old)
    world.config = config(allow_hosts=["127.0.0.1"], old_vapid_private_key_files=[str(folder / "old.pem")])
    world.backend.apply(world.config)
    return before


async def test_each_device_by_its_own_key(tmp_path: Path) -> None:
    old = pem()
    async with backend_world(vapid_private_key=old) as world:
        devices = [world.device(says=True)]
        public = await with_old(world, old, tmp_path)
        devices += [world.device(says=True), world.device(key=public, says=True)]
        for device in devices:
            assert (await world.send(device)).outcome is Outcome.ACCEPTED
        assert world.service.requests == len(devices)


async def test_who_hasnt_said_which_is_tried_with_all_and_remembered(tmp_path: Path) -> None:
    old = pem()
    async with backend_world(vapid_private_key=old) as world:
        public = await with_old(world, old, tmp_path)
        device = world.device(key=public)  # registered as if with the new one
        for requests in (2, 3, 4):
            assert (await world.send(device)).outcome is Outcome.ACCEPTED
            assert world.service.requests == requests
        stranger = world.device(key=POINT)
        assert await world.send(stranger) == PushResult(Outcome.LATER, "403")
        assert world.service.requests == 6


async def test_who_has_said_which_isnt_tried_with_others(tmp_path: Path) -> None:
    old = pem()
    async with backend_world(vapid_private_key=old) as world:
        await with_old(world, old, tmp_path)
        device = world.device(says=True)
        world.service.answer(device.address["endpoint"], Scripted(403))
        assert await world.send(device) == PushResult(Outcome.LATER, "403")
        assert world.service.requests == 1


async def test_what_was_found_is_kept_for_so_many() -> None:
    async with backend_world() as world:
        for number in range(FOUND_KEYS + 10):
            world.backend._note_key(f"d{number}", "k")
        assert len(world.backend._found) <= FOUND_KEYS


async def test_nothing_secret_in_results_or_names() -> None:
    async with backend_world() as world:
        fields = world.backend.check(subscription(ENDPOINT)).fields
        device = Device("d", "ada", "webpush", fields)
        shown = f"{world.backend.destination(device)} {await world.send(world.device())}"
        assert not any(secret in shown for secret in ("abc:def", POINT, AUTH))
