"""Visibility by HTTP: for event streams, which have no other way to say it."""

from typing import Any

import pytest

from tests.edge.http_clients import stream
from tests.edge.live_hub import Answer, LiveHub
from tests.edge.ws_client import JSON


async def say(hub: LiveHub, connection: Any, state: Any, user: str = "42") -> Answer:
    body = {"connection": connection, "state": state}
    return await hub.call("POST", "/api/visibility", body, token=hub.token(user))


async def shown(hub: LiveHub, user: str = "42") -> tuple[str, list[tuple[Any, bool]]]:
    body = (await hub.call("GET", f"/api/users/{user}")).body
    return body["presence"], [(one["visibility"], one["attentive"]) for one in body["connections"]]


async def test_a_stream_is_hidden_and_visible(hub: LiveHub) -> None:
    client = await stream(hub)
    id = client.welcome["connection"]
    assert await shown(hub) == ("attentive", [(None, True)])
    answer = await say(hub, id, "hidden")
    assert (answer.status, answer.body) == (200, {"ok": True})
    assert await shown(hub) == ("connected", [("hidden", False)])
    await say(hub, id, "visible")
    assert await shown(hub) == ("attentive", [("visible", True)])
    assert hub.edges[-2:] == [("42", "attentive", "connected"), ("42", "connected", "attentive")]


async def test_visible_is_input_for_half_an_hour(hub: LiveHub) -> None:
    client = await stream(hub)
    id = client.welcome["connection"]
    await say(hub, id, "visible")
    hub.let_pass(1799)
    assert (await shown(hub))[0] == "attentive"
    await say(hub, id, "visible")
    hub.let_pass(1799)
    assert (await shown(hub))[0] == "attentive"
    hub.let_pass(1)
    assert await shown(hub) == ("connected", [("visible", False)])
    await say(hub, id, "visible")
    assert (await shown(hub))[0] == "attentive"


async def test_only_this_connection(hub: LiveHub) -> None:
    one, _ = await stream(hub), await stream(hub)
    await say(hub, one.welcome["connection"], "hidden")
    assert await shown(hub) == ("attentive", [("hidden", False), (None, True)])


async def test_of_a_websocket_too(hub: LiveHub) -> None:
    _, welcome = await hub.welcomed("42", JSON)
    assert (await say(hub, welcome["connection"], "hidden")).status == 200
    assert (await shown(hub))[0] == "connected"


async def test_a_connection_that_there_isnt_or_is_anothers(hub: LiveHub) -> None:
    other = await stream(hub, "7")
    mine = await stream(hub)
    await hub.gone(mine)
    for id in ("nonsense", "0" * 24, other.welcome["connection"], mine.welcome["connection"]):
        answer = await say(hub, id, "hidden")
        assert (answer.status, answer.code) == (404, "not_found")
    assert await shown(hub, "7") == ("attentive", [(None, True)])


async def test_everything_wrong_is_said_at_once(hub: LiveHub) -> None:
    body = {"connection": 7, "state": "asleep", "since": 1}
    answer = await hub.call("POST", "/api/visibility", body, token=hub.token())
    assert sorted(answer.paths) == ["connection", "since", "state"]


@pytest.mark.parametrize(
    ("body", "paths"),
    [
        ({}, ["connection", "state"]),
        ({"connection": "x"}, ["state"]),
        ({"state": "visible"}, ["connection"]),
        ({"connection": "", "state": "Visible"}, ["connection", "state"]),
        ({"connection": "x" * 257, "state": None}, ["connection", "state"]),
        ([], [""]),
    ],
)
async def test_wrong_bodies(hub: LiveHub, body: Any, paths: list[str]) -> None:
    answer = await hub.call("POST", "/api/visibility", body, token=hub.token())
    assert sorted(answer.paths) == paths
