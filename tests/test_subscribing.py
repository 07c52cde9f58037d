"""The hub: a durable subscription is made and joined in one call."""

from typing import Any

from hubd.core.channel import parse_channel
from hubd.testing import connect, identity, make_hub
from tests.hub_calls import got, publish


async def test_it_says_which_are_new() -> None:
    hub, _, _ = make_hub()
    assert await hub.make_durable("ada", ["a", "b"], None) == ["a", "b"]
    assert await hub.make_durable("ada", ["c", "a"], identity("ada")) == ["c"]
    assert await hub.make_durable("bob", ["a"], None) == ["a"]


async def test_it_joins_the_connections_that_are_there() -> None:
    hub, _, _ = make_hub()
    ada, narrow, bob = connect(hub, "ada"), connect(hub, identity("ada", topics=())), connect(hub, "bob")
    await hub.make_durable("ada", ["own"], ada.identity)
    await hub.make_durable("ada", ["given"], None)
    assert [list(one.topics) for one in (ada, narrow, bob)] == [["own", "given"], ["given"], []]


async def test_who_asked_may_join_first_and_so_be_replayed() -> None:
    hub, _, _ = make_hub()
    asking, other = connect(hub, "ada"), connect(hub, "ada")
    await publish(hub, "t", id="x")
    replies: list[dict[str, Any]] = []

    def join_first() -> None:
        assert "t" in hub.durables.of("ada"), "it is kept already"
        hub.attendance.subscribe(asking, [parse_channel("t")], hub.attendance.cursor(0), replies.append)
        hub.pump.flush(asking)

    await hub.make_durable("ada", ["t"], asking.identity, join_first)
    await publish(hub, "t", id="y")
    assert [id for id, _ in got(asking)] == ["x", "y"]
    assert [id for id, _ in got(other)] == ["y"]
    assert [reply["replayed"] for reply in replies] == [1]
