"""Devices that were taken before there was a plugin for them are checked when there is one."""

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest

from hubd.core.errors import FieldError, Problem, invalid
from hubd.hooks.push import Address
from hubd.push.rechecking import SLICE, is_needed, recheck
from hubd.push.unserved import UNCHECKED
from hubd.testing import RecordingBackend
from tests.push.devices_world import World
from tests.steered_store import SteeredStore


class Backend(RecordingBackend):
    """Knows tokens by their last part, and has an opinion about some."""

    def check(self, fields: Mapping[str, Any]) -> Address:
        token = fields["token"]
        match token.partition("-")[0]:
            case "bad":
                raise invalid([FieldError("token", "no")])
            case "fault":
                raise Problem("internal", "the plugin failed")
            case "worse":
                raise ZeroDivisionError
        return Address(token.partition("-")[2] or token, {"token": token, "env": "sandbox"}, "app")


@pytest.fixture
def world() -> World:
    return World(SteeredStore())


async def taken(world: World, user: str, token: str) -> str:
    device, _ = await world.devices.put(user, "apns", Address(token, {"token": token}, UNCHECKED))
    world.clock.advance(1)
    return device.id


async def test_what_is_right_is_registered_as_the_plugin_says(world: World) -> None:
    same, other = await taken(world, "ada", "t1"), await taken(world, "ada", "x-t2")
    before = [one.registered_at for one in world.devices.listed("ada")]
    await recheck(world.devices, {"apns": Backend("apns")})
    first, second = (one.device for one in world.devices.listed("ada"))
    assert (first.id, first.app, first.address) == (same, "app", {"token": "t1", "env": "sandbox"})
    assert second.id != other
    assert (second.app, second.address["token"]) == ("app", "x-t2")
    assert [one.registered_at for one in world.devices.listed("ada")] == before, "that wasn't now"
    await world.settled()
    assert {one.app for one in world.stored().values()} == {"app"}


async def test_what_is_wrong_is_dropped_and_faults_of_the_plugin_change_nothing(world: World) -> None:
    for token in ("bad-1", "fault-1", "worse-1"):
        await taken(world, "ada", token)
    await recheck(world.devices, {"apns": Backend("apns")})
    assert world.tokens("ada") == ["fault-1", "worse-1"]
    assert {one.device.app for one in world.devices.listed("ada")} == {UNCHECKED}


async def test_others_are_left_alone(world: World) -> None:
    await taken(world, "ada", "bad-1")
    await world.put("bob", "bad-2", "app")
    assert not is_needed(world.devices, {"fcm": Backend("fcm")})
    assert is_needed(world.devices, {"apns": Backend("apns")})
    await recheck(world.devices, {"fcm": Backend("fcm")})
    assert world.tokens("ada") == ["bad-1"]
    await recheck(world.devices, {"fcm": Backend("fcm"), "apns": Backend("apns")})
    assert world.tokens("ada") == []
    assert world.tokens("bob") == ["bad-2"]


async def test_whoever_has_registered_it_since_keeps_it(world: World) -> None:
    await taken(world, "ada", "x-t1")
    await world.devices.put("bob", "apns", Address("t1", {"token": "t1"}, "app"))
    await recheck(world.devices, {"apns": Backend("apns")})
    assert world.tokens("ada") == []
    assert world.tokens("bob") == ["t1"]


async def test_what_cannot_be_stored_stays_for_the_next_time(world: World) -> None:
    await taken(world, "ada", "x-t1")
    await taken(world, "ada", "bad-1")
    assert world.store is not None
    world.store.trouble = "away"
    await recheck(world.devices, {"apns": Backend("apns")})
    assert world.tokens("ada") == ["x-t1", "bad-1"]
    world.store.trouble = ""
    await recheck(world.devices, {"apns": Backend("apns")})
    assert [one.device.app for one in world.devices.listed("ada")] == ["app"]


async def test_very_many_are_done_in_slices(world: World) -> None:
    for place in range(3 * SLICE):
        await taken(world, f"u{place}", f"t{place}")
    assert world.store is not None
    world.store.holds = True
    checking = asyncio.create_task(recheck(world.devices, {"apns": Backend("apns")}))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert len(world.store.held) == SLICE
    world.store.holds = False
    world.store.let_go()
    await asyncio.wait_for(checking, 20)
    assert {one.app for one in world.stored().values()} == {"app"}
