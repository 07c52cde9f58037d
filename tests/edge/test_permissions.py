"""What plugins are asked about before somebody gets it, and what an identity knows of it afterwards."""

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest

from hubd.core.channel import parse_channel
from hubd.core.errors import Problem
from hubd.edge.permissions import topics_at_connect, topics_at_renewal, without_denied
from hubd.plugin import Identity
from hubd.testing import PluginWorld, connect, hub_for, identity
from tests.edge.hooked_hub import Objecting


@pytest.fixture
async def world() -> AsyncIterator[PluginWorld]:
    async with hub_for(Objecting, allow_faults=True) as made:
        yield made


async def test_nobody_is_asked_without_a_plugin() -> None:
    class Nothing:
        def __init__(self, config: Any) -> None: ...

    async with hub_for(Nothing) as world:
        who = identity("42")
        assert await without_denied(world.hub, who, ["team", "not a topic!"]) is who


async def test_topics_are_asked_about_once_and_by_their_names(world: PluginWorld) -> None:
    names = ["team", "team", "notifications", "user:42", "user:7", "", "*", "a b", "x" * 300, "news:a"]
    await without_denied(world.hub, identity("42"), names)
    assert world.plugin.asked == [("42", ("team", "news:a"))]


async def test_what_is_denied_is_in_the_identity(world: PluginWorld) -> None:
    world.plugin.denied = {"secret"}
    who = await without_denied(world.hub, identity("42"), ["team", "secret"])
    assert who.denied == {"secret"}
    assert who.may_subscribe(parse_channel("team")) and not who.may_subscribe(parse_channel("secret"))
    assert replace(who, denied=frozenset()) == identity("42"), "nothing else of it changes"


async def test_asked_anew_only_the_last_answer_counts(world: PluginWorld) -> None:
    before = replace(identity("42"), denied=frozenset({"a", "b"}))
    world.plugin.denied = {"c"}
    who = await without_denied(world.hub, before, ["b", "c"])
    assert who.denied == {"a", "c"}, "b was denied, and isn't any more; a wasn't asked about"
    assert world.plugin.asked == [("42", ("b", "c"))]


async def test_what_the_token_doesnt_grant_isnt_asked_about(world: PluginWorld) -> None:
    who: Identity = identity("42", topics=("team:*",))
    assert (await without_denied(world.hub, who, ["other"])).denied == frozenset()
    await without_denied(world.hub, who, ["other", "team:a"])
    assert world.plugin.asked == [("42", ("team:a",))]


async def test_a_failure_is_a_problem(world: PluginWorld) -> None:
    world.plugin.fault = RuntimeError("down")
    with pytest.raises(Problem) as caught:
        await without_denied(world.hub, identity("42"), ["team"])
    assert caught.value.code == "unavailable"


async def test_his_own_durable_topics_are_asked_about_too(world: PluginWorld) -> None:
    hub = world.hub
    await hub.make_durable("42", ["own"], identity("42"))
    await hub.make_durable("42", ["given"], None)
    await hub.make_durable("7", ["of somebody else"], None)
    assert topics_at_connect(hub, identity("42"), "team,x") == ["team", "x", "own"]
    connection = connect(hub, "42", ("joined",))
    hub.watch(connection, "watched")
    assert set(topics_at_renewal(hub, connection)) == {"joined", "own", "given", "watched"}
