"""A saved file made by somebody who can compute a checksum: whatever stands in it, the hub starts."""

import asyncio
from math import inf
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hubd import saved
from hubd.config import Config
from hubd.config_options import Replay
from hubd.core.subscriptions import Grant
from hubd.hub import Hub
from hubd.saved import save
from hubd.saved_file import read, take, write
from hubd.testing import FakeClock, connect, make_hub
from tests.hub_calls import publish
from tests.saved_world import LaterClock, loaded


@pytest.fixture(scope="module")
def a_full_file(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Any]]:
    """The records of a hub in which there is some of everything, and where to put others."""
    path = tmp_path_factory.mktemp("forged") / "hubd.rings"
    asyncio.run(fill(path))
    file = take(path)
    assert file is not None
    with file:
        return path, list(read(file))


async def fill(path: Path) -> None:
    hub, clock, _ = make_hub(Config(replay=Replay(per_channel=2)))
    ada = connect(hub, "ada", ("t",))
    for place in range(4):
        await publish(hub, ["t", "u"], id=f"n{place}", group="g")
    connect(hub, "eve", ("t",), hub.attendance.cursor(2))
    hub.ack("ada", ["n3"], [ada])
    await hub.durables.put("zoe", "t", Grant(False, ("**",), clock.now()))
    hub.memory.revoked["eve"] = 1.0
    await publish(hub, "user:ada", id="last")
    save(path, hub.memory, clock)


def replaced(value: Any, place: list[int], new: Any) -> Any:
    """The nested tuples with something else at a place, which is counted off at every level."""
    if not place or not isinstance(value, tuple) or not value:
        return new
    at = place[0] % len(value)
    return (*value[:at], replaced(value[at], place[1:], new), *value[at + 1 :])


NONSENSE = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**63), 2**64 - 1),
    st.floats(),
    st.sampled_from([0.0, -1.0, inf, "", "kept", "hub", "user:x", b"", b"{", (), ("t",), {}, ((),)]),
    st.text(max_size=5),
    st.binary(max_size=40),
)


@given(
    row=st.integers(0, 100),
    place=st.lists(st.integers(0, 20), max_size=4),
    new=NONSENSE,
    other=st.integers(0, 100),
    how=st.sampled_from(["change", "change", "change", "drop", "swap", "double"]),
)
@settings(max_examples=300, deadline=None)
def test_forged_in_any_way(
    a_full_file: tuple[Path, list[Any]], row: int, place: list[int], new: Any, other: int, how: str
) -> None:
    path, records = a_full_file[0], [*a_full_file[1]]
    assert {record[0] for record in records} == set(saved._KINDS)
    row, other = row % len(records), other % len(records)
    if how == "change":
        changed = replaced(records[row], place, new)
        records[row] = changed if isinstance(changed, tuple) else (changed,)
    elif how == "drop":
        del records[row]
    elif how == "swap":
        records[row], records[other] = records[other], records[row]
    else:
        records.insert(other, records[row])
    write(path, records)
    clock = LaterClock(FakeClock().now())
    memory = loaded(path, clock)
    assert not path.exists()
    hub = Hub(Config(), clock=clock, ids=saved.Ids(clock, None), call_soon=print, memory=memory)  # type: ignore[arg-type]  # makes no id here
    hub.maintain()
    assert hub.rings.bytes >= 0
    save(path, hub.memory, clock)
    assert loaded(path, clock).epoch == memory.epoch, "what was loaded can be saved"


def test_as_it_was_made_it_is_good(a_full_file: tuple[Path, list[Any]]) -> None:
    write(*a_full_file)
    assert loaded(a_full_file[0], FakeClock()).sequence == 5
