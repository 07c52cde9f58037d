"""The sweep, second by second: pings, silent peers, tokens that run out, strangers, and those who don't let go."""

import asyncio
import logging
from random import Random

import pytest

from hubd.config import Config
from hubd.config_options import Delivery, Limits
from hubd.core.connection import Visibility
from hubd.core.identity import Identity, warn_at
from hubd.core.presence import State
from hubd.edge import sweep as sweep_module
from hubd.edge.app import Edge
from hubd.edge.endpoint import CLOSE_S
from hubd.edge.framing import JSON, form_of
from hubd.edge.keys import ApiKeys
from hubd.edge.sweep import SLICE
from hubd.edge.tokens import LEEWAY_S
from hubd.edge.websocket import Unauthenticated, WebSocketConnection
from hubd.tasks import Tasks
from hubd.testing import RecordingConnection, connect, identity, make_hub
from tests.edge.wire import PING, Wire


class World:
    """A hub with its sweep, on a clock that is turned by hand."""

    def __init__(self, ping_s: float = 25, pong_s: float = 10, auth_s: float = 5) -> None:
        limits = Limits(ping_s=ping_s, pong_s=pong_s, auth_s=auth_s)
        self.hub, self.clock, self.soon = make_hub(Config(limits=limits, delivery=Delivery(attention_ttl_s=60)))
        self.edge = Edge(self.hub, keys=ApiKeys([]), tasks=Tasks(), random=Random(1))
        self.endpoint, self.sweep = self.edge.endpoint, self.edge.sweep

    def connect(self, who: Identity | str = "ada", *, plain: bool = False) -> tuple[WebSocketConnection, Wire]:
        """A connection as the endpoint makes it."""
        who = identity(who) if isinstance(who, str) else who
        subprotocol = None if plain else JSON
        made = WebSocketConnection(
            self.endpoint, "127.0.0.1", who, form_of(subprotocol), subprotocol=subprotocol, acks=False
        )
        made.warn_at = warn_at(who, self.clock.now())
        self.endpoint.addresses.add("127.0.0.1")
        self.hub.attendance.attach(made)
        wire = Wire()
        made.connection_made(wire)
        return made, wire

    def stranger(self) -> Wire:
        """Somebody who hasn't said who he is."""

        async def nobody(token: str) -> Identity:
            raise AssertionError("he says nothing")

        made = Unauthenticated(
            self.endpoint, "127.0.0.1", form_of(JSON), True, nobody, lambda who: self.connect(who)[0]
        )
        self.endpoint.unauthenticated[made] = None
        wire = Wire()
        made.connection_made(wire)
        return wire

    def second(self, seconds: float = 1.0) -> None:
        """Let a second go by, or more at once, and do what is due then."""
        self.clock.advance(seconds)
        self.look()

    def look(self) -> None:
        self.sweep.look(list(self.hub.registry.connections))
        self.sweep.look_at_strangers()
        self.soon.settle()

    def seconds(self, seconds: int) -> None:
        for _ in range(seconds):
            self.second()


def say_something(connection: WebSocketConnection) -> None:
    """The other side sends a pong frame (masked, empty)."""
    connection.data_received(b"\x8a\x80\x00\x00\x00\x00")


# --- Pings


async def test_a_quiet_connection_is_pinged_with_its_cursor() -> None:
    world = World()
    _, wire = world.connect()
    await world.hub.publish(world.hub.prepare({"to": "other", "notification": {"type": "x"}}), "backend")
    world.seconds(24)
    assert wire.told("ping") == []
    world.second()
    assert wire.told("ping") == [{"hub": "ping", "cursor": world.hub.attendance.cursor(1)}]


def test_a_plain_one_is_pinged_as_rfc_6455_says() -> None:
    world = World()
    _, wire = world.connect(plain=True)
    world.seconds(25)
    assert wire.frames() == [(PING, b"")]


def test_who_answers_is_pinged_for_ever() -> None:
    world = World()
    connection, wire = world.connect()
    for number in range(1, 6):
        world.seconds(25)
        assert len(wire.told("ping")) == number
        say_something(connection)
    assert wire.closed_with() is None


@pytest.mark.parametrize(("ping_s", "pong_s"), [(25, 10), (10, 25), (1, 10), (5, 5)])
def test_who_doesnt_answer_in_time_is_ended(ping_s: int, pong_s: int) -> None:
    world = World(ping_s=ping_s, pong_s=pong_s)
    connection, wire = world.connect()
    world.seconds(ping_s + pong_s)
    assert wire.closed_with() is None, "he has the whole time"
    assert len(wire.told("ping")) == 1
    world.second()
    assert wire.closed_with() == 4009
    assert wire.told("disconnect")[0]["reason"] == "no_pong"
    assert connection not in world.hub.registry.connections


def test_whatever_he_says_counts_as_an_answer() -> None:
    world = World()
    connection, wire = world.connect()
    world.seconds(25)
    world.seconds(9)
    say_something(connection)
    world.seconds(15)
    assert wire.closed_with() is None
    assert len(wire.told("ping")) == 1
    world.second()
    assert len(wire.told("ping")) == 2


def test_each_connection_has_its_own_time() -> None:
    world = World()
    _, early = world.connect("ada")
    world.seconds(10)
    _, late = world.connect("bob")
    world.seconds(15)
    assert (len(early.told("ping")), len(late.told("ping"))) == (1, 0)
    world.seconds(11)
    assert (early.closed_with(), late.closed_with()) == (4009, None)


def test_who_is_closing_or_no_websocket_is_left_alone() -> None:
    world = World()
    connection, wire = world.connect()
    recording = connect(world.hub, "bob")
    connection.close(1000, "")
    before = wire.frames()
    world.sweep.look([connection, recording])
    world.clock.advance(100)
    world.sweep.look([connection, recording])
    world.soon.settle()
    assert wire.frames() == before
    assert recording.ended is None


# --- Tokens


def test_a_token_that_runs_out_is_told_once_and_then_ends_the_connection() -> None:
    world = World(ping_s=3600)
    connection, wire = world.connect(identity("ada", expires_at=world.clock.now() + 300))
    world.seconds(239)
    assert wire.told("token_expiring") == []
    world.second()
    assert wire.told("token_expiring") == [{"hub": "token_expiring", "in_s": 60}]
    world.seconds(60 + int(LEEWAY_S))
    assert wire.closed_with() is None, "the leeway counts here too"
    world.second()
    assert wire.closed_with() == 4001
    assert wire.told("disconnect")[0] | {"retry_after_s": 0} == {
        "hub": "disconnect", "code": 4001, "reason": "expired", "reconnect": True, "retry_after_s": 0,
    }  # fmt: skip
    assert len(wire.told("token_expiring")) == 1
    assert connection not in world.hub.registry.connections


def test_a_plain_connection_is_not_told_but_ends_too() -> None:
    world = World(ping_s=3600)
    _, wire = world.connect(identity("ada", expires_at=world.clock.now() + 10), plain=True)
    world.seconds(10 + int(LEEWAY_S))
    assert wire.frames() == []
    world.second()
    assert wire.closed_with() == 4001
    assert len(wire.frames()) == 1


def test_a_fresh_token_begins_anew() -> None:
    world = World(ping_s=3600)
    connection, wire = world.connect(identity("ada", expires_at=world.clock.now() + 100))
    world.seconds(90)
    assert len(wire.told("token_expiring")) == 1
    world.hub.renew(connection, identity("ada", expires_at=world.clock.now() + 100))
    world.seconds(79)
    assert len(wire.told("token_expiring")) == 1
    world.second()
    assert len(wire.told("token_expiring")) == 2
    world.hub.renew(connection, identity("ada"))
    world.second(10**6)
    assert wire.closed_with() is None


def test_after_a_pause_of_the_machine_what_is_over_is_not_announced() -> None:
    world = World(ping_s=3600)
    _, wire = world.connect(identity("ada", expires_at=world.clock.now() + 100))
    world.second(102)
    assert wire.told("token_expiring") == []
    world.second(1000)
    assert wire.closed_with() == 4001


def test_of_two_reasons_to_end_one_is_told() -> None:
    world = World(ping_s=20, pong_s=10)
    _, wire = world.connect(identity("ada", expires_at=world.clock.now() + 31))
    world.second(20)
    world.second(11)
    assert wire.closed_with() == 4009
    world.second(1000)
    assert wire.closed_with() == 4009


# --- Attention


def test_a_visible_tab_without_input_stops_being_looked_at() -> None:
    world = World(ping_s=3600)
    edges: list[tuple[State, State]] = []
    connection, _ = world.connect()
    world.hub.on_presence.append(lambda user, before, after: edges.append((before, after)))
    world.hub.attendance.set_visibility(connection, Visibility.VISIBLE)
    world.seconds(59)
    assert edges == []
    world.second()
    assert edges == [(State.ATTENTIVE, State.CONNECTED)]
    world.seconds(30)
    assert len(edges) == 1


# --- Strangers, and those who are on their way out


def test_who_doesnt_say_who_he_is_in_time_is_ended() -> None:
    world = World()
    first = world.stranger()
    world.seconds(3)
    second = world.stranger()
    world.second()
    assert first.closed_with() is None
    world.second()
    assert (first.closed_with(), second.closed_with()) == (4501, None)
    assert first.told("disconnect")[0]["reconnect"] is False
    assert len(world.endpoint.unauthenticated) == 1
    world.seconds(3)
    assert second.closed_with() == 4501
    assert not world.endpoint.unauthenticated


def test_who_doesnt_answer_a_close_frame_is_cut() -> None:
    world = World()
    connection, wire = world.connect("ada")
    other, other_wire = world.connect("bob")
    connection.close(1000, "")
    world.seconds(2)
    other.close(1000, "")
    world.seconds(int(CLOSE_S) - 3)
    assert not wire.aborted
    world.second()
    assert wire.aborted and not other_wire.aborted
    connection.connection_lost(None)
    assert list(world.endpoint.leaving) == [other]
    world.seconds(2)
    assert other_wire.aborted


# --- The task


async def rounds(world: World, count: int) -> None:
    """Run the sweep until it has been `count` times around."""
    seen = 0
    maintain = world.hub.maintain

    def counting() -> None:
        nonlocal seen
        seen += 1
        maintain()

    world.hub.maintain = counting  # type: ignore[method-assign]
    task = asyncio.get_running_loop().create_task(world.sweep.run())
    try:
        async with asyncio.timeout(10):
            while seen < count:
                await asyncio.sleep(0.001)
    finally:
        task.cancel()
        await asyncio.wait([task])


@pytest.fixture
def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweep_module, "ROUND_S", 0.001)


@pytest.mark.usefixtures("hurry")
async def test_a_round_does_all_that_is_due() -> None:
    world = World()
    connection, wire = world.connect()
    stranger = world.stranger()
    gone = RecordingConnection(world.hub, identity("bob"))
    world.hub.attendance.attach(gone)
    world.hub.lost(gone)
    world.clock.advance(25)
    await rounds(world, 1)
    world.soon.settle()
    assert len(wire.told("ping")) == 1
    assert stranger.closed_with() == 4501
    assert list(world.hub.registry.users) == ["ada"]
    assert connection in world.hub.registry.connections


def test_a_fault_at_one_connection_harms_no_other(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    world = World()
    wires = {user: world.connect(user)[1] for user in ("ada", "bob", "cyd")}
    ping = WebSocketConnection.ping

    def failing(connection: WebSocketConnection, cursor: str) -> None:
        if connection.identity.user != "cyd":
            raise ValueError(f"no ping for {connection.identity.user}")
        ping(connection, cursor)

    monkeypatch.setattr(WebSocketConnection, "ping", failing)
    world.second(25)
    assert len(wires["cyd"].told("ping")) == 1
    (record,) = caplog.records
    assert record.levelno == logging.ERROR
    assert record.exc_info is not None and str(record.exc_info[1]) == "no ping for ada"


@pytest.mark.usefixtures("hurry")
async def test_a_round_that_fails_is_told_and_the_next_one_comes(caplog: pytest.LogCaptureFixture) -> None:
    world = World()
    maintain = world.hub.maintain
    faults = iter([ValueError("once"), ValueError("twice")])

    def failing() -> None:
        for fault in faults:
            raise fault
        maintain()

    world.hub.maintain = failing  # type: ignore[method-assign]
    await rounds(world, 3)
    assert [record.levelno for record in caplog.records[:2]] == [logging.ERROR] * 2
    assert "once" in caplog.text and "twice" in caplog.text
    assert next(faults, None) is None


@pytest.mark.usefixtures("hurry")
async def test_many_connections_are_looked_at_in_slices(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World()
    for number in range(2 * SLICE + 1):
        connect(world.hub, f"u{number}")
    sizes: list[int] = []
    turns: list[int] = []
    monkeypatch.setattr(world.sweep, "look", lambda some: (sizes.append(len(some)), turns.append(turn)))
    turn = 0

    async def count_turns() -> None:
        nonlocal turn
        while True:
            turn += 1
            await asyncio.sleep(0)

    counting = asyncio.get_running_loop().create_task(count_turns())
    await rounds(world, 1)
    counting.cancel()
    assert sizes[:3] == [SLICE, SLICE, 1]
    assert turns[0] < turns[1] < turns[2], "the loop gets its turn in between"
