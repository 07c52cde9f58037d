"""Tickets: a proof that may stand in an address, for who can't send a header."""

import gc
from typing import Any

import pytest

from hubd.core.connection import Connection
from tests.edge.conftest import StartHub
from tests.edge.http_clients import EVENTS, EventStream, PollClient, poller, refused, stream, target
from tests.edge.live_hub import LISTED_ORIGIN, LiveHub, eventually
from tests.edge.ws_client import JSON


async def ticket(hub: LiveHub, user: str = "42", **claims: Any) -> str:
    """A new ticket of a user who may subscribe to everything."""
    answer = await hub.call("POST", "/api/tickets", token=hub.token(user, **{"topics": ["**"]} | claims))
    assert answer.status == 201 and set(answer.body) == {"ticket", "expires_in"}, answer
    assert answer.body["expires_in"] == 60
    return str(answer.body["ticket"])


async def close_code(hub: LiveHub, given: str, **query: str) -> int:
    client = await hub.open(subprotocol=JSON, query={"ticket": given, **query})
    return await client.closed()


async def poll_status(hub: LiveHub, given: str) -> int:
    client = await PollClient.open(hub)
    client.request(target(ticket=given, cursor=hub.hub.attendance.cursor(), wait=0))
    return (await client.answer()).status


async def status_of(hub: LiveHub, given: str) -> int:
    return (await refused(hub, None, ticket=given)).status


# Made


async def test_it_is_long_and_each_is_another(hub: LiveHub) -> None:
    made = {await ticket(hub) for _ in range(20)}
    assert len(made) == 20
    assert all(len(one) >= 32 and one.isalnum() for one in made), "it stands in addresses"


async def test_who_may_have_one(hub: LiveHub) -> None:
    assert (await hub.call("POST", "/api/tickets", key=None)).status == 401
    assert (await hub.call("POST", "/api/tickets", key="backend")).status == 403
    assert (await hub.call("POST", "/api/tickets", token="nonsense")).status == 401
    cookie = {"Cookie": f"hubd_token={hub.token()}"}
    assert (await hub.call("POST", "/api/tickets", key=None, headers=cookie)).status == 403
    assert (await hub.call("POST", "/api/tickets", key=None, headers=cookie | {"Origin": LISTED_ORIGIN})).status == 201
    evil = {"Origin": "https://evil.example"}
    assert (await hub.call("POST", "/api/tickets", token=hub.token(), headers=evil)).status == 403
    assert (await hub.call("GET", "/api/tickets", token=hub.token())).status == 405


async def test_one_doesnt_make_another(hub: LiveHub) -> None:
    answer = await hub.call("POST", f"/api/tickets?ticket={await ticket(hub)}", key=None)
    assert (answer.status, answer.code) == (401, "unauthorized")


async def test_in_dev_mode(start_hub: StartHub) -> None:
    hub = await start_hub(dev=True)
    answer = await hub.call("POST", "/api/tickets?user=7", key=None)
    assert answer.status == 201
    client = await stream(hub, None, ticket=answer.body["ticket"], topics="team:a")
    assert (client.welcome["user"], client.welcome["topics"]) == ("7", ["team:a"])
    hub.clock.advance(3600)
    assert (await stream(hub, None, ticket=answer.body["ticket"])).welcome["user"] == "7"


# Used


async def test_it_opens_a_stream_with_all_that_its_token_allows(hub: LiveHub) -> None:
    client = await stream(hub, None, ticket=await ticket(hub, topics=["team:*"]), topics="team:a,news")
    assert (client.welcome["user"], client.welcome["topics"]) == ("42", ["team:a"])
    await hub.publish("user:42", n=1)
    assert (await client.next()).data["n"] == 1


async def test_it_opens_a_websocket_and_a_poll(hub: LiveHub) -> None:
    socket = await hub.open(subprotocol=JSON, query={"ticket": await ticket(hub)})
    assert (await socket.next())["user"] == "42"
    client = await poller(hub, None)
    await client.ask_and_wait(hub.hub.attendance.cursor(), ticket=await ticket(hub, "7"))
    await hub.publish("user:7", n=1)
    assert [one["n"] for one in (await client.got())["notifications"]] == [1]


async def test_an_unknown_one(hub: LiveHub) -> None:
    for given in ("nonsense", "", "x" * 5000, "é", hub.token(), (await ticket(hub))[:-1]):
        assert await status_of(hub, given) == 401
        assert await poll_status(hub, given) == 401
        assert await close_code(hub, given) == 4500


async def test_one_that_wasnt_used_in_time(hub: LiveHub) -> None:
    late, in_time = await ticket(hub), await ticket(hub)
    hub.clock.advance(59.9)
    await stream(hub, None, ticket=in_time)
    hub.clock.advance(0.1)
    assert await status_of(hub, late) == 401
    assert await poll_status(hub, late) == 401
    assert await close_code(hub, late) == 4001
    await ticket(hub)  # forgets what is over
    assert await status_of(hub, late) == 401


async def test_its_stream_may_be_opened_again_until_the_token_expires(hub: LiveHub) -> None:
    given = await ticket(hub, exp=hub.clock.now() + 600)
    for n in range(5):
        client = await stream(hub, None, ticket=given)
        assert client.welcome["user"] == "42"
        client.reset()
        await eventually(hub.is_empty)
        if n < 4:
            hub.clock.advance(149)
    hub.clock.advance(10)
    assert await status_of(hub, given) == 401
    assert await close_code(hub, given) == 4001


async def test_it_counts_against_the_token_while_the_stream_lasts(hub: LiveHub) -> None:
    client = await stream(hub, None, ticket=await ticket(hub, exp=hub.clock.now() + 600))
    hub.let_pass(606)
    (*_, last) = await client.ended()
    assert last.data["code"] == 4001


async def test_a_token_that_runs_out_before_the_ticket_is_used(hub: LiveHub) -> None:
    given = await ticket(hub, exp=hub.clock.now() + 10)
    hub.clock.advance(20)
    assert await status_of(hub, given) == 401


async def test_a_second_stream_with_it_takes_the_place_of_the_first(hub: LiveHub) -> None:
    given = await ticket(hub)
    first = await stream(hub, None, ticket=given)
    second = await stream(hub, None, ticket=given)
    assert await first.ended() == []
    await hub.publish("user:42", n=1)
    assert (await second.next()).data["n"] == 1
    third = await hub.open(subprotocol=JSON, query={"ticket": given})
    assert (await third.next())["hub"] == "welcome"
    assert await second.ended() == []
    fourth = await poller(hub, None)
    before = list(hub.hub.registry.connections)
    fourth.ask(hub.hub.attendance.cursor(), ticket=given)
    assert await third.closed() == 1006
    await eventually(lambda: list(hub.hub.registry.connections) != before)
    assert [one.transport_name for one in hub.hub.registry.connections] == ["poll"]


async def test_two_tickets_are_two_streams(hub: LiveHub) -> None:
    clients = [await stream(hub, None, ticket=await ticket(hub)) for _ in range(3)]
    assert (await hub.publish("user:42", n=1))["live"] == 3
    for client in clients:
        assert (await client.next()).data["n"] == 1


async def test_a_poll_after_the_other_with_one_ticket(hub: LiveHub) -> None:
    given = await ticket(hub)
    client = await poller(hub, None)
    cursor = (await client.poll(ticket=given))["cursor"]
    hub.clock.advance(59)
    for n in range(5):
        await client.ask_and_wait(cursor, ticket=given)
        await hub.publish("user:42", n=n)
        body = await client.got()
        assert [one["n"] for one in body["notifications"]] == [n]
        cursor = body["cursor"]
        hub.clock.advance(30)


async def test_the_first_poll_binds_it_even_if_it_has_no_cursor(hub: LiveHub) -> None:
    given = await ticket(hub)
    client = await poller(hub, None)
    cursor = (await client.poll(ticket=given))["cursor"]
    hub.clock.advance(61)
    assert (await client.poll(cursor, ticket=given, wait=0))["gap"] is None


async def test_a_header_beats_it(hub: LiveHub) -> None:
    given = await ticket(hub, "7")
    client = await stream(hub, "42", ticket=given)
    assert client.welcome["user"] == "42"
    hub.clock.advance(61)
    assert await status_of(hub, given) == 401, "it wasn't used"
    assert (await refused(hub, None, ticket=await ticket(hub), headers={"Authorization": "Bearer x"})).status == 401
    cookie = {"Cookie": f"hubd_token={hub.token('9')}", "Origin": LISTED_ORIGIN}
    assert (await stream(hub, None, ticket=await ticket(hub), headers=cookie)).welcome["user"] == "9"


async def test_it_beats_the_rest_of_the_address(start_hub: StartHub) -> None:
    hub = await start_hub(auth={"query_token": True})
    client = await stream(hub, None, ticket=await ticket(hub, "7"), token=hub.token("42"))
    assert client.welcome["user"] == "7"
    assert (await refused(hub, None, ticket="nonsense", token=hub.token("42"))).status == 401


async def test_it_is_good_for_nothing_else(hub: LiveHub) -> None:
    given = await ticket(hub)
    for method, path, body in (
        ("GET", "/api/subscriptions", None),
        ("PUT", "/api/subscriptions/news", None),
        ("POST", "/api/acks", {"ids": ["x"]}),
        ("POST", "/api/visibility", {"connection": "x", "state": "hidden"}),
        ("GET", "/api/channels/news/history", None),
    ):
        answer = await hub.call(method, f"{path}?ticket={given}", body, key=None)
        assert (answer.status, answer.code) == (401, "unauthorized"), path
    await stream(hub, None, ticket=given)


async def test_a_foreign_page_with_a_ticket_is_still_foreign(hub: LiveHub) -> None:
    why = await refused(hub, None, ticket=await ticket(hub), headers={"Origin": "https://evil.example"})
    assert (why.status, why.code) == (403, "forbidden")


async def test_a_revoked_users(hub: LiveHub) -> None:
    used, unused = await ticket(hub), await ticket(hub)
    client = await stream(hub, None, ticket=used)
    await hub.call("POST", "/api/users/42/revoke")
    (*_, last) = await client.ended()
    assert last.data["code"] == 4507
    for given in (used, unused):
        assert await status_of(hub, given) == 401
        assert await poll_status(hub, given) == 401
        assert await close_code(hub, given) == 4507
    hub.clock.advance(15)
    assert (await stream(hub, None, ticket=await ticket(hub))).welcome["user"] == "42", "a new token's is good"


async def test_a_refused_stream_doesnt_use_it(start_hub: StartHub) -> None:
    hub = await start_hub(limits={"per_user": 1})
    first, second = await ticket(hub), await ticket(hub)
    client = await stream(hub, None, ticket=first)
    assert (await refused(hub, None, ticket=second)).status == 429
    await hub.gone(client)
    await stream(hub, None, ticket=second)


async def test_a_stream_that_opens_anew_isnt_one_too_many(start_hub: StartHub) -> None:
    """Its end may not have been seen yet."""
    hub = await start_hub(limits={"per_user": 1})
    given = await ticket(hub)
    await stream(hub, None, ticket=given)
    assert (await stream(hub, None, ticket=given)).welcome["user"] == "42"


# Limits


async def test_so_many_of_a_user_may_wait(hub: LiveHub) -> None:
    made = [await ticket(hub) for _ in range(100)]
    answer = await hub.call("POST", "/api/tickets", token=hub.token())
    assert (answer.status, answer.code) == (429, "rate_limited") and 1 <= int(answer.headers["Retry-After"]) <= 60
    await ticket(hub, "7")
    client = await stream(hub, None, ticket=made[0])
    await ticket(hub)
    assert (await hub.call("POST", "/api/tickets", token=hub.token())).status == 429
    await hub.gone(client)
    hub.clock.advance(60)
    await ticket(hub)


async def test_old_ones_are_forgotten_first(hub: LiveHub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hubd.edge.tickets.WAITING", 3)
    monkeypatch.setattr("hubd.edge.tickets.BOUND", 3)
    made = [await ticket(hub, f"u{n}") for n in range(5)]
    assert [await status_of(hub, given) for given in made[:2]] == [401, 401]
    clients = [await stream(hub, None, ticket=given) for given in made[2:]]
    await stream(hub, None, ticket=made[2])  # the one used last
    clients.append(await stream(hub, None, ticket=await ticket(hub, "u5")))
    assert await status_of(hub, made[3]) == 401
    assert await clients[1].until(hub) == [], "its stream goes on all the same"
    await stream(hub, None, ticket=made[2])


async def test_nothing_is_left_of_old_ones(hub: LiveHub) -> None:
    tickets = hub.edge.endpoint.tickets
    for n in range(10):
        given = await ticket(hub, f"u{n}", exp=hub.clock.now() + 100)
        if n % 2:
            (await stream(hub, None, ticket=given)).reset()
    hub.clock.advance(106)
    tickets.expire()
    assert not tickets._waiting and not tickets._waiting_of and not tickets._bound


async def test_a_stream_that_is_gone_isnt_kept(hub: LiveHub) -> None:
    given = await ticket(hub)
    client = await EventStream.open(hub)
    client.request(target(ticket=given), {"Accept": EVENTS})
    await client.begin()
    client.reset()
    await eventually(hub.is_empty)
    kept = hub.edge.endpoint.tickets._bound[given]
    assert not any(isinstance(found, Connection) for found in gc.get_referents(kept))
