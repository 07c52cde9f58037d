"""Messages from a connected user as such: the `ref`, the error frames, and every way to get a message wrong."""

from typing import Any

import msgpack
import pytest

from tests.edge.live_hub import LiveHub
from tests.edge.ws_client import BINARY, JSON, MSGPACK, TEXT, done, masked

FORMS = pytest.mark.parametrize("subprotocol", [None, JSON, MSGPACK])


# ref


@FORMS
@pytest.mark.parametrize("ref", ["a", "", "ü" * 64, 0, 1, -1, 1.5, 2**53, 2**64 - 1, -(2**63)])
async def test_a_ref_is_any_string_or_number_and_comes_back(hub: LiveHub, subprotocol: str | None, ref: Any) -> None:
    client = await hub.opened(subprotocol)
    client.send(action="ping", ref=ref)
    client.send(action="nonsense", ref=ref)
    reply, refusal = await client.messages()
    assert reply == {"hub": "reply", "ref": ref, "ok": True}
    assert (refusal["ref"], refusal["ok"], refusal["error"]["code"]) == (ref, False, "unknown_action")


@FORMS
@pytest.mark.parametrize("ref", [True, [], {}, ["a"]])
async def test_what_is_no_ref(hub: LiveHub, subprotocol: str | None, ref: Any) -> None:
    client = await hub.opened(subprotocol)
    client.send(action="ping", ref=ref)
    errors = await client.messages()
    assert [(one["hub"], one["code"]) for one in errors] == ([("error", "invalid")] if subprotocol else [])


@FORMS
@pytest.mark.parametrize("message", [{"action": "ping"}, {"action": "ping", "ref": None}, {"action": "pong"}])
async def test_without_one_there_is_no_reply(hub: LiveHub, subprotocol: str | None, message: dict[str, Any]) -> None:
    client = await hub.opened(subprotocol)
    client.send_value(message)
    client.send(action="subscribe", topic="team:a")
    client.send(action="visibility", state="hidden")
    client.send(action="presence", topic="team:a")
    client.send(action="unsubscribe", topic="team:a")
    client.send(action="ack", id="x")
    assert await client.messages() == []


async def test_a_number_that_is_none_is_no_ref(hub: LiveHub) -> None:
    client = await hub.opened(JSON)
    for word in ("ping", "publish", "nonsense"):
        client.send_text(f'{{"action":"{word}","ref":1e999,"to":"a","notification":{{"type":"x"}}}}')
        assert [(one["hub"], one["code"]) for one in await client.messages()] == [("error", "invalid")], word


# What is wrong with a message


BAD_MESSAGES: list[tuple[str, Any, str, list[str]]] = [
    ("a list", [], "invalid", [""]),
    ("a string", "ping", "invalid", [""]),
    ("null", None, "invalid", [""]),
    ("nothing in it", {}, "invalid", ["action"]),
    ("action a number", {"action": 1}, "invalid", ["action"]),
    ("unknown", {"action": "login"}, "unknown_action", []),
    ("another case", {"action": "Ping"}, "unknown_action", []),
    ("a field too much", {"action": "ping", "x": 1}, "invalid", ["x"]),
    ("subscribe to nothing", {"action": "subscribe"}, "invalid", [""]),
    ("topic and topics", {"action": "subscribe", "topic": "a", "topics": ["b"]}, "invalid", [""]),
    ("topic a number", {"action": "subscribe", "topic": 1}, "invalid", ["topic"]),
    ("topic no name", {"action": "subscribe", "topic": "a b"}, "invalid", ["topic"]),
    ("topics no list", {"action": "subscribe", "topics": "a"}, "invalid", ["topics"]),
    ("topics empty", {"action": "subscribe", "topics": []}, "invalid", ["topics"]),
    ("a topic no name", {"action": "subscribe", "topics": ["a b"]}, "invalid", ["topics.0"]),
    ("topics no names", {"action": "subscribe", "topics": ["a", "a", "b c", "", "hub:x"]}, "invalid", ["topics.3"]),
    (
        "topics bad names",
        {"action": "subscribe", "topics": ["a", "a", "b c", "hub:x"]},
        "invalid",
        ["topics.2", "topics.3"],
    ),
    ("cursor a number", {"action": "subscribe", "topic": "a", "cursor": 5}, "invalid", ["cursor"]),
    ("durable a word", {"action": "subscribe", "topic": "a", "durable": "yes"}, "invalid", ["durable"]),
    ("unsubscribe from nothing", {"action": "unsubscribe"}, "invalid", [""]),
    ("unsubscribe no name", {"action": "unsubscribe", "topic": "a b"}, "invalid", ["topic"]),
    ("ack of nothing", {"action": "ack"}, "invalid", [""]),
    ("ack of both", {"action": "ack", "id": "a", "ids": ["b"]}, "invalid", [""]),
    ("ack of numbers", {"action": "ack", "ids": [1, "a", 2]}, "invalid", ["ids.0", "ids.2"]),
    ("visibility of nothing", {"action": "visibility"}, "invalid", ["state"]),
    ("visibility unknown", {"action": "visibility", "state": "prerender"}, "invalid", ["state"]),
    ("presence of nothing", {"action": "presence"}, "invalid", ["topic"]),
    ("presence of no name", {"action": "presence", "topic": "a b"}, "invalid", ["topic"]),
    ("presence watch a word", {"action": "presence", "topic": "a", "watch": "yes"}, "invalid", ["watch"]),
    ("several", {"action": "presence", "topic": 1, "watch": 1, "x": 1}, "invalid", ["topic", "watch", "x"]),
    ("auth without a token", {"action": "auth"}, "invalid", ["token"]),
    ("publish of nothing", {"action": "publish"}, "invalid", ["to", "notification"]),
    (
        "publish of much that is wrong",
        {"action": "publish", "to": "a b", "notification": {"_x": 1}, "ttl": -1, "x": 1},
        "invalid",
        ["to", "notification.type", "notification._x", "ttl", "x"],
    ),
]


@FORMS
@pytest.mark.parametrize(("message", "code", "paths"), [pytest.param(*rest, id=name) for name, *rest in BAD_MESSAGES])
async def test_a_bad_message_is_told_so_and_the_connection_stays(
    hub: LiveHub, subprotocol: str | None, message: Any, code: str, paths: list[str]
) -> None:
    client = await hub.opened(subprotocol)
    client.send_value(message)
    if subprotocol is None:
        assert await client.messages() == []
    else:
        error = await client.next()
        assert set(error) - {"errors"} == {"hub", "code", "message"}
        assert (error["hub"], error["code"]) == ("error", code)
        assert sorted(one["path"] for one in error.get("errors", [])) == sorted(paths)
    if isinstance(message, dict):
        client.send_value(message | {"ref": 1})
        reply = await client.next()
        assert (reply["hub"], reply["ref"], reply["ok"], reply["error"]["code"]) == ("reply", 1, False, code)
        assert sorted(one["path"] for one in reply["error"].get("errors", [])) == sorted(paths)
    assert done(await client.ask("ping")) == {}
    assert await client.messages() == []


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"", "invalid_body"),
        (b"{", "invalid_body"),
        (b"ping", "invalid_body"),
        (b'{"action":"ping"} x', "invalid_body"),
        (b'{"action":"ping","action":"pong"}', "invalid"),
        (b'{"action":"ping","ref":NaN}', "invalid"),
        (b'{"action":"ack","id":"\\ud800"}', "invalid"),
        (b'{"action":"ping","ref":18446744073709551616}', "invalid"),
        (b"[" * 5000, "invalid"),
    ],
)
async def test_text_that_is_no_good_json(hub: LiveHub, data: bytes, code: str) -> None:
    client, plain = await hub.opened(JSON), await hub.opened(None)
    for one in (client, plain):
        one.write(masked(TEXT, data))
    assert [(error["hub"], error["code"]) for error in await client.messages()] == [("error", code)]
    assert await plain.messages() == []
    assert done(await client.ask("ping")) == done(await plain.ask("ping")) == {}


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"", "invalid_body"),
        (b"\xc1", "invalid_body"),
        (b"\x81", "invalid_body"),
        (msgpack.packb({"action": "ping"}) + b"\x00", "invalid_body"),
        (msgpack.packb({"action": b"ping"}), "invalid"),
        (msgpack.packb({"action": "ping", "ref": b"x"}), "invalid"),
        (msgpack.packb({"action": "ping", 1: 2}), "invalid"),
        (msgpack.packb({"action": "ping", "ref": msgpack.ExtType(5, b"x")}), "invalid"),
        (b"\x82\xa6action\xa4ping\xa6action\xa4pong", "invalid"),
        (msgpack.packb({"action": "ping", "ref": float("nan")}), "invalid"),
        (b"\x91" * 5000 + b"\xc0", "invalid"),
    ],
)
async def test_binary_that_is_no_good_msgpack(hub: LiveHub, data: bytes, code: str) -> None:
    client = await hub.opened(MSGPACK)
    client.write(masked(BINARY, data))
    assert [(error["hub"], error["code"]) for error in await client.messages()] == [("error", code)]
    assert done(await client.ask("ping")) == {}
