"""How a WebSocket opens: the handshake, the subprotocols, the query, the proofs, and the welcome."""

import asyncio
import json
import re
from collections.abc import Callable
from typing import Any

import aiohttp
import jwt
import msgpack
import pytest

from tests.edge.conftest import StartHub
from tests.edge.live_hub import HOST, OWN_ORIGIN, SECRET, LiveHub
from tests.edge.ws_client import JSON, MSGPACK, Refused

CURSOR = re.compile(r"[A-Za-z0-9._~-]{1,64}")


@pytest.mark.parametrize(
    ("offered", "chosen"),
    [
        (None, None),
        (JSON, JSON),
        (MSGPACK, MSGPACK),
        (f"{MSGPACK}, {JSON}", MSGPACK),
        (f"{JSON},{MSGPACK}", JSON),
        (f"graphql-ws, {JSON}", JSON),
        ("graphql-ws", None),
        ("HUBD.V1.JSON", None),
        ("hubd.v2.json", None),
    ],
)
async def test_the_subprotocol_is_the_first_offered_one_that_is_known(
    hub: LiveHub, offered: str | None, chosen: str | None
) -> None:
    client = await hub.connect("42", offered)
    assert client.subprotocol == chosen
    assert ("sec-websocket-protocol" in client.headers) is (chosen is not None)
    assert "sec-websocket-extensions" not in client.headers
    messages = await client.messages()
    assert [message["hub"] for message in messages] == (["welcome"] if chosen else [])


async def test_the_subprotocols_may_stand_on_several_lines(hub: LiveHub) -> None:
    for first, chosen in (("graphql-ws", JSON), (MSGPACK, MSGPACK)):
        client = await hub.connect("42", f"{first}\r\nSec-WebSocket-Protocol: other, {JSON}")
        assert client.subprotocol == chosen


@pytest.mark.parametrize("subprotocol", [JSON, MSGPACK])
async def test_the_welcome(hub: LiveHub, subprotocol: str) -> None:
    client = await hub.connect("a.b@c", subprotocol, topics="team:a")
    welcome = await client.next()
    connection, cursor = welcome.pop("connection"), welcome.pop("cursor")
    assert welcome == {
        "hub": "welcome",
        "user": "a.b@c",
        "topics": ["team:a"],
        "ping_s": 25,
        "attention_s": 1800,
    }
    assert CURSOR.fullmatch(cursor)
    assert isinstance(connection, str) and len(connection) >= 16
    again = await (await hub.connect("a.b@c", subprotocol)).next()
    assert again["connection"] != connection


@pytest.mark.parametrize(
    ("asked", "granted"),
    [
        ("team:a,news:b", ["team:a"]),
        ("team:a,team:a,,team:b,", ["team:a", "team:b"]),
        ("team:a b,team:c,**,hub:x", ["team:c"]),
        ("notifications,user:42,user:7,team:d", ["team:d"]),
        ("secret:x", []),
        ("", []),
    ],
)
async def test_of_the_topics_asked_for_those_granted_are_told(hub: LiveHub, asked: str, granted: list[str]) -> None:
    client, welcome = await hub.welcomed("42", topics=asked, claims={"topics": ["team:*"]})
    assert welcome["topics"] == granted
    for topic in ("team:a", "team:b", "team:c", "team:d", "secret:x", "user:7"):
        await hub.publish(topic, n=1)
    assert [one["channel"] for one in await client.notifications()] == [
        name for name in ("team:a", "team:b", "team:c", "team:d") if name in granted
    ]


async def test_what_is_published_after_the_101_has_been_seen_arrives(hub: LiveHub) -> None:
    for n in range(20):
        client = await hub.connect("42", None, topics="team:a")
        await hub.publish(["notifications", "user:42", "team:a"][n % 3], n=n)
        assert [one["n"] for one in await client.notifications()] == [n]
        client.hang_up()


BAD_HANDSHAKES: list[tuple[dict[str, str], int]] = [
    ({"Sec-WebSocket-Key": ""}, 400),
    ({"Sec-WebSocket-Key": "short"}, 400),
    ({"Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAAA="}, 400),
    ({"Connection": "keep-alive"}, 400),
    ({"Sec-WebSocket-Version": "8"}, 426),
    ({"Sec-WebSocket-Version": ""}, 426),
]


@pytest.mark.parametrize(("headers", "status"), BAD_HANDSHAKES)
async def test_a_bad_handshake_is_refused(hub: LiveHub, headers: dict[str, str], status: int) -> None:
    headers = headers | {"Authorization": f"Bearer {hub.token()}"}
    with pytest.raises(Refused) as refused:
        await hub.open(headers=headers)
    assert refused.value.status == status
    assert refused.value.headers["content-type"].startswith("application/problem+json")
    if status == 426:
        assert refused.value.headers["sec-websocket-version"] == "13"
    assert hub.is_empty()


async def test_header_names_and_words_are_read_in_any_case(hub: LiveHub) -> None:
    headers = {
        "Upgrade": "",
        "uPgRaDe": "WebSocket",
        "Connection": "keep-alive, UPGRADE",
        "Authorization": "",
        "authorization": f"bearer {hub.token()}",
    }
    client = await hub.open(headers=headers, subprotocol=JSON)
    assert (await client.next())["hub"] == "welcome"


# Proofs


@pytest.mark.parametrize("on", [False, True])
async def test_a_token_in_the_address_only_where_that_is_on(start_hub: StartHub, on: bool) -> None:
    hub = await start_hub(auth={"query_token": on})
    client = await hub.open(query={"token": hub.token("7")}, subprotocol=JSON)
    if on:
        assert (await client.next())["user"] == "7"
    else:
        assert await client.closed() == 4500


def now(hub: LiveHub) -> float:
    return hub.clock.now()


UNSIGNED = jwt.encode({"sub": "42", "exp": 2_000_000_000}, None, "none")
BAD_TOKENS: list[tuple[str, Callable[[LiveHub], str], int]] = [
    ("nonsense", lambda hub: "nonsense", 4500),
    ("another secret", lambda hub: hub.token(secret="t" * 64), 4500),
    ("cut", lambda hub: hub.token()[:-4], 4500),
    ("unsigned", lambda hub: UNSIGNED, 4500),
    ("no exp", lambda hub: hub.token(exp=None), 4500),
    ("no sub", lambda hub: hub.token(sub=None), 4500),
    ("sub no user id", lambda hub: hub.token("a:b"), 4500),
    ("sub a number", lambda hub: jwt.encode({"sub": 42, "exp": now(hub) + 60}, SECRET, "HS256"), 4500),
    ("not yet", lambda hub: hub.token(nbf=now(hub) + 60), 4500),
    ("issued in the future", lambda hub: hub.token(iat=now(hub) + 60), 4500),
    ("topics no list", lambda hub: hub.token(topics="**"), 4500),
    ("max_priority unknown", lambda hub: hub.token(max_priority="high"), 4500),
    ("an API key", lambda hub: hub.bearer("backend").removeprefix("Bearer "), 4500),
    ("expired", lambda hub: hub.token(exp=now(hub) - 6), 4001),
    ("long expired", lambda hub: hub.token(exp=1), 4001),
]
REASONS = {4500: "bad_token", 4001: "expired"}


@pytest.mark.parametrize(("make", "code"), [pytest.param(make, code, id=name) for name, make, code in BAD_TOKENS])
@pytest.mark.parametrize("way", ["header", "cookie", "query"])
async def test_a_bad_token_completes_the_handshake_and_then_closes(
    start_hub: StartHub, way: str, make: Callable[[LiveHub], str], code: int
) -> None:
    hub = await start_hub(auth={"query_token": True})
    token = make(hub)
    headers, query = {}, {}
    if way == "header":
        headers = {"Authorization": f"Bearer {token}"}
    elif way == "cookie":
        headers = {"Cookie": f"hubd_token={token}", "Origin": OWN_ORIGIN}
    else:
        query = {"token": token}
    for subprotocol in (JSON, None):
        client = await hub.open(headers=headers, query=query, subprotocol=subprotocol)
        assert await client.closed() == code
        assert client.close_reason == REASONS[code]
        told = {"hub": "disconnect", "code": code, "reason": REASONS[code], "reconnect": code == 4001}
        assert [frame | {"retry_after_s": 0} for frame in client.frames] == (
            [told | {"retry_after_s": 0}] if subprotocol else []
        )


@pytest.mark.parametrize("header", ["Basic aHViOmh1Yg==", "Bearer", "Bearer a b"])
async def test_another_authorization_is_a_bad_token(hub: LiveHub, header: str) -> None:
    client = await hub.open(headers={"Authorization": header})
    assert await client.closed() == 4500


async def test_clocks_may_be_five_seconds_apart(hub: LiveHub) -> None:
    for claims in ({"exp": now(hub) - 4.9}, {"nbf": now(hub) + 4.9}, {"iat": now(hub) + 4.9}):
        await hub.welcomed(claims=claims)


@pytest.mark.parametrize("token", [BAD_TOKENS[0], BAD_TOKENS[-1]], ids=["bad", "expired"])
async def test_over_http_a_bad_token_is_a_401(hub: LiveHub, token: tuple[str, Callable[[LiveHub], str], int]) -> None:
    answer = await hub.call("GET", "/api/subscriptions", token=token[1](hub))
    assert (answer.status, answer.code) == (401, "unauthorized")


async def test_a_stopping_hub_takes_nobody_in(hub: LiveHub) -> None:
    hub.hub.stopping = True
    for headers in ({}, {"Authorization": f"Bearer {hub.token()}"}):
        with pytest.raises(Refused) as refused:
            await hub.open(headers=headers)
        assert (refused.value.status, refused.value.code) == (503, "unavailable")
        assert int(refused.value.headers["retry-after"]) >= 1


# Somebody else's client


async def session_of(hub: LiveHub, subprotocol: str | None, session: aiohttp.ClientSession) -> None:
    """The main things, by aiohttp's client."""
    pack: Any = msgpack.packb if subprotocol == MSGPACK else json.dumps
    unpack: Any = msgpack.unpackb if subprotocol == MSGPACK else json.loads
    headers = {"Authorization": f"Bearer {hub.token(topics=['**'])}"}
    protocols = [subprotocol] if subprotocol else []
    url = f"http://{HOST}:{hub.port}/notifications?topics=team:a"
    async with session.ws_connect(url, headers=headers, protocols=protocols) as socket:
        send = socket.send_bytes if subprotocol == MSGPACK else socket.send_str
        assert socket.protocol == subprotocol
        if subprotocol:
            assert unpack((await socket.receive()).data)["hub"] == "welcome"
        await hub.publish(["team:a", "user:42"], notification={"type": "alert", "title": "Ü"})
        got = unpack((await socket.receive()).data)
        assert (got["channel"], got["title"]) == ("team:a", "Ü")
        await send(pack({"action": "unsubscribe", "topic": "team:a", "ref": 1}))
        reply = unpack((await socket.receive()).data)
        assert reply == {"hub": "reply", "ref": 1, "ok": True, "topics": ["team:a"]}
        await socket.ping(b"there?")
    assert socket.close_code == 1000


@pytest.mark.parametrize("subprotocol", [None, JSON, MSGPACK])
async def test_a_client_of_another_make(hub: LiveHub, subprotocol: str | None) -> None:
    async with aiohttp.ClientSession() as session:
        await asyncio.wait_for(session_of(hub, subprotocol, session), 10)
