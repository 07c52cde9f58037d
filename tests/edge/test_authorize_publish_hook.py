"""`hubd_authorize_publish`: asked about every publish call, whoever makes it."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from hubd.core.errors import Problem
from hubd.plugin import PluginConfig, PluginHub, hookimpl
from tests.edge.hooked_hub import Censor, HookedHub, Segments, Steered, beside, hooked
from tests.edge.live_hub import eventually
from tests.edge.ws_client import Client


class Speaking(Steered):
    """A plugin that publishes."""

    hub: PluginHub

    def __init__(self, config: PluginConfig) -> None:
        super().__init__(config)

    @hookimpl
    def hubd_startup(self, hub: PluginHub) -> None:
        self.hub = hub


@pytest.fixture
async def hub() -> AsyncIterator[HookedHub]:
    async with hooked(Censor, Speaking, Segments) as made:
        yield made


@pytest.fixture
def gate(hub: HookedHub) -> Censor:
    return hub.made[0]  # type: ignore[no-any-return]


async def listening(hub: HookedHub) -> Client:
    client, _ = await hub.welcomed("1", topics="team,secret")
    return client


def body(to: Any, n: int = 1) -> dict[str, Any]:
    return {"to": to, "notification": {"type": "alert", "n": n}}


async def test_a_server_is_asked_about(hub: HookedHub, gate: Censor) -> None:
    client = await listening(hub)
    gate.denied = {"secret"}
    answer = await hub.try_publish(["team", "secret"], n=1)
    assert (answer.status, answer.code) == (403, "forbidden") and "'secret'" in answer.body["detail"]
    await hub.publish(["team", "user:7"], n=2)
    assert [one["n"] for one in await client.notifications()] == [2], "all or nothing"
    assert gate.asked == [
        ("key:backend", None, ("team", "secret"), 1),
        ("key:backend", None, ("team", "user:7:notifications"), 2),
    ]


async def test_a_user_is_asked_about(hub: HookedHub, gate: Censor) -> None:
    listener = await listening(hub)
    client, _ = await hub.welcomed("42")
    gate.denied = {"secret"}
    assert (await client.refused("publish", **body("secret")))["code"] == "forbidden"
    assert (await client.ask("publish", **body("team", 2)))["ok"]
    gate.fault = RuntimeError("down")
    assert (await client.refused("publish", **body("team", 3)))["code"] == "unavailable"
    assert [one["n"] for one in await listener.notifications()] == [2]
    assert [asked[:3] for asked in gate.asked] == [
        ("user:42", "42", ("secret",)),
        ("user:42", "42", ("team",)),
        ("user:42", "42", ("team",)),
    ]


async def test_a_plugin_is_asked_about(hub: HookedHub, gate: Censor) -> None:
    speaking: PluginHub = hub.made[1].hub
    gate.denied = {"secret"}
    with pytest.raises(Problem, match="secret"):
        await speaking.publish("secret", {"type": "alert"})
    await speaking.publish("team", {"type": "alert"})
    assert [asked[0] for asked in gate.asked] == ["plugin:gate1", "plugin:gate1"]


async def test_each_of_a_batch_is_asked_about(hub: HookedHub, gate: Censor) -> None:
    client = await listening(hub)
    gate.denied = {"secret"}
    batch = [body("team", 1), body("secret", 2), body("team", 3)]
    answer = await hub.call("POST", "/api/notifications/batch", batch)
    assert [item["status"] for item in answer.body] == [202, 403, 202]
    assert [one["n"] for one in await client.notifications()] == [1, 3]


async def test_a_segment_is_asked_about_as_it_stands(hub: HookedHub, gate: Censor) -> None:
    client = await listening(hub)
    assert (await hub.try_publish({"segment": "forbidden"})).code == "forbidden"
    assert hub.made[2].asked == []
    await hub.publish({"segment": "everybody"}, n=1)
    assert [one["n"] for one in await client.notifications()] == [1]
    assert gate.asked[-1] == ("key:backend", None, (), 1)


async def test_what_the_key_and_the_token_refuse_isnt_asked_about(hub: HookedHub, gate: Censor) -> None:
    assert (await hub.try_publish("team", key="news")).status == 403
    client, _ = await hub.welcomed("42", claims={"publish": []})
    assert (await client.refused("publish", **body("team")))["code"] == "forbidden"
    assert gate.asked == []


@pytest.mark.parametrize("how", ["raises", "hangs", "nonsense"])
async def test_nothing_is_published_while_it_fails(how: str) -> None:
    async with hooked(Censor, timeout_s=0.2) as hub:
        gate = hub.made[0]
        client = await listening(hub)
        gate.fault = RuntimeError("down") if how == "raises" else None
        gate.nonsense = "team" if how == "nonsense" else None
        if how == "hangs":
            gate.go.clear()
        answer = await hub.try_publish("team")
        assert (answer.status, answer.headers["Retry-After"]) == (503, "5")
        batch = await hub.call("POST", "/api/notifications/batch", [body("team")])
        assert (batch.body[0]["status"], batch.body[0]["retry_after_s"]) == (503, 5.0)
        assert await client.notifications() == []


async def test_one_that_hangs_delays_nobody_else(hub: HookedHub, gate: Censor) -> None:
    client, _ = await hub.welcomed("42")
    other = await listening(hub)
    gate.go.clear()
    calls = [beside(hub.try_publish("team", n=n)) for n in range(3)]
    client.send(action="publish", ref="1", **body("team", 4))
    client.send(action="ping", ref="2")
    await eventually(lambda: gate.waiting == 4)
    assert (await other.ask("ping"))["ok"]
    assert await other.notifications() == [], "nothing is out before the answer"
    gate.go.set()
    assert [(await client.next())["ref"] for _ in range(2)] == ["1", "2"]
    assert [answer.status for answer in await asyncio.gather(*calls)] == [202] * 3
    assert {one["n"] for one in await other.notifications()} == {0, 1, 2, 4}


async def test_an_id_is_asked_about_each_time(hub: HookedHub, gate: Censor) -> None:
    first = await hub.publish("team", id="x", n=1)
    gate.denied = {"team"}
    assert (await hub.try_publish("team", id="x", n=1)).status == 403
    gate.denied = set()
    again = await hub.publish("team", id="x", n=1)
    assert (again["duplicate"], again["cursor"]) == (True, first["cursor"])


async def test_one_who_leaves_has_published_all_the_same(hub: HookedHub, gate: Censor) -> None:
    listener = await listening(hub)
    client, _ = await hub.welcomed("42")
    gate.go.clear()
    client.send(action="publish", **body("team", 7))
    await gate.is_asked()
    await hub.gone(client)
    gate.go.set()
    assert (await listener.next())["n"] == 7
