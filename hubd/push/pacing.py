"""Which pushes have to wait because a device had enough: the paces of each platform's devices."""

from hubd.core.users import UserSet
from hubd.hooks.push import Limits, Push, PushBackend
from hubd.push.destination import Destination
from hubd.push.jobs import Part
from hubd.push.pace import DevicePaces, Queued


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
        self, backend: PushBackend, device: int, push: Push, line: str, now: float, *, is_urgent: bool
    ) -> Push | Queued:
        """The push as it may be sent now, or how long it has to wait; ``line``: where it has waited already."""
        paces = self._of(backend)
        return paces.admit(device, push, line, now, is_urgent=is_urgent) if paces.is_any else push

    def left(self, part: Part, devices: UserSet) -> None:
        """These devices, which waited in this part, don't any more."""
        if part.key.line and isinstance(part.to, Destination):
            for device in devices:
                self.left_one(part.to.platform, device, part.key.line)

    def left_one(self, platform: str, device: int, line: str) -> None:
        """The same of one."""
        if line and (found := self._paces.get(platform)) is not None:
            found[1].left(device, line)
