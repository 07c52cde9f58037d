"""Published keys: fetched from a real server, kept fresh, and never more believed than the config says."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from typing import Any

import jwt
import orjson
import pytest
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

from hubd.config import Auth, JwtKey
from hubd.core.errors import BAD_TOKEN
from hubd.edge import jwks as jwks_module
from hubd.edge.jwks import Jwks
from hubd.edge.tokens import TokenRefused, Tokens
from hubd.tasks import Tasks
from hubd.testing import FakeClock

NOW = 1_800_000_000.0
RSA_KEY, RSA_NEXT = (rsa.generate_private_key(65537, 2048) for _ in range(2))
EC_KEY = ec.generate_private_key(ec.SECP256R1())
ED_KEY = ed25519.Ed25519PrivateKey.generate()
PRIVATE: dict[str, Any] = {"RS256": RSA_KEY, "ES256": EC_KEY, "EdDSA": ED_KEY}


def jwk(key: Any, kid: str | None = "k1", **members: Any) -> dict[str, Any]:
    kinds: dict[type, Any] = {rsa.RSAPrivateKey: RSAAlgorithm, ec.EllipticCurvePrivateKey: ECAlgorithm}
    how = next((how for kind, how in kinds.items() if isinstance(key, kind)), OKPAlgorithm)
    made: dict[str, Any] = how.to_jwk(key.public_key(), as_dict=True)
    return made | ({"kid": kid} if kid else {}) | members


def sign(key: Any = RSA_KEY, algorithm: str = "RS256", kid: str | None = "k1", **claims: Any) -> str:
    body = {"sub": "42", "exp": NOW + 100_000} | claims
    return jwt.encode(body, key, algorithm, headers={"kid": kid} if kid else None)


class Publisher:
    """An issuer's server: what it answers, how often it was asked."""

    def __init__(self) -> None:
        self.url = ""
        self.asked = 0
        self.answer: Callable[[], web.StreamResponse] = lambda: web.Response(status=500)
        self.gate = asyncio.Event()
        self.gate.set()

    def publish(self, *keys: object) -> None:
        body = orjson.dumps({"keys": keys})
        self.answer = lambda: web.Response(body=body)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.asked += 1
        await self.gate.wait()
        return self.answer()


async def elsewhere(_: web.Request) -> web.Response:
    return web.Response(body=orjson.dumps({"keys": [jwk(RSA_KEY), jwk(RSA_NEXT, "new")]}))


@pytest.fixture
async def publisher() -> AsyncIterator[Publisher]:
    publisher = Publisher()
    app = web.Application()
    app.router.add_get("/keys", publisher.handle)
    app.router.add_get("/elsewhere", elsewhere)
    runner = web.AppRunner(app, shutdown_timeout=1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    publisher.url = f"http://127.0.0.1:{runner.addresses[0][1]}/keys"
    yield publisher
    publisher.gate.set()
    await runner.cleanup()


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(NOW)


@pytest.fixture
async def tasks() -> AsyncIterator[Tasks]:
    tasks = Tasks()
    yield tasks
    await tasks.close()


Maker = Callable[..., Tokens]


@pytest.fixture
async def make(publisher: Publisher, clock: FakeClock, tasks: Tasks) -> AsyncIterator[Maker]:
    made: list[Tokens] = []

    def build(*more: JwtKey, algorithm: str = "RS256") -> Tokens:
        entry = JwtKey.model_validate({"algorithm": algorithm, "jwks_url": publisher.url})
        made.append(Tokens(Auth(jwt=(entry, *more)), clock, tasks))
        return made[-1]

    yield build
    for tokens in made:
        await tokens.close()


async def refused(tokens: Tokens, token: str) -> TokenRefused:
    with pytest.raises(TokenRefused) as caught:
        await tokens.verify(token)
    assert caught.value.disconnect is BAD_TOKEN
    return caught.value


async def settle(tasks: Tasks) -> None:
    """Wait for what runs in the background."""
    while running := list(tasks._running):
        await asyncio.wait(running)


@pytest.mark.parametrize("algorithm", PRIVATE)
async def test_each_algorithm(publisher: Publisher, make: Maker, algorithm: str) -> None:
    publisher.publish(*(jwk(key, name) for name, key in PRIVATE.items()))
    tokens = make(algorithm=algorithm)
    assert (await tokens.verify(sign(PRIVATE[algorithm], algorithm, kid=algorithm))).user == "42"
    assert (await tokens.verify(sign(PRIVATE[algorithm], algorithm, kid=None))).user == "42"
    for other, key in PRIVATE.items():
        if other != algorithm:
            assert not (await refused(tokens, sign(key, other, kid=other))).temporary


async def test_the_key_is_chosen_by_its_id(publisher: Publisher, make: Maker) -> None:
    publisher.publish(jwk(RSA_KEY, "a"), jwk(RSA_NEXT, "b"))
    tokens = make()
    assert (await tokens.verify(sign(RSA_NEXT, kid="b"))).user == "42"
    await refused(tokens, sign(RSA_NEXT, kid="a"))
    assert (await tokens.verify(sign(RSA_NEXT, kid=None))).user == "42"


async def test_many_at_once_ask_once(publisher: Publisher, make: Maker) -> None:
    publisher.publish(jwk(RSA_KEY))
    publisher.gate.clear()
    tokens = make()
    waiting = [asyncio.ensure_future(tokens.verify(sign(sub=f"u{number}"))) for number in range(50)]
    await asyncio.sleep(0.05)
    # Those who hang up meanwhile take nobody's keys away.
    for impatient in waiting[:10]:
        impatient.cancel()
    publisher.gate.set()
    found = await asyncio.gather(*waiting[10:])
    assert [identity.user for identity in found] == [f"u{number}" for number in range(10, 50)]
    assert publisher.asked == 1


async def test_an_unknown_id_is_looked_for_once_in_thirty_seconds(
    publisher: Publisher, make: Maker, clock: FakeClock
) -> None:
    publisher.publish(jwk(RSA_KEY, "old"))
    tokens = make()
    await tokens.verify(sign(kid="old"))
    publisher.publish(jwk(RSA_KEY, "old"), jwk(RSA_NEXT, "new"))
    await refused(tokens, sign(RSA_NEXT, kid="new"))
    clock.advance(29.9)
    await refused(tokens, sign(RSA_NEXT, kid="new"))
    assert publisher.asked == 1
    clock.advance(0.1)
    assert (await tokens.verify(sign(RSA_NEXT, kid="new"))).user == "42"
    for number in range(20):
        await refused(tokens, sign(kid=f"made-up-{number}"))
    assert publisher.asked == 2


async def test_a_token_of_another_algorithm_makes_nobody_ask(publisher: Publisher, make: Maker) -> None:
    publisher.publish(jwk(RSA_KEY))
    tokens = make()
    await tokens.verify(sign())
    await refused(tokens, sign(EC_KEY, "ES256", kid="other"))
    assert publisher.asked == 1


async def test_old_keys_are_refreshed_in_the_background(
    publisher: Publisher, make: Maker, clock: FakeClock, tasks: Tasks
) -> None:
    publisher.publish(jwk(RSA_KEY))
    tokens = make()
    await tokens.verify(sign())
    clock.advance(600)
    await tokens.verify(sign())
    await settle(tasks)
    assert publisher.asked == 1
    clock.advance(0.1)
    publisher.gate.clear()
    await asyncio.wait_for(tokens.verify(sign()), 1)  # from the cache, though nobody answers
    await asyncio.wait_for(tokens.verify(sign(tags=["x"])), 1)
    publisher.gate.set()
    await settle(tasks)
    assert publisher.asked == 2
    await tokens.verify(sign())
    await settle(tasks)
    assert publisher.asked == 2


async def test_a_withdrawn_key_takes_its_tokens_with_it(
    publisher: Publisher, make: Maker, clock: FakeClock, tasks: Tasks
) -> None:
    publisher.publish(jwk(RSA_KEY, "a"), jwk(RSA_NEXT, "b"))
    tokens = make()
    token = sign(kid="a")
    await tokens.verify(token)
    publisher.publish(jwk(RSA_NEXT, "b"))
    clock.advance(601)
    await tokens.verify(token)
    await settle(tasks)
    assert not (await refused(tokens, token)).temporary


async def test_another_key_under_the_same_id_does_so_too(
    publisher: Publisher, make: Maker, clock: FakeClock, tasks: Tasks
) -> None:
    publisher.publish(jwk(RSA_KEY))
    tokens = make()
    token = sign()
    await tokens.verify(token)
    publisher.publish(jwk(RSA_NEXT))
    clock.advance(601)
    await tokens.verify(token)
    await settle(tasks)
    await refused(tokens, token)
    assert (await tokens.verify(sign(RSA_NEXT))).user == "42"


def redirect() -> web.Response:
    return web.Response(status=302, headers={"Location": "/elsewhere"})


FAILURES: dict[str, Callable[[], web.Response]] = {
    "status": lambda: web.Response(status=503, body=orjson.dumps({"keys": [jwk(RSA_NEXT)]})),
    "redirect": redirect,
    "no json": lambda: web.Response(body=b"<html>"),
    "no set": lambda: web.Response(body=b"[]"),
    "no list": lambda: web.Response(body=b'{"keys":{}}'),
    "no key": lambda: web.Response(body=b'{"keys":[]}'),
    "only others": lambda: web.Response(body=orjson.dumps({"keys": [jwk(EC_KEY), 7, None, {}, {"kty": "RSA"}]})),
    "too long": lambda: web.Response(body=orjson.dumps({"keys": [jwk(RSA_NEXT, x="y" * 300_000)]})),
    "zipped bomb": lambda: zipped(orjson.dumps({"keys": [jwk(RSA_NEXT)]}) + b" " * 20_000_000),
}


def zipped(body: bytes) -> web.Response:
    answer = web.Response(body=body)
    answer.enable_compression(web.ContentCoding.gzip)
    return answer


@pytest.mark.parametrize("failure", FAILURES)
async def test_a_failing_fetch_leaves_the_old_keys(
    publisher: Publisher, make: Maker, clock: FakeClock, tasks: Tasks, failure: str, caplog: pytest.LogCaptureFixture
) -> None:
    publisher.publish(jwk(RSA_KEY))
    tokens = make()
    await tokens.verify(sign())
    publisher.answer = FAILURES[failure]
    clock.advance(601)
    with caplog.at_level(logging.WARNING):
        await tokens.verify(sign(tags=["1"]))
        await settle(tasks)
    assert publisher.asked == 2
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert (await tokens.verify(sign(tags=["2"]))).user == "42"
    assert (await refused(tokens, sign(RSA_NEXT, kid="new"))).temporary, "the key may exist"


@pytest.mark.parametrize("failure", FAILURES)
async def test_without_any_key_the_fault_is_not_the_token_s(
    publisher: Publisher, make: Maker, clock: FakeClock, failure: str
) -> None:
    publisher.answer = FAILURES[failure]
    tokens = make()
    assert (await refused(tokens, sign())).temporary
    publisher.publish(jwk(RSA_KEY))
    await refused(tokens, sign())
    clock.advance(2)
    assert (await tokens.verify(sign())).user == "42"


async def test_a_server_that_hangs_holds_nobody_for_long(
    publisher: Publisher, make: Maker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jwks_module, "TIMEOUT_S", 0.1)
    publisher.gate.clear()
    tokens = make()
    assert (await asyncio.wait_for(refused(tokens, sign()), 2)).temporary


async def test_a_server_that_is_gone(make: Maker, publisher: Publisher, clock: FakeClock, tasks: Tasks) -> None:
    entry = JwtKey(algorithm="RS256", jwks_url="http://127.0.0.1:1/keys")
    tokens = Tokens(Auth(jwt=(entry,)), clock, tasks)
    assert (await refused(tokens, sign())).temporary


async def test_one_issuer_s_slow_server_holds_up_nobody_else(publisher: Publisher, make: Maker) -> None:
    secret = "s" * 64
    publisher.gate.clear()
    tokens = make(JwtKey.model_validate({"algorithm": "HS256", "key": secret}))
    token = sign(secret, "HS256", kid="any")
    assert (await asyncio.wait_for(tokens.verify(token), 1)).user == "42"


async def test_a_fetch_that_takes_long_stays_the_only_one(publisher: Publisher, make: Maker, clock: FakeClock) -> None:
    publisher.publish(jwk(RSA_KEY))
    publisher.gate.clear()
    tokens = make()
    first = asyncio.ensure_future(tokens.verify(sign()))
    await asyncio.sleep(0.05)
    clock.advance(31)
    second = asyncio.ensure_future(tokens.verify(sign(tags=["x"])))
    await asyncio.sleep(0.05)
    publisher.gate.set()
    assert (await first).user == (await second).user == "42"
    assert publisher.asked == 1


async def test_close_stops_a_fetch(publisher: Publisher, make: Maker, clock: FakeClock, tasks: Tasks) -> None:
    publisher.gate.clear()
    tokens = make()
    waiting = asyncio.ensure_future(refused(tokens, sign()))
    await asyncio.sleep(0.05)
    await asyncio.wait_for(tokens.close(), 1)
    await asyncio.wait_for(waiting, 1)
    assert not tasks._running
    clock.advance(601)
    await refused(tokens, sign())
    assert publisher.asked == 1, "nothing is fetched any more"


async def test_the_log_shows_no_secret_of_the_address(
    publisher: Publisher, clock: FakeClock, tasks: Tasks, caplog: pytest.LogCaptureFixture
) -> None:
    jwks = Jwks(publisher.url.replace("//", "//name:pass@") + "?key=private", "RS256", clock, tasks)
    await jwks.look_again("x")
    assert publisher.url in caplog.text
    assert not any(word in caplog.text for word in ("name", "pass", "private"))


@pytest.mark.parametrize(
    ("url", "algorithm"),
    [
        ("http://id.example.com/keys", "RS256"),
        ("http://127.0.0.1.example.com/keys", "RS256"),
        ("file:///etc/passwd", "RS256"),
        ("https://", "RS256"),
        ("https://id.example.com/keys", "HS256"),
        ("https://id.example.com/keys", "none"),
    ],
)
async def test_where_keys_may_not_come_from(url: str, algorithm: str, clock: FakeClock, tasks: Tasks) -> None:
    with pytest.raises(ValueError, match=r"https://|goes with"):
        Jwks(url, algorithm, clock, tasks)
