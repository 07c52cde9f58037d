"""The sweep, when something about one connection goes wrong: nobody else is the worse for it."""

import pytest

from hubd.core.connection import Connection
from hubd.edge.endpoint import CLOSE_S
from hubd.edge.websocket import Unauthenticated
from tests.edge.live_hub import Faults, LiveHub, eventually


def taken(faults: Faults) -> str:
    """The only fault that was logged; it counts for nothing any more."""
    (fault,) = faults.found
    faults.found.clear()
    return fault


async def test_a_fault_at_one_connection_is_its_own(
    hub: LiveHub, faults: Faults, monkeypatch: pytest.MonkeyPatch
) -> None:
    for user in ("bad", "worse"):
        await hub.welcomed(user)
    good, _ = await hub.welcomed("good")
    cursor_of = hub.hub.attendance.cursor_of

    def failing(connection: Connection) -> str:
        if connection.identity.user != "good":
            raise ValueError(connection.identity.user)
        return cursor_of(connection)

    monkeypatch.setattr(hub.hub.attendance, "cursor_of", failing)
    hub.let_pass(25)
    assert (await good.next())["hub"] == "ping"
    logged = taken(faults)
    assert "connections=2" in logged
    assert "ValueError: bad" in logged and "worse" not in logged, "one traceback, however many there are"


async def test_so_it_is_at_a_stranger_and_at_one_that_leaves(
    hub: LiveHub, faults: Faults, monkeypatch: pytest.MonkeyPatch
) -> None:
    strangers = [await hub.open() for _ in range(2)]
    refuse = Unauthenticated.refuse
    calls: list[Unauthenticated] = []

    def first_fails(self: Unauthenticated, *why: object) -> None:
        calls.append(self)
        if len(calls) == 1:
            raise ValueError("odd")
        refuse(self, *why)  # type: ignore[arg-type]  # as it was called

    monkeypatch.setattr(Unauthenticated, "refuse", first_fails)
    hub.let_pass(5)
    assert "ValueError: odd" in taken(faults)
    assert len(hub.edge.endpoint.leaving) == 1
    hub.let_pass(CLOSE_S)
    assert [await stranger.closed() for stranger in strangers] == [4501, 4501]
    await eventually(lambda: len(hub.edge.endpoint.leaving) < 2)


async def test_what_is_due_once_a_second_comes_whatever_the_sweep_does(
    hub: LiveHub, faults: Faults, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(connections: object) -> None:
        raise ValueError("odd")

    rounds: list[str] = []

    def maintain() -> None:
        rounds.append("maintain")
        raise ValueError("even")

    await hub.welcomed()
    monkeypatch.setattr("hubd.edge.sweep.ROUND_S", 0.001)
    with monkeypatch.context() as broken:
        broken.setattr(hub.edge.sweep, "look", failing)
        broken.setattr(hub.hub, "maintain", maintain)
        hub.run_in_real_time()
        await eventually(lambda: len(rounds) >= 2)
        await hub.stop_sweeping()
    assert len([fault for fault in faults.found if "ValueError: odd" in fault]) >= 2
    assert len([fault for fault in faults.found if "ValueError: even" in fault]) >= 2
    faults.found.clear()
