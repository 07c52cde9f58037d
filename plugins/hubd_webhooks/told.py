"""Saying something now and then instead of each time."""

TOLD_AGAIN_S = 60.0


class Told:
    """One matter, of which the log hears once a minute at most."""

    def __init__(self) -> None:
        self._due = float("-inf")
        self._count = 0

    def note(self, count: int, now: float) -> int:
        """It happened so many times more: how many times since the log heard of it, if it is to hear of it now."""
        self._count += count
        if now < self._due:
            return 0
        self._due = now + TOLD_AGAIN_S
        found, self._count = self._count, 0
        return found
