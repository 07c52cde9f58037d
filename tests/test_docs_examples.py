"""The examples in docs/protocol.md are sent to a real hub, and what comes back has the shape that they show."""

import json
import re
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.docs import HttpMessage, blocks, conversation, headings, http_blocks, section
from tests.edge.live_hub import LiveHub, config_of, no_faults
from tests.edge.ws_client import Client

TOPIC = "team:engineering"
SAME = ("hub", "ok", "code", "status", "type", "priority", "channel", "kind", "presence", "made_by", "duplicate")
"""What has to be exactly as in the example; of other fields the type has to be that of the example."""


def difference(example: Any, real: Any, path: str = "") -> str:
    """Where two values have another shape; empty where they haven't. null and [] stand for anything of their kind."""
    if isinstance(example, dict) and isinstance(real, dict):
        if set(example) != set(real):
            return f"{path}: {sorted(example)} is {sorted(real)} in fact"
        found = (difference(example[name], real[name], f"{path}.{name}") for name in example)
        fixed = (f"{path}.{name}: {real[name]!r}" for name in SAME if name in real and example[name] != real[name])
        return next(filter(None, found), "") or next(fixed, "")
    if isinstance(example, list) and isinstance(real, list):
        found = (difference(one, other, f"{path}[]") for one, other in zip(example, real, strict=False))
        return next(filter(None, found), "")
    if example is None or real is None:
        return ""
    return "" if _kind(example) == _kind(real) else f"{path}: {example!r} is {real!r} in fact"


def _kind(value: Any) -> type:
    return float if isinstance(value, int) and not isinstance(value, bool) else type(value)


@pytest.mark.parametrize(
    ("example", "real", "finds"),
    [
        ({"a": 1, "b": [{"c": "x"}]}, {"a": 2.5, "b": [{"c": "y"}, {"c": "z"}]}, False),
        ({"a": 1}, {"a": 1, "b": 1}, True),
        ({"a": [{"b": 1}]}, {"a": [{"b": "1"}]}, True),
        ({"code": "invalid"}, {"code": "forbidden"}, True),
        ({"a": True}, {"a": 1}, True),
    ],
)
def test_a_difference_is_found(example: Any, real: Any, finds: bool) -> None:
    assert bool(difference(example, real)) is finds


@pytest.fixture
async def hub() -> AsyncIterator[LiveHub]:
    for _ in no_faults():
        live = await LiveHub(config_of()).start()
        yield live
        await live.stop()


async def connected(hub: LiveHub) -> Client:
    """User 42, who is in the topic of the examples."""
    client = await hub.connect("42", topics=TOPIC)
    await client.next()
    return client


# Actions

TALKS = [
    (title, talk)
    for title in headings(section("Actions"), 3)
    for talk in conversation(section(title, section("Actions")))
]
TALKS += [("in general", talk) for talk in conversation(section("Actions").partition("\n### ")[0])]


def test_every_action_has_an_example() -> None:
    assert [title for title, talk in TALKS if talk.says[0]["action"] not in title] == ["in general"] * 2


@pytest.mark.parametrize(("title", "talk"), TALKS, ids=[f"{title} {place}" for place, (title, _) in enumerate(TALKS)])
async def test_a_conversation(hub: LiveHub, title: str, talk: Any) -> None:
    client = await connected(hub)
    cursor = (await hub.publish("nobody:here"))["cursor"]
    real = {"token": hub.token("42", topics=["**"]), "cursor": cursor}
    for message in talk.says:
        client.send_value({name: real.get(name, value) for name, value in message.items()})
    for example in talk.hears:
        while "hub" not in (heard := await client.next()):
            assert title == "`publish`"
        assert difference(example, heard) == ""
        assert example.get("ref") == heard.get("ref")
    assert not [frame for frame in await client.messages() if "hub" in frame]


# Control frames


async def real_frames(hub: LiveHub) -> dict[str, list[dict[str, Any]]]:
    """Every control frame that there is, from a hub that is given reason to send it."""
    cursor = (await hub.publish("user:42", id="order-1234-shipped"))["cursor"]
    first = await hub.connect("42", topics=TOPIC, cursor="of-another-hub", claims={"exp": hub.clock.now() + 1000})
    second = await hub.connect("42", cursor=cursor)
    first.send(action="presence", topic=TOPIC, watch=True, ref=1)
    first.send(action="subscribe", topic="user:7", ref=2)
    first.send(action="ping", ref=3)
    first.send(action="dance")
    got = await first.messages()
    second.send(action="ack", id="order-1234-shipped")
    await second.messages()
    third = await hub.connect("7", topics=TOPIC)
    await third.messages()
    await hub.call("DELETE", "/api/notifications/order-1234-shipped")
    hub.let_pass(hub.hub.config.limits.ping_s)
    got += await first.messages()
    hub.let_pass(1000 - 50 - hub.hub.config.limits.ping_s)
    got += await first.messages()
    await hub.call("POST", "/api/users/42/revoke")
    assert await first.closed() == 4507
    found: dict[str, list[dict[str, Any]]] = {}
    for frame in [*got, *first.frames]:
        found.setdefault(frame.get("hub", ""), []).append(frame)
    return found


async def test_control_frames(hub: LiveHub) -> None:
    heard = await real_frames(hub)
    frames = section("Control frames")
    wrong = {}
    for title in headings(frames, 3):
        word = title.strip("`")
        for block in blocks("json", section(title, frames)):
            example = json.loads(block)
            differences = [difference(_loose(example), _loose(real)) for real in heard.get(word, [])]
            if "" not in differences:
                wrong[block] = differences
    assert wrong == {}


def _loose(frame: dict[str, Any]) -> dict[str, Any]:
    """Without the codes, which are many; what hangs on them may be there or not."""
    error = {name: value for name, value in frame.get("error", {}).items() if name == "message"}
    kept = {name: value for name, value in frame.items() if name not in ("code", "channel", "errors", "error")}
    return kept | ({"error": error} if error else {})


# HTTP

MESSAGES = http_blocks(section("HTTP API")) + http_blocks(section("Problems"))
PAIRS = list(zip(MESSAGES[::2], MESSAGES[1::2], strict=True))


def test_every_call_has_an_example() -> None:
    listed = [line.split("`")[1] for line in section("HTTP API").splitlines() if line.startswith("| [`")]
    shown = [request.first.partition("?")[0] for request, _ in PAIRS]
    without = [
        call
        for call in listed
        if not any(re.fullmatch(re.sub(r"\\{\w+\\}", "[^/]+", re.escape(call)), first) for first in shown)
    ]
    assert without == ["GET /health/live", "GET /metrics"]  # like the next one; no JSON


async def test_the_http_examples_one_after_the_other(hub: LiveHub) -> None:
    client = await connected(hub)
    for request, answer in PAIRS:
        real = await _sent(hub, request)
        expected = int(answer.first.split()[0])
        assert real.status == expected, (request.first, real)
        assert difference(answer.body, real.body or None) == "", request.first
        problem = expected >= 400
        assert real.headers.get("Content-Type", "").startswith("application/problem+json") is problem
        if problem:
            assert real.body["errors"] == answer.body["errors"]
            assert real.body["detail"] == answer.body["detail"]
        if "revoke" not in request.first and not client.reader.at_eof():
            client.send(action="visibility", state="visible")
    assert await client.closed() == 4507


async def _sent(hub: LiveHub, request: HttpMessage) -> Any:
    method, path = request.first.split()
    proof = request.headers.get("Authorization", "")
    assert proof in ("", "Bearer hub_backend_9f0c…", "Bearer eyJ…")
    token = hub.token("42", topics=["**"]) if "eyJ" in proof else None
    body = request.body
    if isinstance(body, dict) and "connection" in body:
        body = body | {"connection": hub.hub.registry.connections_of("42")[0].id}
    return await hub.call(method, path, body, key="backend" if "hub_" in proof else None, token=token)


async def test_the_notification_on_the_wire(hub: LiveHub) -> None:
    (example,) = blocks("json", section("Notifications"))
    shown = json.loads(example)
    client = await connected(hub)
    payload = {name: shown[name] for name in ("type", "title", "body", "url")}
    await hub.publish("user:42", notification=payload, id=shown["id"])
    real = await client.next()
    assert difference(shown, real) == ""
    assert {name: real[name] for name in ("id", *payload)} == {"id": shown["id"], **payload}


# What the page promises besides


async def test_what_a_replay_brought_was_sent_to_him(hub: LiveHub) -> None:
    cursor = (await hub.publish("nobody:here"))["cursor"]
    await hub.publish(TOPIC, id="while-away")
    tab = await hub.connect("42")
    back = await hub.connect("42", topics=TOPIC, cursor=cursor)
    assert [n["id"] for n in await back.notifications()] == ["while-away"]
    await tab.messages()
    token = hub.token("42")
    assert (await hub.call("GET", "/api/notifications/while-away", token=token)).status == 200
    assert (await hub.call("GET", "/api/notifications/while-away", token=hub.token("7"))).code == "not_found"
    await back.ask("ack", id="while-away")
    assert await tab.messages() == [{"hub": "read", "ids": ["while-away"]}]


async def test_an_empty_cursor_counts_as_none(hub: LiveHub) -> None:
    await hub.publish(TOPIC)
    client, welcome = await hub.welcomed("42", query={"cursor": "", "topics": "news"})
    assert "recovered" not in welcome
    assert set(await client.ask("subscribe", topic=TOPIC, cursor="")) == {
        *("hub", "ref", "ok", "topics", "replayed", "cursor")
    }
    assert client.frames == []


async def test_a_durable_topic_that_was_left_stays_left_on_that_connection(hub: LiveHub) -> None:
    client = await connected(hub)
    await client.ask("subscribe", topic="news", durable=True)
    await client.ask("unsubscribe", topic="news")
    assert (await hub.call("PUT", "/api/users/42/subscriptions/offers")).status == 201
    await hub.publish("news", n=1)
    await hub.publish("offers", n=2)
    assert [n["n"] for n in await client.notifications()] == [2]
    _, welcome = await hub.welcomed("42")
    assert sorted(welcome["topics"]) == ["news", "offers"]


async def test_ones_own_publications_come_back_before_the_reply(hub: LiveHub) -> None:
    client = await connected(hub)
    reply = await client.ask("publish", to=TOPIC, notification={"type": "feed"}, id="mine")
    assert [(n["id"], n["from"], n["cursor"]) for n in client.frames] == [("mine", "42", reply["cursor"])]


async def test_a_plain_connection_that_watches_is_told(hub: LiveHub) -> None:
    plain = await hub.connect("42", subprotocol=None)
    plain.send(action="presence", topic=TOPIC, watch=True)
    assert await plain.messages() == []
    await connected(hub)
    third = await hub.connect("7", topics=TOPIC)
    await third.messages()
    hub.let_pass(1)
    assert await plain.messages() == [{"hub": "presence", "topic": TOPIC, "joined": ["7"], "left": []}]
