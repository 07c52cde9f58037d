"""Which pushes have to wait because a device had enough: the paces of each platform's devices."""

from typing import NamedTuple

from hubd.core.users import UserSet
from hubd.hooks.push import Limits, Push, PushBackend
from hubd.push.destination import Destination
from hubd.push.jobs import Part
from hubd.push.pace import DevicePaces


class Queued(NamedTuple):
    """It has to wait so long, in this queue of its device."""

    wait_s: float
    queue: str


class Pacing:
    """The paces of all platforms."""

    def __init__(self) -> None:
        self._paces: dict[str, tuple[Limits, DevicePaces]] = {}

    def _of(self, backend: PushBackend) -> DevicePaces:
        limits, found = self._paces.get(backend.platform, (None, None))
        if found is None or limits != backend.limits:
            found = DevicePaces(backend.limits)
            self._paces[backend.platform] = backend.limits, found
        return found

    def admit(
        self, backend: PushBackend, device: int, push: Push, queue: str, now: float, *, is_urgent: bool
    ) -> Push | Queued:
        """The push as it may be sent now, or how long it has to wait; ``queue``: in which it has waited already."""
        paces = self._of(backend)
        if not paces.is_any:
            return push
        push = paces.with_key(device, push, now, is_urgent=is_urgent)
        name = queue or paces.queue_of(push, is_urgent=is_urgent)
        wait = paces.wait(device, push, name, now, has_waited=bool(queue))
        if wait > 0:
            paces.queued(device, push, name, wait, now, has_waited=bool(queue))
            return Queued(wait, name)
        paces.taken(device, push, now + push.ttl_s, now)
        if queue:
            paces.left(device, queue)
        return push

    def left(self, part: Part, devices: UserSet) -> None:
        """These devices, which waited in this part, don't any more."""
        if part.key.queue and isinstance(part.to, Destination):
            for device in devices:
                self.left_one(part.to.platform, device, part.key.queue)

    def left_one(self, platform: str, device: int, queue: str) -> None:
        """The same of one."""
        if queue and (found := self._paces.get(platform)) is not None:
            found[1].left(device, queue)
