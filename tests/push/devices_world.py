"""Devices, and what they tell, for their tests."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from hubd.config import Config
from hubd.core.stored import DropDevice, PutDevice, StoredDevice
from hubd.core.users import UserNumbers
from hubd.hooks.push import Address, Device
from hubd.push.devices import Devices, device_id
from hubd.testing import FakeClock
from tests.steered_store import SteeredStore

DAY_S = 86400.0


def address(key: str, app: str = "one", **fields: Any) -> Address:
    return Address(key, {"token": key, **fields}, app)


def events(caplog: pytest.LogCaptureFixture, least: int = 0) -> list[str]:
    return [one.getMessage().partition(":")[0] for one in caplog.records if one.levelno >= least]


class World:
    """Devices, and all that they told."""

    def __init__(self, store: SteeredStore | None = None, **push: Any) -> None:
        self.clock = FakeClock()
        self.numbers = UserNumbers(idle=0)
        self.store = store
        self.devices = Devices(Config.model_validate({"push": push}), self.clock, self.numbers, store)
        self.came: list[str] = []
        self.changed: list[str] = []
        self.gone: list[tuple[str, str, str]] = []
        self.devices.on_came = self._noted(self.came)
        self.devices.on_changed = self._noted(self.changed)
        self.devices.on_gone = self._on_gone

    def _noted(self, found: list[str]) -> Callable[[int], None]:
        return lambda number: found.append(self.numbers.id_of(number) or "")

    def _on_gone(self, user: str, devices: tuple[Device, ...], reason: str) -> None:
        self.gone += [(user, device.address["token"], reason) for device in devices]

    async def put(self, user: str, key: str, app: str = "one", **fields: Any) -> tuple[str, bool]:
        device, is_new = await self.devices.put(user, "apns", address(key, app, **fields))
        assert device == Device(device_id("apns", key), user, "apns", {"token": key, **fields}, app)
        return device.id, is_new

    async def put_many(self, count: int, app: str = "one", prefix: str = "t") -> list[int]:
        """So many devices of one user each; gives their numbers."""
        for place in range(count):
            await self.put(f"{prefix}-user{place}", f"{prefix}{place}", app)
        return [self.number(f"{prefix}-user{place}") for place in range(count)]

    def number(self, user: str) -> int:
        (number,) = self.devices.numbers_of(self.numbers.find(user) or 0)
        return number

    def tokens(self, user: str) -> list[str]:
        return [one.device.address["token"] for one in self.devices.listed(user)]

    def users(self) -> set[str]:
        return {self.numbers.id_of(number) or "?" for number in self.devices.users}

    def stored(self) -> dict[str, StoredDevice]:
        """What the store has by now."""
        assert self.store is not None
        found: dict[str, StoredDevice] = {}
        for write, _ in self.store.written:
            if isinstance(write, PutDevice):
                found[write.device.id] = write.device
            elif isinstance(write, DropDevice):
                found.pop(write.id, None)
        return found

    async def settled(self) -> None:
        """Let all that can be stored be stored."""
        for _ in range(50):
            self.devices.maintain()
            await asyncio.sleep(0)


# Registering
