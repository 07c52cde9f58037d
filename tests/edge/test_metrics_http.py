"""`/metrics` over HTTP, and what requests and connections leave in it."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from aiohttp.test_utils import TestClient, TestServer
from prometheus_client.openmetrics.parser import text_string_to_metric_families as read_openmetrics
from prometheus_client.parser import text_string_to_metric_families as read_text

from hubd.edge.reception import HEAD_S
from hubd.pump import FEW
from tests.edge.live_hub import HOST, LiveHub, config_of, eventually
from tests.edge.raw_http import Raw
from tests.edge.ws_client import JSON, Refused
from tests.test_metrics import Samples, of, parsed


@pytest.fixture
async def hub() -> AsyncIterator[LiveHub]:
    hub = await LiveHub(
        config_of(limits={"per_ip": 6, "per_user": 2, "unauthenticated": 1, "queue_bytes": 5000})
    ).start()
    yield hub
    await hub.stop()


async def samples(hub: LiveHub) -> Samples:
    hub.clock.advance(1)  # so that connections are looked at anew
    answer = await hub.call("GET", "/metrics", key="admin")
    assert answer.status == 200, answer
    return parsed(answer.body)


async def test_it_takes_a_key_with_the_right_admin(hub: LiveHub) -> None:
    for key, token, status in (
        ("admin", None, 200),
        ("backend", None, 200),
        ("publisher", None, 403),
        (None, None, 401),
        (None, hub.token(), 403),
        (None, "nonsense", 401),
    ):
        answer = await hub.call("GET", "/metrics", key=key, token=token)
        assert answer.status == status, (key, token)
        if status == 200:
            assert "hubd_build_info" in answer.body.decode()


async def test_both_formats(hub: LiveHub) -> None:
    plain = await hub.call("GET", "/metrics")
    assert plain.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert plain.headers["Cache-Control"] == "no-store"
    accept = {"Accept": "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.2"}
    other = await hub.call("GET", "/metrics", headers=accept)
    assert other.headers["Content-Type"].startswith("application/openmetrics-text; version=1.0.0")
    names = {family.name for family in read_text(plain.body.decode())}
    assert names == {family.name for family in read_openmetrics(other.body.decode())}


async def test_requests_by_method_route_and_status(hub: LiveHub) -> None:
    await hub.publish()
    await hub.call("GET", "/api/users/cnry1")
    await hub.call("GET", "/api/users/cnry2")
    await hub.call("GET", "/cnry/nothing")
    await hub.call("POST", "/api/users/cnry3")
    await hub.call("PROPFIND", "/api/users/cnry4")
    await hub.call("GET", "/api/users/x", key="publisher")
    client = await hub.opened(JSON)
    found = await samples(hub)
    name = "hubd_http_requests_total"
    assert of(found, name, method="POST", route="/api/notifications", status="202") == 1
    assert of(found, name, method="GET", route="/api/users/{id}", status="200") == 2
    assert of(found, name, method="GET", route="none", status="404") == 1
    assert of(found, name, method="POST", route="none", status="405") == 1
    assert of(found, name, method="other", route="none", status="405") == 1
    assert of(found, name, method="GET", route="/api/users/{id}", status="403") == 1
    assert of(found, name, route="/notifications") == 1
    assert of(found, "hubd_http_request_seconds_count", route="/api/users/{id}") == 3
    assert not any(dict(labels).get("route") == "/notifications" for seconds, labels in found if "seconds" in seconds)
    assert not any("cnry" in str(place).lower() for place in found)
    assert of(found, "hubd_problems_total", code="not_found") == of(found, name, status="404") == 1
    assert of(found, "hubd_problems_total", code="forbidden") == 1
    client.hang_up()


async def test_what_fails_counts_as_such(hub: LiveHub, monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(body: object) -> None:
        raise ValueError

    with monkeypatch.context() as planted:
        planted.setattr(hub.hub, "prepare", failing)
        assert (await hub.try_publish()).status == 500
    found = await samples(hub)
    assert of(found, "hubd_http_requests_total", status="500") == 1
    assert of(found, "hubd_problems_total", code="internal") == 1


async def test_items_of_a_batch_and_actions_are_problems_of_their_own(hub: LiveHub) -> None:
    items = [{"to": "t", "notification": {"type": "t"}}, {"to": 1}, {"to": "user"}]
    assert (await hub.call("POST", "/api/notifications/batch", items)).status == 200
    client = await hub.opened(JSON)
    await client.refused("subscribe", topic="")
    await client.refused("subscribe", topic="not allowed")
    client.send(action="nonsense")
    await client.refused("publish", to="notifications", notification={})
    found = await samples(hub)
    assert of(found, "hubd_problems_total", code="invalid") == 2 + 3
    assert of(found, "hubd_problems_total", code="unknown_action") == 1
    assert of(found, "hubd_publishes_total", result="accepted") == 1


async def test_connections_by_transport(hub: LiveHub) -> None:
    await hub.opened(JSON, "ada")
    await hub.opened(None, "bob")
    stranger = await hub.open(subprotocol=JSON)
    found = await samples(hub)
    assert of(found, "hubd_connections", transport="websocket") == 2
    assert of(found, "hubd_connections_opened_total", transport="websocket") == 2
    assert of(found, "hubd_unauthenticated_connections") == 1
    stranger.hang_up()


async def test_why_some_are_refused(hub: LiveHub) -> None:
    bad = {"Authorization": "Bearer nonsense"}
    assert await (await hub.open(headers=bad, subprotocol=JSON)).closed() == 4500
    expired = {"Authorization": f"Bearer {hub.token(exp=1)}"}
    assert await (await hub.open(headers=expired)).closed() == 4001
    for _ in range(2):
        await hub.opened(JSON, "ada")
    third = await hub.open(headers={"Authorization": f"Bearer {hub.token('ada')}"})
    assert await third.closed() == 4029
    stranger = await hub.open(subprotocol=JSON)
    with pytest.raises(Refused):
        await hub.open(subprotocol=JSON)
    stranger.send(action="auth", token="nonsense")
    assert await stranger.closed() == 4500
    late = await hub.open(subprotocol=JSON)
    hub.let_pass(5)
    assert await late.closed() == 4501
    await eventually(lambda: not hub.edge.endpoint.leaving)
    for n in range(4):
        await hub.opened(JSON, f"u{n}")
    with pytest.raises(Refused):
        await hub.connect("eve")
    assert (await hub.call("GET", "/notifications?cursor=x", key=None)).status == 429
    found = await samples(hub)
    name = "hubd_connections_refused_total"
    refused = {dict(labels)["reason"]: count for (other, labels), count in found.items() if other == name}
    assert {reason: count for reason, count in refused.items() if count} == {
        "bad_token": 2,
        "expired": 1,
        "per_user": 1,
        "unauthenticated": 1,
        "auth_timeout": 1,
        "per_ip": 2,
    }


async def test_streams_and_polls_that_bring_no_good_token(hub: LiveHub) -> None:
    for accept in ("text/event-stream", "application/json"):
        headers = {"Accept": accept}
        assert (await hub.call("GET", "/notifications", key=None, headers=headers)).status == 401
    found = await samples(hub)
    assert of(found, "hubd_connections_refused_total", reason="unauthorized") == 2


async def test_a_poll_is_a_connection_that_ends_with_its_answer(hub: LiveHub) -> None:
    cursor = (await hub.call("GET", "/notifications", token=hub.token())).body["cursor"]
    waiting = asyncio.ensure_future(hub.call("GET", f"/notifications?cursor={cursor}", token=hub.token()))
    await eventually(lambda: hub.hub.registry.connections)
    assert of(await samples(hub), "hubd_connections", transport="poll") == 1
    await hub.publish("user:42")
    assert len((await waiting).body["notifications"]) == 1
    found = await samples(hub)
    assert of(found, "hubd_connections", transport="poll") == 0
    assert of(found, "hubd_connections_ended_total", reason="answered") == 1
    assert of(found, "hubd_connections_ended_total") == 1
    assert of(found, "hubd_deliveries_total") == 1


async def test_a_flood_and_a_revocation(hub: LiveHub) -> None:
    flooding, revoked = await hub.opened(JSON, "ada"), await hub.opened(JSON, "bob")
    for _ in range(200):
        flooding.send(action="ping")
    assert await flooding.closed() == 4029
    await hub.call("POST", "/api/users/bob/revoke")
    assert await revoked.closed() == 4507
    found = await samples(hub)
    assert of(found, "hubd_connections_ended_total", reason="too_many") == 1
    assert of(found, "hubd_connections_ended_total", reason="revoked") == 1
    assert of(found, "hubd_connections_refused_total") == 0


async def test_http_connections_and_those_that_were_cut(hub: LiveHub) -> None:
    await Raw.open(hub, b"GET /health/live HTTP/1.1\r\nHos")
    await eventually(lambda: len(hub.reception) == 1)
    assert of(await samples(hub), "hubd_http_connections") == 2  # the one that asks
    hub.let_pass(HEAD_S)
    found = await samples(hub)
    assert of(found, "hubd_http_cut_total", reason="slow_head") == of(found, "hubd_http_cut_total") == 1
    assert of(found, "hubd_http_connections") == 1


async def test_on_the_admin_listener_nobody_is_asked_for_a_key(hub: LiveHub) -> None:
    async with TestClient(TestServer(hub.edge.admin_app, host=HOST)) as client:
        answer = await client.get("/metrics")
        assert answer.status == 200
        assert of(parsed(await answer.read()), "hubd_connections") == 0


async def test_bytes_that_go_straight_to_sockets(hub: LiveHub) -> None:
    hub.hub.apply(config_of())
    clients = [await hub.opened(None, f"u{n}") for n in range(FEW + 4)]
    before = of(await samples(hub), "hubd_written_bytes_total")
    await hub.publish("notifications")
    frames = [await client.frame() for client in clients]
    written = sum(len(frame.payload) + 4 for frame in frames if frame)  # a head of 4 bytes: they are over 125 long
    assert of(await samples(hub), "hubd_written_bytes_total") - before == written


async def test_a_poll_that_is_answered_at_once(hub: LiveHub) -> None:
    cursor = hub.hub.attendance.cursor()
    await hub.publish("user:42")
    before = of(await samples(hub), "hubd_written_bytes_total")
    answer = await hub.call("GET", f"/notifications?cursor={cursor}", token=hub.token())
    found = await samples(hub)
    assert of(found, "hubd_written_bytes_total") - before == int(answer.headers["Content-Length"])
    assert of(found, "hubd_replayed_total") == 1
    assert of(found, "hubd_connections_ended_total", reason="answered") == 1


async def test_with_an_admin_listener_they_are_there_alone() -> None:
    hub = await LiveHub(config_of(server={"admin_port": 9000})).start()
    assert (await hub.call("GET", "/metrics", key="admin")).status == 404
    await hub.stop()
