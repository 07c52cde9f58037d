"""POST /api/notifications: what is accepted, what everybody then gets, and every way to be refused."""

import json
import uuid
from typing import Any

import msgpack
import pytest

from tests.edge.conftest import StartHub
from tests.edge.live_hub import LiveHub
from tests.edge.ws_client import JSON, MSGPACK

ALERT = {"type": "alert"}


async def post(hub: LiveHub, body: Any, **more: Any) -> Any:
    return await hub.call("POST", "/api/notifications", body, **more)


async def test_the_answer_names_the_notification_its_place_and_how_many_got_it(hub: LiveHub) -> None:
    for user in ("1", "2"):
        await hub.welcomed(user)
    answer = await hub.try_publish("notifications", n=1)
    assert answer.status == 202
    assert answer.headers["Content-Type"].startswith("application/json")
    assert set(answer.body) == {"id", "cursor", "duplicate", "live"}
    assert uuid.UUID(answer.body["id"]).version == 7
    assert 1 <= len(answer.body["cursor"]) <= 64
    assert (answer.body["duplicate"], answer.body["live"]) == (False, 2)


@pytest.mark.parametrize("subprotocol", [None, JSON, MSGPACK])
async def test_everybody_gets_the_payload_and_the_hubs_fields_and_nothing_else(
    hub: LiveHub, subprotocol: str | None
) -> None:
    client = await hub.connect("42", subprotocol)
    payload = {"type": "alert", "title": "Grüße 🎉", "count": 3, "item": {"a": [1, 2.5, None, True]}, "x-y": ""}
    answer = await hub.publish("user:42", notification=payload, id="order-1:2.b", priority="critical")
    (got,) = await client.notifications()
    assert got == payload | {
        "id": "order-1:2.b",
        "channel": "user:42:notifications",
        "priority": "critical",
        "sent_at": 1_800_000_000_000,
        "cursor": answer["cursor"],
    }


@pytest.mark.parametrize(
    ("to", "user", "channel"),
    [
        ("notifications", "42", "notifications"),
        (["notifications"], "42", "notifications"),
        ("user:42", "42", "user:42:notifications"),
        ("user:42:notifications", "42", "user:42:notifications"),
        ("user:a.b@c|d+e=f-g_h", "a.b@c|d+e=f-g_h", "user:a.b@c|d+e=f-g_h:notifications"),
        ("team:a", "42", "team:a"),
        (["nobody:there", "team:a", "notifications"], "42", "team:a"),
        (["notifications", "user:42"], "42", "notifications"),
        (["user:7", "user:42", "team:a"], "42", "user:42:notifications"),
        (["user:42", "user:42:notifications", "user:42"], "42", "user:42:notifications"),
    ],
)
async def test_one_is_reached_once_by_the_first_channel_that_one_is_in(
    hub: LiveHub, to: Any, user: str, channel: str
) -> None:
    client, _ = await hub.welcomed(user, topics="team:a")
    answer = await hub.publish(to, n=1)
    got = await client.notifications()
    assert [one["channel"] for one in got] == [channel]
    assert answer["live"] == 1


async def test_nobody_else_gets_what_is_meant_for_one(hub: LiveHub) -> None:
    meant, _ = await hub.welcomed("42", topics="team:a")
    other, _ = await hub.welcomed("7", topics="team:b")
    for to in ("user:42", "team:a", "user:nobody", "team:nobody"):
        await hub.publish(to, n=1)
    assert [one["channel"] for one in await meant.notifications()] == ["user:42:notifications", "team:a"]
    assert await other.notifications() == []


async def test_live_counts_connections_and_not_users_or_ways(hub: LiveHub) -> None:
    for _ in range(3):
        await hub.welcomed("42", topics="team:a,team:b")
    assert (await hub.publish(["team:a", "user:42", "notifications", "team:b"], n=1))["live"] == 3
    assert (await hub.publish("user:nobody", n=1))["live"] == 0


async def test_ten_thousand_channels_are_the_most(hub: LiveHub) -> None:
    client, _ = await hub.welcomed("9999")
    assert (await hub.publish([f"user:{n}" for n in range(10_000)], n=1))["live"] == 1
    assert [one["channel"] for one in await client.notifications()] == ["user:9999:notifications"]
    assert (await hub.try_publish([f"user:{n}" for n in range(10_001)], n=1)).paths == ["to"]


@pytest.mark.parametrize(
    "more",
    [
        {"id": "a"},
        {"id": "x" * 128},
        {"id": None, "priority": None, "persistence": None, "ttl": None, "collapse_key": None, "group": None},
        {"deliver_at": None},
        {"priority": "informational"},
        {"priority": "important"},
        {"priority": "critical"},
        {"persistence": "ephemeral"},
        {"persistence": "bufferable"},
        {"persistence": "persistent", "priority": "critical"},
        {"ttl": 0},
        {"ttl": 0.5},
        {"ttl": 3600, "collapse_key": "order-1234", "group": "orders"},
        {"notification": {"type": "t" * 128}},
        {"notification": {"type": "Größe"}},
        {"notification": {"type": "alert", "hu": 1, "typed": 1, "From": 1, "nested": {"id": 1, "_x": 1, "hub": 1}}},
        {"notification": {"type": "alert", "": "an empty key"}},
    ],
)
async def test_accepted(hub: LiveHub, more: dict[str, Any]) -> None:
    client, _ = await hub.welcomed()
    answer = await hub.try_publish("notifications", **more)
    assert answer.status == 202, answer
    (got,) = await client.notifications()
    assert more.get("notification", ALERT).items() <= got.items()
    assert got["priority"] == (more.get("priority") or "important")
    assert answer.body["id"] == got["id"] == (more.get("id") or got["id"])


@pytest.mark.parametrize(
    ("content_type", "encode"),
    [
        ("", None),
        ("application/json; charset=utf-8", None),
        ("application/x-www-form-urlencoded", None),
        ("text/plain", None),
        ("multipart/form-data; boundary=x", None),
        ("application/msgpack", msgpack.packb),
        ("application/msgpack; v=1", msgpack.packb),
        ("Application/MsgPack", msgpack.packb),
    ],
)
async def test_a_body_is_json_whatever_its_type_says_except_msgpack(
    hub: LiveHub, content_type: str, encode: Any
) -> None:
    body = {"to": "notifications", "notification": {"type": "alert", "title": "ü"}}
    data = (encode or (lambda value: json.dumps(value, ensure_ascii=False).encode()))(body)
    headers = {"Content-Type": content_type} if content_type else {}
    answer = await hub.call("POST", "/api/notifications", data=data, headers=headers)
    assert answer.status == 202, answer
    assert answer.headers["Content-Type"].startswith("application/json")


WRONG_FIELDS: list[tuple[str, Any, list[str]]] = [
    ("no object", [], [""]),
    ("a string", "x", [""]),
    ("nothing in it", {}, ["to", "notification"]),
    ("no notification", {"to": "notifications"}, ["notification"]),
    ("no to", {"notification": ALERT}, ["to"]),
    ("an unknown field", {"to": "notifications", "notification": ALERT, "channel": "x"}, ["channel"]),
    ("to a number", {"to": 5, "notification": ALERT}, ["to"]),
    ("to nobody", {"to": [], "notification": ALERT}, ["to"]),
    ("to null", {"to": None, "notification": ALERT}, ["to"]),
    ("to an empty name", {"to": "", "notification": ALERT}, ["to"]),
    ("to an object", {"to": {"name": "x"}, "notification": ALERT}, ["to"]),
    ("to bad names", {"to": ["a", "b c", "d", ""], "notification": ALERT}, ["to.1", "to.3"]),
    ("to no names", {"to": ["a", 1, None], "notification": ALERT}, ["to.1", "to.2"]),
    ("notification a string", {"to": "a", "notification": "x"}, ["notification"]),
    ("notification a list", {"to": "a", "notification": [ALERT]}, ["notification"]),
    ("no type", {"to": "a", "notification": {}}, ["notification.type"]),
    ("type a number", {"to": "a", "notification": {"type": 1}}, ["notification.type"]),
    ("type empty", {"to": "a", "notification": {"type": ""}}, ["notification.type"]),
    (
        "the hub's fields",
        {"to": "a", "notification": ALERT | dict.fromkeys(("id", "channel", "priority", "sent_at", "cursor", "from"))},
        [f"notification.{name}" for name in ("id", "channel", "priority", "sent_at", "cursor", "from")],
    ),
    (
        "the hub's prefixes",
        {"to": "a", "notification": ALERT | {"hub": 1, "hub_x": 1, "hubris": 1, "_": 1, "_x": 1}},
        ["notification.hub", "notification.hub_x", "notification.hubris", "notification._", "notification._x"],
    ),
    ("id empty", {"to": "a", "notification": ALERT, "id": ""}, ["id"]),
    ("id too long", {"to": "a", "notification": ALERT, "id": "x" * 129}, ["id"]),
    ("id with a slash", {"to": "a", "notification": ALERT, "id": "a/b"}, ["id"]),
    ("id with a line end", {"to": "a", "notification": ALERT, "id": "a\n"}, ["id"]),
    ("id not ASCII", {"to": "a", "notification": ALERT, "id": "ü"}, ["id"]),
    ("id a number", {"to": "a", "notification": ALERT, "id": 1}, ["id"]),
    ("priority", {"to": "a", "notification": ALERT, "priority": "urgent"}, ["priority"]),
    ("priority a number", {"to": "a", "notification": ALERT, "priority": 2}, ["priority"]),
    ("persistence", {"to": "a", "notification": ALERT, "persistence": "forever"}, ["persistence"]),
    ("ttl negative", {"to": "a", "notification": ALERT, "ttl": -1}, ["ttl"]),
    ("ttl a string", {"to": "a", "notification": ALERT, "ttl": "60"}, ["ttl"]),
    ("ttl a bool", {"to": "a", "notification": ALERT, "ttl": True}, ["ttl"]),
    ("collapse_key", {"to": "a", "notification": ALERT, "collapse_key": ""}, ["collapse_key"]),
    ("group", {"to": "a", "notification": ALERT, "group": 5}, ["group"]),
    ("deliver_at a string", {"to": "a", "notification": ALERT, "deliver_at": "soon"}, ["deliver_at"]),
    (
        "critical and ephemeral",
        {"to": "a", "notification": ALERT, "priority": "critical", "persistence": "ephemeral"},
        ["persistence"],
    ),
    (
        "all of it",
        {
            "to": ["ok", "not ok"],
            "notification": {"type": 1, "id": "x", "_y": 1},
            "id": "?",
            "priority": "x",
            "persistence": "y",
            "ttl": -1,
            "collapse_key": 1,
            "group": "",
            "deliver_at": "z",
            "more": 1,
        },
        [
            *("to.1", "notification.type", "notification.id", "notification._y", "id", "priority", "persistence"),
            *("ttl", "collapse_key", "group", "deliver_at", "more"),
        ],
    ),
    (
        "critical and ephemeral is told with the rest",
        {"notification": {}, "priority": "critical", "persistence": "ephemeral"},
        ["to", "notification.type", "persistence"],
    ),
]


@pytest.mark.parametrize(("body", "paths"), [pytest.param(b, p, id=name) for name, b, p in WRONG_FIELDS])
@pytest.mark.parametrize("packed", [False, True], ids=["json", "msgpack"])
async def test_every_wrong_field_is_named_and_all_at_once(
    hub: LiveHub, body: Any, paths: list[str], packed: bool
) -> None:
    client, _ = await hub.welcomed()
    if packed:
        headers = {"Content-Type": "application/msgpack"}
        answer = await hub.call("POST", "/api/notifications", data=msgpack.packb(body), headers=headers)
    else:
        answer = await post(hub, body)
    assert sorted(answer.paths) == sorted(paths)
    assert await client.notifications() == []


async def test_what_the_type_decides_unless_the_publisher_does(start_hub: StartHub) -> None:
    hub = await start_hub(
        types={
            "default": {"priority": "informational"},
            "security": {"priority": "critical", "persistence": "persistent"},
            "typing": {"persistence": "ephemeral"},
        }
    )
    client, _ = await hub.welcomed()
    for type_, more, priority in [
        ("alert", {}, "informational"),
        ("security", {}, "critical"),
        ("security", {"priority": "important"}, "important"),
        ("typing", {}, "informational"),
        ("alert", {"priority": "critical"}, "critical"),
    ]:
        await hub.publish("notifications", notification={"type": type_}, **more)
        (got,) = await client.notifications()
        assert got["priority"] == priority, type_
    refused = await hub.try_publish("notifications", notification={"type": "typing"}, priority="critical")
    assert refused.paths == ["persistence"]
    refused = await hub.try_publish("not a name", notification={"type": "security"}, persistence="ephemeral")
    assert refused.paths == ["to", "persistence"]


UNKNOWN_KEY = "Bearer hub_backend_" + "0" * 48
REFUSED: list[tuple[str, dict[str, Any], int, str]] = [
    ("no key", {"key": None}, 401, "unauthorized"),
    (
        "an unknown key",
        {"key": None, "headers": {"Authorization": UNKNOWN_KEY}},
        401,
        "unauthorized",
    ),
    ("no key at all", {"key": None, "headers": {"Authorization": "Bearer nonsense"}}, 401, "unauthorized"),
    ("another scheme", {"key": None, "headers": {"Authorization": "Basic aHViOng="}}, 401, "unauthorized"),
    ("without the right", {"key": "admin"}, 403, "forbidden"),
    ("another channel", {"key": "news"}, 403, "forbidden"),
    ("a foreign page", {"headers": {"Origin": "https://evil.example"}}, 403, "forbidden"),
    ("not JSON", {"data": b"{"}, 400, "invalid_body"),
    ("empty", {"data": b""}, 400, "invalid_body"),
    ("not UTF-8", {"data": b'{"to":"\xff"}'}, 400, "invalid_body"),
    ("two values", {"data": b"{} {}"}, 400, "invalid_body"),
    ("compressed", {"headers": {"Content-Encoding": "gzip"}}, 400, "invalid_body"),
    ("not msgpack", {"data": b"\xc1", "headers": {"Content-Type": "application/msgpack"}}, 400, "invalid_body"),
    ("JSON as msgpack", {"headers": {"Content-Type": "application/msgpack"}}, 400, "invalid_body"),
]


@pytest.mark.parametrize(("more", "status", "code"), [pytest.param(*rest, id=name) for name, *rest in REFUSED])
async def test_refused(hub: LiveHub, more: dict[str, Any], status: int, code: str) -> None:
    client, _ = await hub.welcomed("42", topics="team:a")
    body = None if "data" in more else {"to": "team:a", "notification": ALERT}
    answer = await post(hub, body, **more)
    assert (answer.status, answer.code) == (status, code)
    if status == 401:
        assert answer.headers["WWW-Authenticate"].startswith("Bearer")
    assert await client.notifications() == []


async def test_a_users_token_is_no_servers_key(hub: LiveHub) -> None:
    token = hub.token(publish=["**"])
    answer = await post(hub, {"to": "a", "notification": ALERT}, token=token)
    assert (answer.status, answer.code) == (403, "forbidden")


async def test_one_forbidden_channel_among_many_refuses_all(hub: LiveHub) -> None:
    client, _ = await hub.welcomed("42", topics="news:a")
    answer = await hub.try_publish(["news:a", "team:b"], key="news", n=1)
    assert (answer.status, answer.code) == (403, "forbidden")
    assert await client.notifications() == []
    assert (await hub.try_publish("news:a", key="news", n=1)).status == 202


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("PUT", "/api/notifications", 405, "method_not_allowed"),
        ("GET", "/api/notifications", 405, "method_not_allowed"),
        ("POST", "/api/notification", 404, "not_found"),
        ("GET", "/api/notifications/unknown", 404, "not_found"),
        ("DELETE", "/api/notifications/unknown", 404, "not_found"),
        ("GET", "/", 404, "not_found"),
        ("GET", "/api/channels/%ff", 422, "invalid"),
        ("GET", "/api/channels/a%00b", 422, "invalid"),
    ],
)
async def test_what_is_not_there_is_a_problem_too(hub: LiveHub, method: str, path: str, status: int, code: str) -> None:
    answer = await hub.call(method, path)
    assert (answer.status, answer.code) == (status, code)


async def test_a_stopping_hub_is_unavailable_and_says_when_to_try_again(hub: LiveHub) -> None:
    hub.hub.stopping = True
    answer = await hub.try_publish(n=1)
    assert (answer.status, answer.code) == (503, "unavailable")
    assert int(answer.headers["Retry-After"]) >= 1
    ready = await hub.call("GET", "/health/ready", key=None)
    assert (ready.status, ready.code) == (503, "unavailable")
    assert (await hub.call("GET", "/health/live", key=None)).status == 200


async def test_a_notification_of_the_largest_size_and_one_byte_more(start_hub: StartHub) -> None:
    hub = await start_hub(limits={"message_bytes": 1000})
    room = 1000 - len('{"type":"alert","body":""}')
    assert (await hub.try_publish(notification=ALERT | {"body": "x" * room})).status == 202
    for body in ("x" * (room + 1), "é" * (room // 2 + 1)):
        answer = await hub.try_publish(notification=ALERT | {"body": body})
        assert (answer.status, answer.code) == (413, "too_large")
