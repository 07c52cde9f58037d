"""Devices that registered while no plugin served their platform: one does now, and says what they are."""

import asyncio
from collections.abc import Mapping
from contextlib import suppress

from hubd.core.errors import Problem
from hubd.hooks.push import Device, PushBackend
from hubd.push.devices import Devices
from hubd.push.unserved import UNCHECKED

SLICE = 50
"""So many are registered anew at a time."""


def is_needed(devices: Devices, backends: Mapping[str, PushBackend]) -> bool:
    """Whether there is anything to check."""
    return bool(_unchecked(devices, backends))


def _unchecked(devices: Devices, backends: Mapping[str, PushBackend]) -> list[int]:
    return devices.numbers_of_app([(platform, UNCHECKED) for platform in backends])


async def recheck(devices: Devices, backends: Mapping[str, PushBackend]) -> None:
    """Have those devices checked; one that the plugin says is wrong is dropped.

    What can't be checked or stored now stays as it is until the next start.
    """
    unchecked = _unchecked(devices, backends)
    for place in range(0, len(unchecked), SLICE):
        await asyncio.gather(*(_recheck(devices, backends, number) for number in unchecked[place : place + SLICE]))
        await asyncio.sleep(0)


async def _recheck(devices: Devices, backends: Mapping[str, PushBackend], number: int) -> None:
    device = devices.get(number)
    backend = None if device is None else backends.get(device.platform)
    if device is None or backend is None or device.app != UNCHECKED:
        return
    try:
        address = backend.check(device.address)
    except Problem as problem:
        if problem.code == "invalid":
            await _drop(devices, device)
        return
    except Exception:  # the plugin's fault
        return
    registered_at = devices.registered_at(number)
    try:
        made, _ = await devices.put(device.user, device.platform, address, registered_at)
    except Problem:
        return
    if made.id != device.id:
        await _drop(devices, device)


async def _drop(devices: Devices, device: Device) -> None:
    with suppress(Problem):
        await devices.drop(device.id, device.user)
