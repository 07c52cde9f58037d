"""Acks by HTTP: for who has an event stream, polls, or no connection at all (a service worker)."""

from typing import Any

import pytest

from tests.edge.conftest import StartHub
from tests.edge.http_clients import poller, stream
from tests.edge.live_hub import LISTED_ORIGIN, OWN_ORIGIN, Answer, LiveHub
from tests.edge.ws_client import JSON, Client


async def ack(hub: LiveHub, body: Any, user: str = "42", **options: Any) -> Answer:
    return await hub.call("POST", "/api/acks", body, token=hub.token(user), **options)


async def read_by(client: Client) -> list[list[str]]:
    return [one["ids"] for one in await client.messages() if one.get("hub") == "read"]


async def acks_of(hub: LiveHub, user: str = "42") -> list[tuple[str, list[str]]]:
    connections = (await hub.call("GET", f"/api/users/{user}")).body["connections"]
    return [(one["transport"], one["acks"]) for one in connections]


async def test_the_answer(hub: LiveHub) -> None:
    await hub.publish("user:42", id="n1")
    answer = await ack(hub, {"ids": ["n1"]})
    assert (answer.status, answer.body) == (200, {"ok": True})


async def test_without_any_connection_the_others_are_told(hub: LiveHub) -> None:
    socket, plain, other = await hub.opened(JSON), await hub.opened(None), await hub.opened(JSON, "7")
    for id in ("n1", "n2", "n3"):
        await hub.publish("notifications", id=id)
    await ack(hub, {"ids": ["n1", "n3"]})
    assert await read_by(socket) == [["n1", "n3"]]
    assert await read_by(plain) == [] and await read_by(other) == []
    assert await acks_of(hub) == [("websocket", []), ("websocket", [])]


async def test_of_a_user_who_has_none_and_never_had(hub: LiveHub) -> None:
    await hub.publish("notifications", id="n1")
    assert (await ack(hub, {"ids": ["n1"]}, "new")).status == 200
    assert (await hub.call("GET", "/api/users/new")).body["presence"] == "away"


async def test_by_the_stream_that_brought_it(hub: LiveHub) -> None:
    one, other, socket = await stream(hub), await stream(hub), await hub.opened(JSON)
    await hub.publish("user:42", id="n1")
    await ack(hub, {"ids": ["n1"], "connection": one.welcome["connection"]})
    assert [event.data for event in await one.until(hub) if event.kind == "hub"] == []
    assert [event.data for event in await other.until(hub) if event.kind == "hub"] == [{"hub": "read", "ids": ["n1"]}]
    assert await read_by(socket) == [["n1"]]
    assert await acks_of(hub) == [("sse", ["n1"]), ("sse", []), ("websocket", [])]


async def test_without_naming_it_it_is_the_users_streams_and_polls(hub: LiveHub) -> None:
    one, socket, client = await stream(hub), await hub.opened(JSON), await poller(hub)
    await client.ask_and_wait(hub.hub.attendance.cursor(), topics="t")
    await hub.publish("user:42", id="n1")
    await client.got()
    await ack(hub, {"ids": ["n1"]})
    assert await read_by(socket) == [["n1"]]
    assert [event.data for event in await one.until(hub) if event.kind == "hub"] == []
    assert await acks_of(hub) == [("sse", ["n1"]), ("websocket", [])]


async def test_what_isnt_his_or_isnt_known_is_passed_over(hub: LiveHub) -> None:
    socket = await hub.opened(JSON)
    await hub.publish("user:7", id="not-his")
    await hub.publish("user:42", id="his")
    answer = await ack(hub, {"ids": ["unknown", "not-his", "his", "his", "x" * 256]})
    assert (answer.status, answer.body) == (200, {"ok": True})
    assert await read_by(socket) == [["his"]]


async def test_again_it_isnt_told_again(hub: LiveHub) -> None:
    socket = await hub.opened(JSON)
    await hub.publish("user:42", id="n1")
    for _ in range(3):
        assert (await ack(hub, {"ids": ["n1"]})).status == 200
    await socket.ask("ack", id="n1")
    assert await read_by(socket) == [["n1"]]


async def test_as_many_as_an_action_may_name(hub: LiveHub) -> None:
    assert (await ack(hub, {"ids": [f"n{n}" for n in range(1000)]})).status == 200
    assert (await ack(hub, {"ids": [f"n{n}" for n in range(1001)]})).paths == ["ids"]
    assert (await ack(hub, {"ids": []})).status == 200


@pytest.mark.parametrize("connection", ["nonsense", "0" * 24])
async def test_a_connection_that_there_isnt(hub: LiveHub, connection: str) -> None:
    answer = await ack(hub, {"ids": ["n1"], "connection": connection})
    assert (answer.status, answer.code) == (404, "not_found")


async def test_another_users_connection(hub: LiveHub) -> None:
    client, watcher = await stream(hub, "7"), await hub.opened(JSON)
    await hub.publish("notifications", id="n1")
    answer = await ack(hub, {"ids": ["n1"], "connection": client.welcome["connection"]})
    assert (answer.status, answer.code) == (404, "not_found")
    assert await read_by(watcher) == [] and await acks_of(hub, "7") == [("sse", [])]


async def test_everything_wrong_is_said_at_once(hub: LiveHub) -> None:
    answer = await ack(hub, {"ids": ["", 7, "x" * 257], "connection": 1, "id": "n1"})
    assert sorted(answer.paths) == ["connection", "id", "ids.0", "ids.1", "ids.2"]


@pytest.mark.parametrize(
    ("body", "paths"),
    [
        ({}, ["ids"]),
        ({"ids": "n1"}, ["ids"]),
        ({"ids": None}, ["ids"]),
        ({"ids": [["n1"]]}, ["ids.0"]),
        ([], [""]),
        ("n1", [""]),
        (None, None),
    ],
)
async def test_wrong_bodies(hub: LiveHub, body: Any, paths: list[str] | None) -> None:
    answer = await ack(hub, body)
    if paths is None:
        assert (answer.status, answer.code) == (400, "invalid_body")
    else:
        assert answer.paths == paths


async def test_broken_bodies(hub: LiveHub) -> None:
    for data, status in ((b"{", 400), (b'{"ids":["a"],"ids":["b"]}', 422), (b'{"ids":[NaN]}', 422), (b"\xff", 400)):
        answer = await hub.call("POST", "/api/acks", data=data, token=hub.token())
        assert answer.status == status, data


@pytest.mark.parametrize("path", ["/api/acks", "/api/visibility", "/api/tickets"])
async def test_who_may(hub: LiveHub, path: str) -> None:
    body = {"ids": []} if path == "/api/acks" else None
    cookie = {"Cookie": f"hubd_token={hub.token()}"}

    async def refused(**options: Any) -> tuple[int, str]:
        answer = await hub.call("POST", path, body, **options)
        return answer.status, answer.code

    assert await refused(key=None) == (401, "unauthorized")
    assert await refused(key="backend") == (403, "forbidden")
    assert await refused(token=hub.token(exp=hub.clock.now() - 10)) == (401, "unauthorized")
    assert await refused(key=None, headers=cookie) == (403, "forbidden")
    assert await refused(key=None, headers=cookie | {"Sec-Fetch-Site": "same-origin"}) == (403, "forbidden")
    assert await refused(key=None, headers=cookie | {"Origin": "https://evil.example"}) == (403, "forbidden")
    assert await refused(token=hub.token(), headers={"Origin": "null"}) == (403, "forbidden")
    for origin in (LISTED_ORIGIN, OWN_ORIGIN):
        answer = await hub.call("POST", path, body, key=None, headers=cookie | {"Origin": origin})
        assert answer.status not in (401, 403)
        assert answer.headers["Access-Control-Allow-Origin"] == origin
        assert answer.headers["Access-Control-Allow-Credentials"] == "true"


@pytest.mark.parametrize("path", ["/api/acks", "/api/visibility", "/api/tickets"])
async def test_a_pages_preflight(hub: LiveHub, path: str) -> None:
    asked = {"Origin": LISTED_ORIGIN, "Access-Control-Request-Method": "POST"}
    answer = await hub.call("OPTIONS", path, key=None, headers=asked)
    assert answer.status == 204
    assert "POST" in answer.headers["Access-Control-Allow-Methods"]
    assert "authorization" in answer.headers["Access-Control-Allow-Headers"].lower()


async def test_in_dev_mode(start_hub: StartHub) -> None:
    hub = await start_hub(dev=True)
    client = await hub.open(subprotocol=JSON, query={"user": "7"})
    assert (await client.next())["hub"] == "welcome"
    answer = await hub.call("POST", "/api/acks?user=7", {"ids": ["n1"]}, key=None)
    assert answer.status == 200
