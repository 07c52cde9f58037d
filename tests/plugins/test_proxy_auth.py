"""proxy_auth: what it asks, what it makes of the answers, and for how long it remembers them."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from hubd_proxy_auth import ProxyAuth

from hubd.plugin import Credentials, Identity, Problem
from hubd.testing import PluginWorld
from tests.edge.live_hub import eventually
from tests.plugins.application import SECRET, Application, application, options
from tests.plugins.proxy_auth_world import ask, asking, cookie, refusal


@pytest.fixture
async def app() -> AsyncIterator[Application]:
    async with application() as made:
        yield made


@pytest.fixture
async def world(app: Application) -> AsyncIterator[PluginWorld]:
    async with asking(app, secret=SECRET) as made:
        yield made


# The question


async def test_what_is_asked(world: PluginWorld, app: Application) -> None:
    headers = {"authorization": "Bearer s7", "cookie": "session=s7", "x-forwarded-for": "6.6.6.6", "user-agent": "x"}
    await ask(world, Credentials("s7", headers, {"session": "s7"}, {"q": "1"}, "127.0.0.9"))
    assert app.asked == [
        {
            "token": "s7",
            "headers": {"authorization": "Bearer s7", "cookie": "session=s7"},
            "query": {},
            "address": "127.0.0.9",
        }
    ]
    (head,) = app.heads
    assert head.startswith("POST /who HTTP/1.1\r\n") and f"\r\nAuthorization: Bearer {SECRET}\r\n" in head
    assert "\r\nContent-Type: application/json\r\n" in head


async def test_only_what_is_named_is_passed_on(app: Application) -> None:
    async with asking(app, forward_headers=["X-Session"], forward_query=["session"]) as world:
        given = {"x-session": "s7", "cookie": "private=1", "authorization": "Bearer t"}
        await ask(world, Credentials("t", given, {"private": "1"}, {"session": "s7", "other": "1"}))
        assert app.asked == [
            {"token": None, "headers": {"x-session": "s7"}, "query": {"session": "s7"}, "address": ""}
        ], "no token either where the header that brings it isn't passed on"
        assert "\r\nAuthorization:" not in app.heads[0], "there is no secret to show"


async def test_letters_of_all_kinds(world: PluginWorld, app: Application) -> None:
    app.answer = (200, {"user": "7"})
    await ask(world, Credentials(None, {"cookie": 'a=é "quoted"\\ \u2028'}, {}))
    assert app.asked[0]["headers"] == {"cookie": 'a=é "quoted"\\ \u2028'}
    problem = await refusal(world, Credentials(None, {"cookie": "a=\udcff"}, {}))
    assert problem.code == "unauthorized" and len(app.asked) == 1


# Down, and up again


async def test_an_application_that_is_down_doesnt_switch_the_plugin_off(app: Application) -> None:
    async with asking(app, report_not_ready=True) as world:
        await app.stop()
        assert (await world.request("GET", "/health/ready")).status == 200
        for _ in range(20):
            assert (await refusal(world)).code == "unavailable"
        assert world.faults == []
        await world.advance(1)  # plugins are asked once a second
        not_ready = await world.request("GET", "/health/ready")
        assert not_ready.status == 503 and b"connection refused" in not_ready.body
        await world.advance(10)
        assert (await world.request("GET", "/health/ready")).status == 200, "else nobody would find out more"
        await app.start()
        assert await ask(world)
        app.resets = True
        await refusal(world, cookie("a"))
        await world.advance(1)
        assert (await world.request("GET", "/health/ready")).status == 503
        app.resets = False
        await refusal(world, cookie("b"))
        await world.advance(1)
        assert (await world.request("GET", "/health/ready")).status == 200, "it answers, whatever it says"


async def test_the_log_is_told_of_it_now_and_then(app: Application, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    async with asking(app) as world:
        app.answer = (500, None)

        def lines(text: str) -> list[str]:
            return [record.getMessage() for record in caplog.records if text in record.getMessage()]

        for _ in range(10):
            await refusal(world)
        assert len(lines("can't be asked")) == 1
        await world.advance(10)
        await refusal(world)
        assert len(lines("can't be asked")) == 2 and "failures=10" in lines("can't be asked")[1]
        assert (await world.request("GET", "/health/ready")).status == 200, "unless it is wished"
        app.answer = None
        await ask(world)
        await refusal(world, cookie("wrong"))
        assert len(lines("answers again")) == 1
        assert "s7" not in caplog.text and SECRET not in caplog.text


# What is remembered


async def test_who_is_known_is_asked_about_once_a_while(world: PluginWorld, app: Application) -> None:
    first = await ask(world)
    await world.advance(59.9)
    assert await ask(world) is first and len(app.asked) == 1
    await world.advance(0.1)
    second = await ask(world)
    assert len(app.asked) == 2
    assert first is not None and second is not None and second.issued_at == (first.issued_at or 0) + 60


async def test_no_longer_than_it_lasts(world: PluginWorld, app: Application) -> None:
    app.users["s7"]["expires_in"] = 20
    await ask(world)
    await world.advance(19.9)
    await ask(world)
    assert len(app.asked) == 1
    await world.advance(0.1)
    await ask(world)
    assert len(app.asked) == 2


@pytest.mark.parametrize("answer", [(401, None), (204, None)], ids=str)
async def test_who_isnt_known_is_asked_about_sooner_again(world: PluginWorld, app: Application, answer: Any) -> None:
    app.answer = answer

    async def outcome() -> Any:
        try:
            return await ask(world)
        except Problem as problem:
            return problem.code

    first = await outcome()
    await world.advance(4.9)
    assert await outcome() == first and len(app.asked) == 1
    await world.advance(0.1)
    app.answer = None
    found = await outcome()
    assert isinstance(found, Identity) and len(app.asked) == 2, "he has logged in meanwhile"


async def test_everything_that_is_passed_on_tells_answers_apart(world: PluginWorld, app: Application) -> None:
    app.answer = (200, {"user": "7"})
    headers = {"cookie": "session=s7"}
    for credentials in (
        Credentials(None, headers),
        Credentials("t", headers),
        Credentials("u", headers),
        Credentials(None, headers | {"authorization": "Bearer t"}),
        Credentials(None, {"cookie": "session=s8"}),
        Credentials(None, headers, address="127.0.0.2"),
    ):
        await ask(world, credentials)
        await ask(world, credentials)
    assert len(app.asked) == 6
    await ask(world, Credentials(None, headers | {"user-agent": "another"}, query={"x": "1"}))
    assert len(app.asked) == 6


async def test_no_more_is_kept_than_allowed(app: Application) -> None:
    app.users = {f"s{n}": {"user": str(n)} for n in range(4)}
    async with asking(app, cache_entries=3) as world:
        for session in ("s0", "s1", "s2", "s0", "s3"):
            await ask(world, cookie(session))
        for n in range(50):
            await refusal(world, cookie(f"made-up-{n}"))
        asked = len(app.asked)
        for session in ("s0", "s2", "s3"):
            await ask(world, cookie(session))
        assert len(app.asked) == asked, "a flood of made-up ones pushes nobody out"
        assert await world.metric("proxy_auth_kept_answers") == 6
        await ask(world, cookie("s1"))
        assert len(app.asked) == asked + 1


async def test_nothing_is_kept_where_that_is_wished(app: Application) -> None:
    async with asking(app, cache_s=0, denied_cache_s=0) as world:
        await ask(world)
        await ask(world)
        await refusal(world, cookie("unknown"))
        await refusal(world, cookie("unknown"))
        assert len(app.asked) == 4


# Many at once


async def test_many_with_the_same_ask_once(world: PluginWorld, app: Application) -> None:
    app.go.clear()
    waiting = [asyncio.ensure_future(ask(world)) for _ in range(50)]
    await eventually(lambda: app.asked)
    waiting[0].cancel()  # the one who asked first leaves
    app.go.set()
    answers = await asyncio.gather(*waiting[1:])
    assert len(app.asked) == 1 and all(one is answers[0] for one in answers)
    for source, count in (("call", 1), ("joined", 49), ("kept", 0), ("nothing", 0)):
        assert await world.metric("proxy_auth_requests_total", source=source) == count
    assert await world.metric("proxy_auth_calls_total", answer="known") == 1
    assert await world.metric("proxy_auth_call_seconds_count") == 1


async def test_a_failure_is_for_all_who_wait(world: PluginWorld, app: Application) -> None:
    app.go.clear()
    app.resets = True
    waiting = [asyncio.ensure_future(refusal(world)) for _ in range(10)]
    await eventually(lambda: app.asked)
    app.go.set()
    assert {problem.code for problem in await asyncio.gather(*waiting)} == {"unavailable"}
    assert len(app.asked) == 1


async def test_whoever_waits_is_told_when_the_call_is_given_up(
    app: Application, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def given_up(self: Any, question: Any) -> None:
        raise asyncio.CancelledError

    monkeypatch.setattr("hubd_proxy_auth.application.Application.ask", given_up)
    async with asking(app) as world, asyncio.timeout(2):
        assert (await refusal(world)).code == "unavailable"


async def test_so_many_at_once_and_the_others_wait_but_not_for_ever(app: Application) -> None:
    app.users = {f"s{n}": {"user": str(n)} for n in range(12)}
    async with asking(app, concurrency=3, timeout_s=0.4) as world:
        app.go.clear()
        waiting = [asyncio.ensure_future(ask(world, cookie(f"s{n}"))) for n in range(12)]
        await eventually(lambda: app.at_once == 3)
        await asyncio.sleep(0.05)
        assert await world.metric("proxy_auth_waiting_calls") == 12
        app.go.set()
        assert {found.user for found in await asyncio.gather(*waiting) if found} == {str(n) for n in range(12)}
        assert app.most_at_once == 3
        app.go.clear()
        waiting = [asyncio.ensure_future(ask(world, cookie(f"new-{n}"))) for n in range(12)]
        ends = await asyncio.gather(*waiting, return_exceptions=True)
        assert all(isinstance(end, Problem) and end.code == "unavailable" for end in ends), ends
        assert len(app.asked) <= 12 + 3, "whoever waited too long was never asked about"
        assert await world.metric("proxy_auth_waiting_calls") == 0
        assert world.faults == []


async def test_a_crowd_waits_too(app: Application) -> None:
    """More than the HTTP client takes at a time."""
    app.users = {f"s{n}": {"user": str(n)} for n in range(1100)}
    async with asking(app, timeout_s=4) as world:
        app.go.clear()
        waiting = [asyncio.ensure_future(ask(world, cookie(f"s{n}"))) for n in range(1100)]
        await eventually(lambda: app.at_once == 32)
        app.go.set()
        assert all(await asyncio.gather(*waiting))


# The hub's own tokens


async def test_who_brings_nothing_is_left_to_the_hub(world: PluginWorld, app: Application) -> None:
    assert await ask(world, Credentials(None, {"user-agent": "x"}, {}, {"user": "7"})) is None
    assert app.asked == []


@pytest.mark.parametrize(
    "own",
    [
        Credentials("t"),
        Credentials(None, {"cookie": "hubd_token=t"}, {"hubd_token": "t"}),
        Credentials(None, query={"token": "t"}),
    ],
)
@pytest.mark.parametrize("forwarded", [["authorization", "cookie"], ["x-other"]])
async def test_without_fallback_the_hubs_own_tokens_dont_count(
    app: Application, own: Credentials, forwarded: list[str]
) -> None:
    app.answer = (204, None)
    async with asking(app, fallback=False, forward_headers=forwarded) as world:
        assert (await refusal(world, own)).code == "unauthorized"
        assert await ask(world, Credentials(None)) is None, "he may still say who he is in the action `auth`"
        assert await ask(world, Credentials(None, {"cookie": "theme=dark"}, {"theme": "dark"})) is None
    async with asking(app, forward_headers=forwarded) as world:
        assert await ask(world, own) is None


# New options


async def test_new_options_count_at_once(world: PluginWorld, app: Application) -> None:
    await ask(world)
    async with application() as other:
        other.users["s7"] = {"user": "8"}
        config = ProxyAuth.Config.model_validate(options(other))
        app.go.clear()
        before = asyncio.ensure_future(ask(world, cookie("another")))
        await eventually(lambda: len(app.asked) == 2)
        world.plugin.hubd_reconfigure(config)
        found = await ask(world)
        assert found is not None and found.user == "8", "what the other one said doesn't count any more"
        app.users["another"] = {"user": "9"}
        app.go.set()
        found = await before
        assert found is not None and found.user == "9", "what is under way comes to its end"
        await world.advance(5)
        assert world.plugin._old == []
        assert "Authorization" not in other.heads[0]


async def test_the_end_is_orderly_while_something_is_under_way(app: Application) -> None:
    async with asking(app) as world:
        app.go.clear()
        waiting = asyncio.ensure_future(refusal(world))
        await eventually(lambda: app.asked)
        world.plugin.hubd_reconfigure(world.plugin._config.model_copy())
        other = asyncio.ensure_future(refusal(world))
        await eventually(lambda: len(app.asked) == 2)
    assert [(await one).code for one in (waiting, other)] == ["unavailable"] * 2
