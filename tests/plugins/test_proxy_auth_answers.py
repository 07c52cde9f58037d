"""What proxy_auth makes of all that an application can answer, and of what it must not."""

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from hubd.testing import PluginWorld
from tests.plugins.application import SECRET, Application, application, http
from tests.plugins.proxy_auth_world import ask, asking, refusal

LONG = "x" * 201


@pytest.fixture
async def app() -> AsyncIterator[Application]:
    async with application() as made:
        yield made


@pytest.fixture
async def world(app: Application) -> AsyncIterator[PluginWorld]:
    async with asking(app, secret=SECRET) as made:
        yield made


async def test_all_that_it_can_say(world: PluginWorld, app: Application) -> None:
    app.users["s7"] = {
        "user": "7",
        "topics": ["team:*", "news"],
        "publish": ["chat"],
        "max_priority": "critical",
        "expires_in": 600,
        "tags": ["staff", "é"],
    }
    found = await ask(world)
    assert found is not None
    assert (found.user, found.topics.texts, found.publish.texts) == ("7", ("team:*", "news"), ("chat",))
    assert (found.max_priority.word, found.tags) == ("critical", ("staff", "é"))
    assert (found.issued_at, found.expires_at) == (world.clock.now(), world.clock.now() + 600)


async def test_the_least_that_it_can_say(world: PluginWorld, app: Application) -> None:
    app.users["s7"] = {"user": "7"}
    found = await ask(world)
    assert found is not None and not found.topics and not found.publish and found.tags == ()
    assert (found.max_priority.word, found.expires_at, found.issued_at) == ("important", None, world.clock.now())


@pytest.mark.parametrize(
    ("status", "body", "reason"),
    [
        (401, {"reason": "log in again"}, "log in again"),
        (403, {"reason": "not on your plan"}, "not on your plan"),
        (401, None, ""),
        (403, b"<html>no</html>", ""),
        (401, {"reason": LONG}, ""),
        (401, {"reason": "two\nlines"}, ""),
        (401, {"reason": 7}, ""),
        (401, ["no"], ""),
    ],
)
async def test_it_can_refuse(world: PluginWorld, app: Application, status: int, body: Any, reason: str) -> None:
    app.answer = (status, body)
    problem = await refusal(world)
    assert (problem.code, problem.message) == ("unauthorized", reason or "the application doesn't let you in")


async def test_it_can_say_that_it_isnt_its_own(world: PluginWorld, app: Application) -> None:
    app.answer = (204, None)
    assert await ask(world) is None


WRONG: list[Any] = [
    {},
    {"user": 7},
    {"user": None},
    {"user": ""},
    {"user": "a b"},
    {"user": "x" * 65},
    {"user": ["7"]},
    {"user": "7", "topics": "team"},
    {"user": "7", "topics": [7]},
    {"user": "7", "topics": ["a b"]},
    {"user": "7", "topics": ["**:a"]},
    {"user": "7", "topics": ["t"] * 1001},
    {"user": "7", "topics": None},
    {"user": "7", "publish": {"a": 1}},
    {"user": "7", "max_priority": "urgent"},
    {"user": "7", "max_priority": 1},
    {"user": "7", "tags": ["\ud800"]},
    {"user": "7", "tags": [LONG]},
    {"user": "7", "expires_in": 0},
    {"user": "7", "expires_in": -1},
    {"user": "7", "expires_in": "600"},
    {"user": "7", "expires_in": True},
    {"user": "7", "expires_in": 1_800_000_000},
    {"user": "7", "expires_in": 10**400},
    {"user": "7", "topic": ["team"]},
    {"user": "7", "expires": 600},
    [],
    ["7"],
    "7",
    7,
    True,
    b"null",
    b"",
    b"nonsense",
    b'{"user": "7"',
    b'{"user": "7"}x',
    b'{"user": "7", "user": "8"}',
    b'{"user": "7", "expires_in": NaN}',
    b'{"user": "7", "expires_in": Infinity}',
    b'{"user": "7", "expires_in": 1e999}',
    b'{"user": "7", "expires_in": ' + b"9" * 5000 + b"}",
    b'{"user": "7\xff"}',
    b'{"user": "7"}' + b" " * 65_536,
    b'{"user": "7", "tags": ' + b"[" * 60000,
    json.dumps({"user": "7"}).encode("utf-16"),
]


def shortened(value: Any) -> str:
    return repr(value)[:40]


@pytest.mark.parametrize("body", WRONG, ids=shortened)
async def test_what_isnt_right_lets_nobody_in(app: Application, caplog: pytest.LogCaptureFixture, body: Any) -> None:
    app.answer = (200, body)
    async with asking(app) as world:
        problem = await refusal(world)
        assert (problem.code, problem.retry_after) == ("unavailable", 5.0)
        assert "can't be found out now" in problem.message
        assert await world.metric("proxy_auth_calls_total", answer="failed") == 1
        (line,) = [record.getMessage() for record in caplog.records if "can't be asked" in record.getMessage()]
        assert "why=" in line and 'why=""' not in line and "session=s7" not in line
        app.answer = None
        assert await ask(world), "it isn't remembered"


@pytest.mark.parametrize("status", [201, 206, 301, 302, 307, 308, 400, 404, 429, 500, 502, 503])
async def test_other_statuses_let_nobody_in(world: PluginWorld, app: Application, status: int) -> None:
    app.raw = http(status, {"user": "7"}, f"Location: {app.url}")
    assert (await refusal(world)).code == "unavailable"
    assert len(app.asked) == 1, "redirects aren't followed: what was forwarded goes to nobody else"


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"nonsense\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\n\r\n" + b'{"user": "7", "tags": ["' + b"x" * 200_000 + b'"]}',
        b"HTTP/1.1 200 OK\r\nContent-Length: 20\r\nContent-Encoding: gzip\r\n\r\n" + b"x" * 20,
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
    ],
    ids=shortened,
)
async def test_what_isnt_http_lets_nobody_in(world: PluginWorld, app: Application, raw: bytes) -> None:
    app.raw = raw
    assert (await refusal(world)).code == "unavailable"


async def test_a_reset_lets_nobody_in(world: PluginWorld, app: Application) -> None:
    app.resets = True
    assert (await refusal(world)).code == "unavailable"


async def test_one_that_stalls(app: Application) -> None:
    async with asking(app, timeout_s=0.2) as world:
        app.go.clear()
        assert (await refusal(world)).code == "unavailable"
        app.go.set()
        assert await ask(world)
