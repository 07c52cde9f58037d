"""The stand-in for push services, by the eyes of a plain client: pywebpush."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from pywebpush import Vapid, WebPushException, webpush_async

from hubd.testing import FakeClock
from hubd.testing.authority import Authority
from hubd.testing.webpush_service import WAITING, Fault, Scripted, WebPushService
from tests.plugins.webpush_world import base64url, point_of

KEY = generate_private_key(SECP256R1())
PUBLIC = base64url(point_of(KEY))
WAIT_S = 20


@pytest.fixture
async def service() -> AsyncIterator[WebPushService]:
    async with WebPushService() as made:
        yield made


async def send(subscription: dict[str, Any], data: Any = b'{"n": 1}', **more: Any) -> int:
    """The status of the answer."""
    headers = more.pop("headers", {})
    options = {"vapid_private_key": Vapid(KEY), "vapid_claims": {"sub": "mailto:a@b.c"}, "timeout": WAIT_S, **more}
    if options["vapid_private_key"] is None:
        options["vapid_claims"] = None  # unsigned
    async with aiohttp.ClientSession() as session:
        options.setdefault("aiohttp_session", session)
        try:
            answer = await webpush_async(subscription, data, headers=headers, **options)
        except WebPushException as refused:
            return int(refused.status_code or 0)
    return int(answer.status)


async def test_what_pywebpush_sends_arrives(service: WebPushService) -> None:
    told: list[Any] = []
    service.on_push = told.append
    subscription = service.subscribe(PUBLIC)
    status = await send(subscription, ttl=60, headers={"Urgency": "high", "Topic": "t"})
    (found,) = service.pushes
    assert (status, told) == (201, [found])
    assert (found.endpoint, found.data, found.ttl_s, found.urgency, found.topic) == (
        subscription["endpoint"], {"n": 1}, 60, "high", "t"
    )  # fmt: skip
    assert found.claims["aud"] == service.url and found.size == len(b'{"n": 1}') + 103


async def test_what_is_no_json_is_bytes_and_nothing_is_none(service: WebPushService) -> None:
    subscription = service.subscribe(PUBLIC)
    assert [await send(subscription, data) for data in (b"hello", None)] == [201, 201]
    assert [found.data for found in service.pushes] == [b"hello", None]


def test_a_subscription_looks_like_a_browsers() -> None:
    made = WebPushService().subscribe(PUBLIC)
    assert {*made} == {"endpoint", "expirationTime", "keys"} and made["expirationTime"] is None
    assert {*made["keys"]} == {"p256dh", "auth"}
    assert (len(made["keys"]["p256dh"]), len(made["keys"]["auth"])) == (87, 22)


async def test_another_key_is_refused_and_said_why(service: WebPushService) -> None:
    restricted, free = service.subscribe(PUBLIC), service.subscribe()
    other = Vapid(generate_private_key(SECP256R1()))
    assert await send(restricted, vapid_private_key=other) == 403
    assert await send(restricted, vapid_private_key=None) == 401
    assert await send(free, vapid_private_key=other) == await send(free, vapid_private_key=None) == 201
    assert len(service.refused) == 2 and "another key" in service.refused[0]


async def test_wrong_times_and_audiences(service: WebPushService) -> None:
    subscription = service.subscribe(PUBLIC)
    claims = {"sub": "mailto:a@b.c", "aud": "https://elsewhere.example"}
    assert await send(subscription, vapid_claims=claims) == 403
    service._clock = FakeClock(1.0)
    assert await send(subscription) == 403


async def test_too_long(service: WebPushService) -> None:
    subscription = service.subscribe(PUBLIC)
    assert [await send(subscription, b"x" * size) for size in (3993, 3994)] == [201, 413]
    service.body_bytes = 1000
    assert await send(subscription, b"x" * 1000) == 413


async def test_the_old_encoding_is_refused(service: WebPushService) -> None:
    assert await send(service.subscribe(PUBLIC), content_encoding="aesgcm") == 415


async def test_nobody_and_gone(service: WebPushService) -> None:
    subscription = service.subscribe(PUBLIC)
    assert await send({**subscription, "endpoint": subscription["endpoint"] + "x"}) == 404
    service.unsubscribe(subscription["endpoint"])
    assert await send(subscription) == 410
    assert service.pushes == []


async def test_a_browser_that_is_away_gets_the_last_of_each_topic() -> None:
    clock = FakeClock()
    async with WebPushService(clock=clock) as service:
        subscription = service.subscribe()
        service.go_away(subscription["endpoint"])
        for data, ttl, topic in (
            (b"1", 60, "a"), (b"2", 60, None), (b"3", 0, None), (b"4", 600, "a"), (b"5", 600, "b"), (b"6", 600, None),
        ):  # fmt: skip
            headers = {"Topic": topic} if topic else {}
            assert await send(subscription, data, ttl=ttl, headers=headers, vapid_private_key=None) == 201
        assert service.pushes == []
        clock.advance(61)
        service.come_back(subscription["endpoint"])
        assert [found.data for found in service.pushes] == [4, 5, 6]
        assert await send(subscription, b"7", vapid_private_key=None) == 201
        assert service.pushes[-1].data == 7


async def test_not_more_wait_than_a_few(service: WebPushService) -> None:
    subscription = service.subscribe()
    service.go_away(subscription["endpoint"])
    for number in range(WAITING + 5):
        await send(subscription, str(number).encode(), ttl=60, vapid_private_key=None)
    service.come_back(subscription["endpoint"])
    assert [found.data for found in service.pushes] == [*range(5, WAITING + 5)]


async def test_answers_by_script(service: WebPushService) -> None:
    subscription, other = service.subscribe(PUBLIC), service.subscribe(PUBLIC)
    service.answer(
        subscription["endpoint"], Scripted(503), Scripted(429, {"Retry-After": "7"}), Scripted(201, after_s=0.01)
    )
    assert [await send(subscription) for _ in range(4)] == [503, 429, 201, 201]
    assert await send(other) == 201
    assert len(service.pushes) == 2  # what is scripted isn't brought


@pytest.mark.parametrize(
    ("fault", "error"),
    [(Fault.RESET, aiohttp.ClientConnectionError), (Fault.GARBAGE, aiohttp.ClientResponseError)],
)
async def test_faults(service: WebPushService, fault: Fault, error: type[Exception]) -> None:
    subscription = service.subscribe(PUBLIC)
    service.answer(subscription["endpoint"], fault)
    with pytest.raises(error):
        await send(subscription)
    assert await send(subscription) == 201


async def test_a_stall_lasts(service: WebPushService) -> None:
    subscription = service.subscribe(PUBLIC)
    service.answer(subscription["endpoint"], Fault.STALL)
    with pytest.raises(asyncio.TimeoutError):
        await send(subscription, timeout=0.5)
    assert await send(subscription) == 201


async def test_by_tls(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    async with WebPushService(tls=authority.server_context()) as service:
        assert service.url.startswith("https://127.0.0.1:")
        connector = aiohttp.TCPConnector(ssl=authority.client_context())
        async with aiohttp.ClientSession(connector=connector) as session:
            assert await send(service.subscribe(PUBLIC), aiohttp_session=session) == 201
        assert service.pushes[0].claims["aud"] == service.url
