"""One client over all its connections: what it got, and where it stands."""

from tests.model.world import Broken

Position = tuple[str | None, int | None, str]
"""A cursor, its position, and why it can't be honoured."""


class Chain:
    """What a client got since it last began anew, by whichever transports: each notification once, in sequence.

    ``cursor`` is where its next connection goes on. While it is ``held``, cursors that arrive don't move it: some
    topics are being replayed, from before the others' place.
    """

    def __init__(self, begun: Position) -> None:
        self.begun = begun
        self.cursor = begun[0]
        self.held = False
        self.given: dict[int, str] = {}
        self.wires: list[str] = []
        self._last = 0

    def got(self, sequence: int, mark: str) -> None:
        """A notification came."""
        if sequence in self.given:
            raise Broken(f"{mark} ({sequence}) came twice to one client, by {self.wires} and by {self.given[sequence]}")
        if sequence <= self._last and not self.held:
            raise Broken(f"{mark} ({sequence}) came to a client that had {self._last} already, by {self.wires}")
        self.given[sequence] = self.wires[-1]
        self._last = max(self._last, sequence)

    def at(self, cursor: str) -> None:
        """It was told where it stands."""
        if not self.held:
            self.cursor = cursor
