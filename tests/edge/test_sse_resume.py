"""Event streams that resume: cursors, replays and gaps."""

import asyncio
import re
from typing import Any

import pytest

from tests.edge.conftest import StartHub
from tests.edge.http_clients import EVENTS, Event, EventStream, open_stream, proof, stream, target
from tests.edge.live_hub import LiveHub, eventually

BAD_CURSORS = ["nonsense", "x" * 65, "x" * 5000, "-", "aa-1-2", "é", "a b", "0"]


def gaps_of(events: list[Event]) -> list[tuple[Any, Any]]:
    return [(event.data["channel"], event.data["reason"]) for event in events if event.data.get("hub") == "gap"]


def numbers_of(events: list[Event]) -> list[Any]:
    return [event.data["n"] for event in events if event.kind == "message"]


async def test_what_came_meanwhile_is_replayed_then_it_goes_on_live(hub: LiveHub) -> None:
    client = await stream(hub, topics="team:a")
    await hub.publish("team:a", n=0)
    (first,) = await client.notifications(hub)
    await hub.gone(client)
    for n in range(1, 6):
        await hub.publish(("team:a", "user:42", "notifications")[n % 3], n=n)
    back = await open_stream(hub, topics="team:a", cursor=first["cursor"])
    assert await back.block() == [f"retry: {retry_of(back.raw)}".encode(), f"id: {first['cursor']}".encode()]
    back.welcome = (await back.next()).data
    assert (back.welcome["cursor"], back.welcome["recovered"]) == (first["cursor"], True)
    await hub.publish("team:a", n=6)
    events = await back.until(hub)
    assert numbers_of(events) == [1, 2, 3, 4, 5, 6] and gaps_of(events) == []
    assert [event.id for event in events] == [event.data["cursor"] for event in events]


def retry_of(raw: bytes) -> int:
    found = re.match(rb"retry: (\d+)\n", raw)
    assert found
    return int(found[1])


async def test_the_header_of_a_browser_that_comes_back_beats_the_address(hub: LiveHub) -> None:
    old = (await hub.publish("user:42", n=0))["cursor"]
    new = (await hub.publish("user:42", n=1))["cursor"]
    await hub.publish("user:42", n=2)
    back = await stream(hub, cursor=old, headers={"Last-Event-ID": new})
    assert back.welcome["cursor"] == new
    assert numbers_of(await back.until(hub)) == [2]
    back = await stream(hub, cursor=new, headers={"Last-Event-ID": old})
    assert numbers_of(await back.until(hub)) == [1, 2]
    back = await stream(hub, cursor="nonsense", headers={"Last-Event-ID": new})
    assert back.welcome["recovered"] is True
    back = await stream(hub, cursor=new, headers={"Last-Event-ID": ""})
    assert numbers_of(await back.until(hub)) == [2], "an empty one is none"


async def test_a_bare_id_is_good_to_go_on_from(hub: LiveHub) -> None:
    client = await stream(hub)
    await hub.publish("team:others")
    hub.let_pass(15)
    await client.until(hub)
    await hub.gone(client)
    await hub.publish("user:42", n=1)
    back = await stream(hub, headers={"Last-Event-ID": client.last_id})
    assert back.welcome["recovered"] is True and numbers_of(await back.until(hub)) == [1]


async def test_the_first_id_is_good_to_go_on_from(hub: LiveHub) -> None:
    """Also where the stream broke before anything else came."""
    cursor = (await hub.publish("user:42", n=0))["cursor"]
    for n in range(1, 3):
        await hub.publish("user:42", n=n)
    for _ in range(3):
        client = await open_stream(hub, cursor=cursor)
        first = await client.block()
        assert first is not None and client.dispatch(first) is None
        cursor = client.last_id
        client.reset()
    back = await stream(hub, cursor=cursor)
    assert numbers_of(await back.until(hub)) == [1, 2]


@pytest.mark.parametrize("where", ["header", "address"])
@pytest.mark.parametrize("cursor", BAD_CURSORS)
async def test_a_bad_cursor_is_told_and_all_there_is_comes(hub: LiveHub, cursor: str, where: str) -> None:
    for n in range(3):
        await hub.publish("user:42", n=n)
    if where == "header":
        back = await stream(hub, headers={"Last-Event-ID": cursor})
    else:
        back = await stream(hub, cursor=cursor)
    assert back.welcome["recovered"] is False
    events = await back.until(hub)
    assert gaps_of(events) == [(None, "bad_cursor")] and events[0].data["hub"] == "gap"
    assert events[0].kind == "hub" and set(events[0].data) == {"hub", "channel", "reason"}
    assert numbers_of(events) == [0, 1, 2]


async def test_a_cursor_from_the_future_is_a_bad_one(hub: LiveHub) -> None:
    cursor = (await hub.publish("user:42", n=0))["cursor"]
    epoch, _, number = cursor.rpartition("-")
    back = await stream(hub, cursor=f"{epoch}-{int(number) + 1}")
    assert gaps_of(await back.until(hub)) == [(None, "bad_cursor")]


async def test_a_cursor_of_another_life_of_the_hub(hub: LiveHub) -> None:
    cursor = (await hub.publish("user:42", n=0))["cursor"]
    back = await stream(hub, cursor="zzzzzzzzzz" + cursor[10:])
    events = await back.until(hub)
    assert gaps_of(events) == [(None, "epoch")] and numbers_of(events) == [0]
    back = await stream(hub, cursor=back.last_id)
    assert back.welcome["recovered"] is True, "it is told once"


async def test_what_was_evicted_is_told_with_its_channel(start_hub: StartHub) -> None:
    hub = await start_hub(replay={"per_channel": 3})
    cursor = (await hub.publish("user:42", n=0))["cursor"]
    for n in range(1, 6):
        await hub.publish("team:a", n=n)
    back = await stream(hub, topics="team:a,team:b", cursor=cursor)
    assert back.welcome["recovered"] is False
    events = await back.until(hub)
    assert gaps_of(events) == [("team:a", "evicted")] and numbers_of(events) == [3, 4, 5]
    assert events[0].data["hub"] == "gap"
    again = await stream(hub, topics="team:a,team:b", cursor=back.last_id)
    assert again.welcome["recovered"] is True and await again.until(hub) == []


async def test_a_long_replay_comes_whole_while_more_is_published(start_hub: StartHub) -> None:
    hub = await start_hub(replay={"per_channel": 10_000}, limits={"queue_bytes": 65536})
    cursor = (await hub.publish("user:42", n=-1))["cursor"]
    body = "x" * 500
    for n in range(600):
        await hub.publish("user:42", notification={"type": "x", "n": n, "body": body})
    back = await stream(hub, cursor=cursor, receive_buffer=4096)
    for n in range(600, 650):
        await hub.publish("user:42", notification={"type": "x", "n": n, "body": body})
    got = [(await back.next()).data["n"] for _ in range(650)]
    assert got == list(range(650))
    await eventually(lambda: all(one.live for one in hub.hub.registry.connections))


async def test_during_a_replay_the_bare_id_is_no_later_than_what_came(start_hub: StartHub) -> None:
    hub = await start_hub(replay={"per_channel": 10_000}, limits={"queue_bytes": 16384})
    expected = (await hub.publish("user:42", n=-1))["cursor"]
    for n in range(300):
        await hub.publish("user:42", notification={"type": "x", "n": n, "body": "x" * 1000})
    back = await EventStream.open(hub)
    back.request(target(cursor=expected), {"Accept": EVENTS} | proof(hub, "42"))
    while not hub.hub.registry.connections:
        await asyncio.sleep(0)
    (connection,) = hub.hub.registry.connections
    turns = 0
    while connection.replays:
        hub.let_pass(15)
        turns += 1
        await asyncio.sleep(0)
    await back.begin()
    seen_alone = 0
    while expected != hub.hub.attendance.cursor():
        block = await back.block()
        assert block is not None
        event = back.dispatch(block)
        if event is None:
            seen_alone += 1
            assert back.last_id == expected
        elif event.kind == "message":
            expected = event.id
    assert seen_alone > turns / 2 > 5, "the head's and the signs of life"


async def test_who_breaks_off_before_the_gap_is_told_it_the_next_time(hub: LiveHub) -> None:
    """A browser keeps each id at once: none that comes before the gap may hide it."""
    cursor = (await hub.publish("user:42", n=0))["cursor"]
    old = "zzzzzzzzzz" + cursor[10:]
    client = await open_stream(hub, cursor=old)
    told = found_again = False
    while (event := client.dispatch(await client.block() or [])) is None or event.kind == "hub":
        again = await stream(hub, headers={"Last-Event-ID": client.last_id})
        if event is not None and event.data["hub"] == "gap":
            told = True  # from the bare id behind it on, it has been told
        elif not told:
            assert gaps_of(await again.until(hub)) == [(None, "epoch")]
        else:
            assert again.welcome["recovered"] is True
            assert numbers_of(await again.until(hub)) == [0], "nothing is lost between the gap and the replay"
            found_again = True
        again.hang_up()
    assert found_again
