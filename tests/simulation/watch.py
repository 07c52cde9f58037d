"""Stands between a hub and its dispatcher, on both sides: what is to be pushed, and what becomes of it."""

from typing import Any

from hubd.core.users import UserSet
from tests.simulation.observer import Observer


class Watch:
    """Passes everything on, in both directions, and tells the observer; for one life of the hub."""

    def __init__(self, observer: Observer, hub: Any) -> None:
        self._observer = observer
        self._numbers = hub.numbers
        self._devices = hub.devices
        self._dispatcher = hub.delivering.pusher
        self._delivering = delivering = hub.delivering
        self.is_dead = False
        delivering.pusher = self
        for name in ("accepted", "not_routed", "given_up"):
            setattr(delivering, name, self._reporting(name, getattr(delivering, name)))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._dispatcher, name)

    def push(self, record: Any, users: UserSet) -> None:
        """Someone is to be pushed to."""
        if self.is_dead:
            return
        for number in users:
            self._observer.pushed(record.id, self._user(number), record.key, self._phones(number))
        self._dispatcher.push(record, users)

    def cancel(self, record: Any, users: UserSet) -> None:
        """Not any more."""
        if self.is_dead:
            return
        for number in users:
            self._observer.push_ended(record.id, self._user(number), record.key, "cancelled")
        self._dispatcher.cancel(record, users)

    def _phones(self, number: int) -> tuple[str, ...]:
        devices = [self._devices.get(device) for device in self._devices.numbers_of(number)]
        return tuple(device.address["token"] for device in devices if device is not None)

    def _user(self, number: int) -> str:
        return str(self._numbers.id_of(number))

    def _reporting(self, how: str, tell: Any) -> Any:
        def report(record: Any, users: UserSet, *args: Any, **named: Any) -> None:
            if self.is_dead:
                return
            for number in users:
                user = self._user(number)
                was_open = self._observer.push_ended(record.id, user, record.key, how)
                if was_open and how == "not_routed" and self._devices.numbers_of(number):
                    self._observer.break_off(f"critical: {record.id} has no way to {user}, who has a device")
            tell(record, users, *args, **named)

        return report
