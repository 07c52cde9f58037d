"""How large and how odd a body may be: each limit at its edge and one past it, over HTTP and in a frame."""

import json
from typing import Any

import msgpack
import pytest

from tests.edge.conftest import StartHub
from tests.edge.live_hub import Answer, LiveHub
from tests.edge.ws_client import BINARY, JSON, MSGPACK, masked

PACKED = {"Content-Type": "application/msgpack"}


def nested(levels: int, leaf: Any, kind: str) -> Any:
    """``levels`` objects or lists in one another, the outermost counted, with a leaf in the innermost."""
    value = leaf
    for _ in range(levels):
        value = {"x": value} if kind == "object" else [value]
    return value


async def publish(hub: LiveHub, packed: bool, notification: Any, **more: Any) -> Answer:
    return await hub.try_publish("notifications", packed=packed, notification=notification, **more)


@pytest.fixture(params=[False, True], ids=["json", "msgpack"])
def packed(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


# Depth and keys


@pytest.mark.parametrize("kind", ["object", "list"])
@pytest.mark.parametrize("leaf", [1, 1.5, "x", None, True, [], {}], ids=repr)
async def test_depth(start_hub: StartHub, packed: bool, kind: str, leaf: Any) -> None:
    hub = await start_hub(limits={"json_depth": 5})
    inside = 4 if leaf in ([], {}) and leaf is not None and not isinstance(leaf, int | float | str) else 5
    good = await publish(hub, packed, {"type": "x", "deep": nested(inside, leaf, kind)})
    assert good.status == 202, good
    bad = await publish(hub, packed, {"type": "x", "deep": nested(inside + 1, leaf, kind)})
    assert bad.paths == ["notification"]


async def test_keys_over_all_levels(start_hub: StartHub, packed: bool) -> None:
    hub = await start_hub(limits={"json_keys": 10})
    nested_keys = {"type": "x", "a": [{"b": 1}, {"c": {"d": 1, "e": 1}}], "f": 1, "g": 1, "h": 1}
    assert (await publish(hub, packed, nested_keys | {"i": 1})).status == 202
    assert (await publish(hub, packed, nested_keys | {"i": 1, "j": 1})).paths == ["notification"]


async def test_the_default_depth_and_keys(hub: LiveHub, packed: bool) -> None:
    flat = {"type": "x"} | {f"k{n}": n for n in range(255)}
    assert (await publish(hub, packed, flat)).status == 202
    assert (await publish(hub, packed, flat | {"more": 1})).paths == ["notification"]
    assert (await publish(hub, packed, {"type": "x", "d": nested(15, 1.5, "list")})).status == 202
    for far_too_deep in (20, 60, 100, 200):
        answer = await publish(hub, packed, {"type": "x", "d": nested(far_too_deep, 1, "object")})
        assert (answer.status, answer.code) == (422, "invalid"), far_too_deep


@pytest.mark.parametrize(
    ("data", "headers"),
    [
        (b"[" * 100_000, {}),
        (b"[" * 100_000 + b"]" * 100_000, {}),
        (b'{"x":' * 100_000 + b"1" + b"}" * 100_000, {}),
        (b"\x91" * 100_000 + b"\xc0", PACKED),
        (b"\x81\xa1x" * 100_000 + b"\xc0", PACKED),
    ],
)
@pytest.mark.parametrize("path", ["/api/notifications", "/api/notifications/batch"])
async def test_absurdly_deep(hub: LiveHub, path: str, data: bytes, headers: dict[str, str]) -> None:
    answer = await hub.call("POST", path, data=data, headers=headers)
    assert (answer.status, answer.code) == (422, "invalid")


# What has no one meaning


IN_JSON: list[tuple[str, str, int]] = [
    ("duplicate key", '{"type":"x","a":1,"a":1}', 422),
    ("duplicate key deep down", '{"type":"x","a":[{"b":1,"b":2}]}', 422),
    ("duplicate key by an escape", '{"type":"x","a":1,"\\u0061":2}', 422),
    ("NaN", '{"type":"x","a":NaN}', 422),
    ("Infinity", '{"type":"x","a":[-Infinity]}', 422),
    ("a float beyond", '{"type":"x","a":1e400}', 422),
    ("a negative float beyond", '{"type":"x","a":-1e400}', 422),
    ("the largest float", '{"type":"x","a":1.7976931348623157e308}', 202),
    ("the largest integer", '{"type":"x","a":18446744073709551615}', 202),
    ("one more", '{"type":"x","a":18446744073709551616}', 422),
    ("the smallest integer", '{"type":"x","a":-9223372036854775808}', 202),
    ("one less", '{"type":"x","a":-9223372036854775809}', 422),
    ("very many digits", '{"type":"x","a":' + "9" * 5000 + "}", 422),
    ("minus very many digits", '{"type":"x","a":-' + "9" * 5000 + "}", 422),
    ("very many digits behind the point", '{"type":"x","a":0.' + "1" * 5000 + "}", 202),
    ("half a pair", '{"type":"x","a":"\\ud83d"}', 422),
    ("the other half", '{"type":"x","a":"\\uDF89 x"}', 422),
    ("halves the wrong way round", '{"type":"x","a":"\\uDF89\\uD83C"}', 422),
    ("half a pair in a key", '{"type":"x","\\ud83d":1}', 422),
    ("half a pair in the type", '{"type":"\\ud83d"}', 422),
    ("a whole pair", '{"type":"x","a":"\\ud83c\\udf89"}', 202),
    ("a backslash and words", '{"type":"x","a":"\\\\ud83d"}', 202),
    ("NUL", '{"type":"x","a":"\\u0000"}', 202),
    ("a byte order mark", "\ufeff{}", 400),
    ("a comment", '{"type":"x"/**/}', 400),
    ("a trailing comma", '{"type":"x",}', 400),
    ("single quotes", "{'type':'x'}", 400),
    ("a raw line end in a string", '{"type":"x\n"}', 400),
]


@pytest.mark.parametrize(("text", "status"), [pytest.param(*rest, id=name) for name, *rest in IN_JSON])
async def test_odd_json(hub: LiveHub, text: str, status: int) -> None:
    client, _ = await hub.welcomed()
    data = f'{{"to":"notifications","notification":{text}}}'.encode()
    answer = await hub.call("POST", "/api/notifications", data=data)
    assert answer.status == status, answer
    got = await client.notifications()
    if status == 202:
        assert json.loads(text).items() <= got[0].items()
    else:
        assert answer.code == {400: "invalid_body", 422: "invalid"}[status]
        assert got == []
    answer = await hub.call("POST", "/api/notifications/batch", data=b"[" + data + b"]")
    assert answer.status == (status if status != 202 else 200)


IN_MSGPACK: list[tuple[str, Any, int]] = [
    ("bin", b"x", 422),
    ("bin deep down", [{"a": b""}], 422),
    ("ext", msgpack.ExtType(1, b"x"), 422),
    ("timestamp", msgpack.Timestamp(1, 2), 422),
    ("a key that is a number", {1: 2}, 422),
    ("a key that is bin", {b"a": 2}, 422),
    ("a key that is nil", {None: 2}, 422),
    ("a key that is a bool", {True: 2}, 422),
    ("NaN", float("nan"), 422),
    ("infinity", float("-inf"), 422),
    ("the largest integer", 2**64 - 1, 202),
    ("the smallest integer", -(2**63), 202),
    ("text", "Ü🎉", 202),
]


@pytest.mark.parametrize(("value", "status"), [pytest.param(*rest, id=name) for name, *rest in IN_MSGPACK])
async def test_odd_msgpack(hub: LiveHub, value: Any, status: int) -> None:
    body = {"to": "notifications", "notification": {"type": "x", "a": value}}
    answer = await hub.call("POST", "/api/notifications", data=msgpack.packb(body), headers=PACKED)
    assert answer.status == status, answer
    client = await hub.opened(MSGPACK)
    client.send(action="publish", **body, ref=1)
    message = await client.next()
    while message.get("ref") is None and message.get("hub") != "error":
        message = await client.next()
    assert message.get("ok", False) is (status == 202)
    if status == 422:
        assert answer.code == "invalid"
        assert (message if message["hub"] == "error" else message["error"])["code"] == "invalid"


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"\x82\xa4type\xa1x\xa4type\xa1y", 422),  # a key twice
        (b"\x81\xa1\xff\x01", 400),  # a string that isn't UTF-8
        (b"\x81\xa3\xed\xa0\x80\x01", 400),  # nor is a surrogate
        (b"\x91\x91", 400),  # cut off
        (b"\xdd\xff\xff\xff\xff", 400),  # four billion elements that don't come
        (b"\xdb\xff\xff\xff\xff", 400),
        (b"\xc0\xc0", 400),  # two values
        (b"\xc1", 400),
        (b"\xc4\x01x", 422),  # bin alone
    ],
)
async def test_msgpack_as_bytes(hub: LiveHub, data: bytes, status: int) -> None:
    answer = await hub.call("POST", "/api/notifications", data=data, headers=PACKED)
    assert (answer.status, answer.code) == (status, {400: "invalid_body", 422: "invalid"}[status])
    client = await hub.opened(MSGPACK)
    client.write(masked(BINARY, data))
    assert [one["code"] for one in await client.messages()] == [answer.code]


# Sizes


async def test_the_largest_body_and_one_byte_more(start_hub: StartHub) -> None:
    hub = await start_hub(limits={"body_bytes": 5000})
    body = json.dumps({"to": "notifications", "notification": {"type": "x"}}).encode()
    assert (await hub.call("POST", "/api/notifications", data=body.ljust(5000))).status == 202
    for data in (body.ljust(5001), body.ljust(2_000_000)):
        for path in ("/api/notifications", "/api/notifications/batch"):
            answer = await hub.call("POST", path, data=data)
            assert (answer.status, answer.code) == (413, "too_large")


async def test_a_body_whose_length_is_not_announced_is_measured_too(start_hub: StartHub) -> None:
    hub = await start_hub(limits={"body_bytes": 5000})

    async def chunks(count: int) -> Any:
        yield json.dumps({"to": "notifications", "notification": {"type": "x"}}).encode().ljust(1000)
        for _ in range(count - 1):
            yield b" " * 1000

    for count, status in [(5, 202), (6, 413)]:
        answer = await hub.call("POST", "/api/notifications", data=chunks(count))
        assert answer.status == status


async def test_the_largest_notification_and_one_byte_more(start_hub: StartHub, packed: bool) -> None:
    hub = await start_hub(limits={"message_bytes": 100})
    client = await hub.opened(MSGPACK if packed else JSON)
    room = 100 - len('{"type":"x","a":""}')
    largest, more = ({"type": "x", "a": "y" * size} for size in (room, room + 1))
    assert (await publish(hub, packed, largest)).status == 202
    answer = await publish(hub, packed, more)
    assert (answer.status, answer.code) == (413, "too_large")
    assert (await client.ask("publish", to="a", notification=largest))["ok"] is True
    assert (await client.refused("publish", to="a", notification=more))["code"] == "too_large"
