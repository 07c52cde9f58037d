"""The edge of a hub that is given another config: each option counts from then on, and nobody is dropped for it."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from hubd.config import Auth, Config, JwtKey
from hubd.core.errors import BAD_TOKEN
from hubd.edge.keys import new_key
from hubd.edge.tokens import TokenRefused, Tokens
from hubd.tasks import Tasks
from hubd.testing import FakeClock
from tests.edge.conftest import StartHub
from tests.edge.live_hub import LISTED_ORIGIN, SECRET, LiveHub, config_of, eventually
from tests.edge.test_jwks import RSA_NEXT, Publisher, jwk, publisher, sign
from tests.edge.ws_client import JSON, Refused

__all__ = ["publisher"]  # a fixture
OTHER = "o" * 64
NEW_ORIGIN = "https://new.example.com"


def apply(hub: LiveHub, **sections: dict[str, Any]) -> None:
    hub.edge.apply(config_of(**sections))


def keys(secret: str) -> list[dict[str, str]]:
    return [{"algorithm": "HS256", "key": secret}]


# Who may come in


async def test_keys_of_tokens(hub: LiveHub) -> None:
    there, _ = await hub.welcomed()
    apply(hub, auth={"jwt": keys(OTHER)})
    old = await hub.connect("43")
    assert await old.closed() == 4500
    new = await hub.open(headers={"Authorization": f"Bearer {hub.token(secret=OTHER)}"}, subprotocol=JSON)
    assert (await new.next())["hub"] == "welcome"
    assert (await there.ask("ping"))["ok"]  # it stays until its token ends
    apply(hub, auth={"jwt": []})
    assert await (await hub.connect("44")).closed() == 4500


async def test_revocations_stay(hub: LiveHub) -> None:
    token = hub.token(iat=hub.clock.now() - 10)
    hub.edge.tokens.revoke("42")
    apply(hub, limits={"ping_s": 3})
    with pytest.raises(TokenRefused, match="revoked"):
        await hub.edge.tokens.verify(token)


async def test_default_topics_count_for_a_token_that_was_seen_before(hub: LiveHub) -> None:
    token = hub.token()
    assert not (await hub.edge.tokens.verify(token)).topics.match("news")
    apply(hub, auth={"default_topics": ["news"]})
    assert (await hub.edge.tokens.verify(token)).topics.match("news")


async def test_query_token(hub: LiveHub) -> None:
    refused = await hub.open(query={"token": hub.token()})
    assert await refused.closed() == 4500
    apply(hub, auth={"query_token": True})
    client = await hub.open(query={"token": hub.token()}, subprotocol=JSON)
    assert (await client.next())["hub"] == "welcome"


async def test_api_keys(hub: LiveHub) -> None:
    key, digest = new_key("fresh")
    headers = {"Authorization": f"Bearer {key}"}
    body = {"to": "news", "notification": {"type": "alert"}}
    assert (await hub.call("POST", "/api/notifications", body, key=None, headers=headers)).status == 401
    apply(hub, auth={"api_keys": [{"id": "fresh", "sha256": digest}]})
    assert (await hub.call("POST", "/api/notifications", body, key=None, headers=headers)).status == 202
    assert (await hub.call("POST", "/api/notifications", body, key="backend")).status == 401


async def test_dev_modes_key_stays(start_hub: StartHub) -> None:
    hub = await start_hub(dev=True)
    hub.edge._keys._always = tuple(config_of().auth.api_keys[:1])
    apply(hub, auth={"api_keys": []})
    assert (await hub.try_publish()).status == 202


async def test_origins_and_the_hubs_own(hub: LiveHub) -> None:
    for origin in (NEW_ORIGIN, "https://own.example.com"):
        with pytest.raises(Refused):
            await hub.open(headers={"Origin": origin})
    apply(hub, auth={"origins": [NEW_ORIGIN]}, server={"public_url": "https://own.example.com"})
    for origin in (NEW_ORIGIN, "https://own.example.com"):
        answer = await hub.call("GET", "/health/live", headers={"Origin": origin})
        assert answer.headers["Access-Control-Allow-Origin"] == origin
    answer = await hub.call("GET", "/health/live", headers={"Origin": LISTED_ORIGIN})
    assert answer.status == 403


async def test_trusted_proxies(hub: LiveHub) -> None:
    apply(hub, server={"trusted_proxies": ["127.0.0.1"]})
    await hub.open(headers={"X-Forwarded-For": "203.0.113.7"})
    await eventually(lambda: hub.edge.endpoint.addresses.of("203.0.113.7") == 1)


# Limits


async def test_body_bytes(hub: LiveHub) -> None:
    body = {"to": "news", "notification": {"type": "alert", "text": "x" * 500}}
    assert (await hub.call("POST", "/api/notifications", body)).status == 202
    apply(hub, limits={"body_bytes": 100})
    assert (await hub.call("POST", "/api/notifications", body)).status == 413
    apply(hub, limits={"body_bytes": 1000})
    assert (await hub.call("POST", "/api/notifications", body)).status == 202


async def test_json_depth_and_keys_of_actions(hub: LiveHub) -> None:
    client, _ = await hub.welcomed()
    apply(hub, limits={"json_keys": 5})
    client.send_value({"action": "ping", "ref": "r", "a": 1, "b": 2, "c": 3, "d": 4})
    assert "keys" in (await client.next())["error"]["message"]


async def test_frames_per_s_counts_for_who_is_there(hub: LiveHub) -> None:
    client, _ = await hub.welcomed()
    apply(hub, limits={"frames_per_s": 5})
    for _ in range(20):
        client.send(action="ping")
    assert await client.closed() == 4029


async def test_frame_bytes(hub: LiveHub) -> None:
    for user in ("42", "43"):
        client, _ = await hub.welcomed(user)
        client.send(action="ping", ref="x" * 100)
        assert (await client.next())["hub"] == "reply"
        apply(hub, limits={"frame_bytes": 64})
        client.send(action="ping", ref="x" * 100)
        assert await client.closed() == 1009
        apply(hub)


async def test_per_ip_and_unauthenticated(hub: LiveHub) -> None:
    await hub.welcomed()
    apply(hub, limits={"per_ip": 1})
    with pytest.raises(Refused) as refused:
        await hub.connect("43")
    assert refused.value.status == 429
    apply(hub, limits={"unauthenticated": 1})
    await hub.open()
    with pytest.raises(Refused) as refused:
        await hub.open()
    assert refused.value.status == 503


async def test_auth_s(hub: LiveHub) -> None:
    stranger = await hub.open()
    hub.let_pass(3)
    assert hub.edge.endpoint.unauthenticated
    apply(hub, limits={"auth_s": 2})
    hub.let_pass(0)
    assert await stranger.closed() == 4501


async def test_ping_s_and_pong_s(hub: LiveHub) -> None:
    client, _ = await hub.welcomed()
    apply(hub, limits={"ping_s": 2, "pong_s": 1})
    hub.let_pass(2)
    assert (await client.next())["hub"] == "ping"
    hub.let_pass(2)
    assert await client.closed() == 4009


async def test_publish_per_s(hub: LiveHub) -> None:
    for _ in range(5):
        await hub.publish()
    apply(hub, limits={"publish_per_s": 1})
    assert [(await hub.try_publish()).status for _ in range(2)] == [202, 429]
    apply(hub, limits={"publish_per_s": 0})
    await hub.publish()


async def test_attention(hub: LiveHub) -> None:
    client, _ = await hub.welcomed()
    await client.ask("visibility", state="visible")
    apply(hub, delivery={"attention_ttl_s": 5})
    hub.let_pass(6)
    assert hub.edges[-1][2].value == "connected"


# Published keys


@pytest.fixture
async def tasks() -> AsyncIterator[Tasks]:
    tasks = Tasks()
    yield tasks
    await tasks.close()


def published(url: str, **more: str) -> Auth:
    return Auth(jwt=(JwtKey.model_validate({"algorithm": "RS256", "jwks_url": url, **more}),))


async def test_published_keys_that_are_still_wanted_stay(publisher: Publisher, tasks: Tasks) -> None:
    publisher.publish(jwk(RSA_NEXT))
    tokens = Tokens(published(publisher.url), FakeClock(), tasks)
    token = sign(RSA_NEXT)
    await tokens.verify(token)
    publisher.answer = lambda: (_ for _ in ()).throw(RuntimeError)  # the issuer is down when the reload comes
    tokens.apply(published(publisher.url, audience=""))
    assert (await tokens.verify(token)).user == "42"
    assert publisher.asked == 1
    tokens.apply(published(publisher.url, audience="hubd"))
    with pytest.raises(TokenRefused, match="meant for somebody else"):
        await tokens.verify(token)


@pytest.mark.parametrize("url", ["the same", ""])
async def test_what_a_check_proves_that_began_before_isnt_remembered(
    publisher: Publisher, tasks: Tasks, url: str
) -> None:
    publisher.publish(jwk(RSA_NEXT))
    publisher.gate.clear()
    tokens = Tokens(published(publisher.url), FakeClock(), tasks)
    token = sign(RSA_NEXT)
    checking = asyncio.ensure_future(tokens.verify(token))
    await eventually(lambda: publisher.asked == 1)
    other = JwtKey.model_validate({"algorithm": "HS256", "key": SECRET})
    tokens.apply(published(publisher.url, audience="hubd") if url else Auth(jwt=(other,)))
    publisher.gate.set()
    await asyncio.wait({checking})
    assert (checking.exception() is None) is bool(url)
    with pytest.raises(TokenRefused) as refused:
        await tokens.verify(token)
    assert refused.value.disconnect is BAD_TOKEN


async def test_a_config_that_cant_be_built_changes_nothing_of_the_tokens(hub: LiveHub) -> None:
    bad = Config.model_construct(auth=Auth.model_construct(default_topics=("a::b",), jwt=(), api_keys=(), origins=()))
    with pytest.raises(Exception, match="pattern|segment|channel"):
        hub.edge.apply(bad)
    assert (await hub.edge.tokens.verify(hub.token())).user == "42"
