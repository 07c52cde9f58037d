"""The first frame that says who one is, a fresh token later, and what happens as tokens run out."""

from typing import Any

import pytest

from tests.edge.conftest import StartHub
from tests.edge.live_hub import LiveHub, eventually
from tests.edge.ws_client import JSON, MSGPACK, Client

FORMS = [None, JSON, MSGPACK]


async def authenticate(hub: LiveHub, client: Client, user: str = "42", **claims: Any) -> None:
    client.send(action="auth", token=hub.token(user, **{"topics": ["**"]} | claims), ref="auth")


@pytest.mark.parametrize("subprotocol", FORMS)
async def test_reply_then_welcome_then_replay_then_live(hub: LiveHub, subprotocol: str | None) -> None:
    _, welcome = await hub.welcomed()
    await hub.publish("team:a", n=1)
    await hub.publish("user:42", n=2)
    client = await hub.open(subprotocol=subprotocol, query={"topics": "team:a", "cursor": welcome["cursor"]})
    await hub.publish("team:a", n=3)
    await authenticate(hub, client)
    reply = await client.next()
    assert reply == {"hub": "reply", "ref": "auth", "ok": True, "user": "42"}
    if subprotocol:
        welcomed = await client.next()
        assert (welcomed["hub"], welcomed["recovered"], welcomed["topics"]) == ("welcome", True, ["team:a"])
        assert welcomed["cursor"] == welcome["cursor"]
    await hub.publish("notifications", n=4)
    assert [one["n"] for one in await client.messages()] == [1, 2, 3, 4]


@pytest.mark.parametrize("subprotocol", FORMS)
async def test_without_a_ref_there_is_no_reply(hub: LiveHub, subprotocol: str | None) -> None:
    client = await hub.open(subprotocol=subprotocol)
    client.send(action="auth", token=hub.token())
    await eventually(lambda: hub.hub.registry.connections)
    assert [message["hub"] for message in await client.messages()] == (["welcome"] if subprotocol else [])


@pytest.mark.parametrize("subprotocol", FORMS)
@pytest.mark.parametrize(
    "message",
    [
        {"action": "subscribe", "topic": "team:a"},
        {"action": "publish", "to": "notifications", "notification": {"type": "x"}},
        {"action": "ping"},
        {"action": "pong"},
        {"action": "ack", "ids": []},
    ],
)
async def test_nothing_else_before_it(hub: LiveHub, subprotocol: str | None, message: dict[str, Any]) -> None:
    other, _ = await hub.welcomed("7")
    client = await hub.open(subprotocol=subprotocol)
    client.send(**message)
    client.send(**message, ref=0)
    expected: list[Any] = ["not_authenticated"] if subprotocol else []
    frames = await client.messages()
    assert [frame["code"] for frame in frames if frame["hub"] == "error"] == expected
    assert frames[-1]["ref"] == 0 and frames[-1]["ok"] is False
    assert frames[-1]["error"]["code"] == "not_authenticated"
    assert await other.messages() == []
    await authenticate(hub, client)
    assert (await client.next())["ok"] is True


@pytest.mark.parametrize(
    ("message", "code"),
    [
        ({"action": "auth"}, "invalid"),
        ({"action": "auth", "token": 5}, "invalid"),
        ({"action": "auth", "token": ""}, "invalid"),
        ({"action": "auth", "token": "x", "user": "42"}, "invalid"),
        ({"action": "login"}, "unknown_action"),
        ({}, "invalid"),
    ],
)
async def test_a_malformed_one_may_be_sent_again(hub: LiveHub, message: dict[str, Any], code: str) -> None:
    client = await hub.open(subprotocol=JSON)
    client.send(**message)
    assert (await client.next())["code"] == code
    client.send_text("not JSON")
    assert (await client.next())["code"] == "invalid_body"
    await authenticate(hub, client)
    assert (await client.next())["ok"] is True


@pytest.mark.parametrize("subprotocol", FORMS)
async def test_a_stranger_is_delivered_nothing(hub: LiveHub, subprotocol: str | None) -> None:
    client = await hub.open(subprotocol=subprotocol, query={"topics": "team:a"})
    for to in ("notifications", "user:42", "team:a"):
        assert (await hub.publish(to, n=1))["live"] == 0
    assert await client.messages() == []


@pytest.mark.parametrize("subprotocol", FORMS)
@pytest.mark.parametrize("expired", [False, True])
async def test_a_bad_token_in_it_is_refused_and_closes(hub: LiveHub, subprotocol: str | None, expired: bool) -> None:
    client = await hub.open(subprotocol=subprotocol)
    token = hub.token(exp=hub.clock.now() - 60) if expired else "nonsense"
    client.send(action="auth", token=token, ref=7)
    assert await client.closed() == (4001 if expired else 4500)
    reply = client.frames[0]
    assert (reply["ref"], reply["ok"], reply["error"]["code"]) == (7, False, "unauthorized")
    assert [frame["hub"] for frame in client.frames[1:]] == (["disconnect"] if subprotocol else [])
    assert not hub.edge.endpoint.unauthenticated


async def test_what_comes_right_behind_it_is_done_after_it(hub: LiveHub) -> None:
    client = await hub.open(subprotocol=JSON)
    await authenticate(hub, client, publish=["**"])
    client.send(action="subscribe", topic="team:a", ref=1)
    client.send(action="publish", to="team:a", notification={"type": "x"}, ref=2)
    got = [await client.next() for _ in range(5)]
    order = [frame.get("ref") or frame.get("hub") or frame["type"] for frame in got]
    assert sorted(map(str, order[2:])) == ["1", "2", "x"]
    assert order[:3] == ["auth", "welcome", 1]


async def test_whoever_says_nothing_in_time_is_closed(hub: LiveHub) -> None:
    plain, controlled = [await hub.open(subprotocol=subprotocol) for subprotocol in (None, JSON)]
    hub.let_pass(4.9)
    late = await hub.open(subprotocol=JSON)
    controlled.send(action="ping", ref=1)  # says something, but not who it is
    assert (await controlled.refused("ping"))["code"] == "not_authenticated"
    hub.let_pass(0.2)
    for client in (plain, controlled):
        assert await client.closed() == 4501
        assert client.close_reason == "auth_timeout"
    assert controlled.frames[-1]["hub"] == "disconnect"
    assert controlled.frames[-1]["reconnect"] is False
    await authenticate(hub, late)
    assert (await late.next())["ok"] is True
    hub.let_pass(60)
    assert (await late.ask("ping"))["ok"] is True


# Again later


@pytest.mark.parametrize("subprotocol", FORMS)
async def test_a_fresh_token_prolongs_the_connection(hub: LiveHub, subprotocol: str | None) -> None:
    now = hub.clock.now()
    client = await hub.connect("42", subprotocol, claims={"exp": now + 100})
    reply = await client.ask("auth", token=hub.token("42", exp=now + 1000, topics=["**"]))
    assert reply == {"hub": "reply", "ref": reply["ref"], "ok": True, "user": "42"}
    hub.let_pass(500)
    assert (await client.ask("ping"))["ok"] is True
    hub.let_pass(506)
    assert await client.closed() == 4001


async def test_it_counts_with_what_it_allows(hub: LiveHub) -> None:
    client, _ = await hub.welcomed("42", topics="team:a,news:b", claims={"publish": ["**"]})
    await client.ask("presence", topic="team:a", watch=True)
    reply = await client.ask("auth", token=hub.token("42", topics=["news:*", "more:*"]))
    assert reply["ok"] is True
    await hub.publish("team:a", n=1)
    await hub.publish("news:b", n=2)
    assert [one["n"] for one in await client.notifications()] == [2]
    assert (await client.refused("subscribe", topic="team:a"))["code"] == "forbidden"
    assert (await client.refused("presence", topic="team:a"))["code"] == "forbidden"
    assert (await client.refused("publish", to="x", notification={"type": "x"}))["code"] == "forbidden"
    assert (await client.ask("subscribe", topic="more:c"))["ok"] is True
    await hub.welcomed("7", topics="team:a")
    hub.sweep()
    assert [one for one in await client.messages() if one.get("hub") == "presence"] == []


@pytest.mark.parametrize(
    ("token", "code"), [("nonsense", "unauthorized"), ("expired", "unauthorized"), ("another user", "forbidden")]
)
async def test_a_bad_one_later_changes_nothing(hub: LiveHub, token: str, code: str) -> None:
    client, _ = await hub.welcomed("42", topics="team:a")
    made = {"expired": hub.token("42", exp=1), "another user": hub.token("7")}.get(token, token)
    assert (await client.refused("auth", token=made))["code"] == code
    assert (await hub.publish(["user:42", "team:a"], n=1))["live"] == 1
    assert (await hub.publish("user:7", n=1))["live"] == 0
    assert len(await client.notifications()) == 1


# Running out


@pytest.mark.parametrize("subprotocol", FORMS)
async def test_a_token_that_runs_out_closes_the_connection(hub: LiveHub, subprotocol: str | None) -> None:
    client = await hub.connect("42", subprotocol, claims={"exp": hub.clock.now() + 100})
    hub.let_pass(20)
    client.send(action="pong")
    await client.messages()
    hub.let_pass(84)  # 4 s over: within the leeway
    await client.messages()
    hub.let_pass(2)
    assert await client.closed() == 4001
    assert client.close_reason == "expired"
    told = [frame for frame in client.frames if frame.get("hub") == "disconnect"]
    expected = {"hub": "disconnect", "code": 4001, "reason": "expired", "reconnect": True, "retry_after_s": 0}
    assert told == ([expected] if subprotocol else [])


@pytest.mark.parametrize(("life", "warned_at"), [(3600, 3540), (100, 80), (10, 8)])
async def test_it_is_told_before_once(hub: LiveHub, life: int, warned_at: int) -> None:
    client, _ = await hub.welcomed("42", claims={"exp": hub.clock.now() + life})
    plain = await hub.connect("42", None, claims={"exp": hub.clock.now() + life})

    async def told() -> list[Any]:
        assert await plain.messages() == []
        return [frame for frame in await client.messages() if frame["hub"] == "token_expiring"]

    hub.let_pass(warned_at - 1)
    assert await told() == []
    hub.let_pass(1)
    assert await told() == [{"hub": "token_expiring", "in_s": life - warned_at}]
    hub.let_pass(1)
    assert await told() == []


async def test_after_a_fresh_token_it_is_told_of_that_one(hub: LiveHub) -> None:
    now = hub.clock.now()
    client, _ = await hub.welcomed("42", claims={"exp": now + 100})
    hub.let_pass(90)
    assert [frame["hub"] for frame in await client.messages()] == ["ping", "token_expiring"]
    await client.ask("auth", token=hub.token("42", exp=now + 300))
    hub.let_pass(20)
    assert "token_expiring" not in [frame["hub"] for frame in await client.messages()]
    hub.let_pass(150)
    assert "token_expiring" in [frame["hub"] for frame in await client.messages()]


async def test_a_dev_connection_never_runs_out(start_hub: StartHub) -> None:
    hub = await start_hub(dev=True)
    client = await hub.open(query={"user": "42"}, subprotocol=JSON)
    for _ in range(3):
        hub.let_pass(40 * 86400)
        await client.messages()
    assert (await client.ask("ping"))["ok"] is True
