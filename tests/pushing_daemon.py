"""A hub as a process whose pushes go into a file: ``python -m tests.pushing_daemon CONFIG PUSHES``.

A line of PUSHES is one push: when (monotonic seconds), the id of the notification, the user. It survives a kill.
"""

import os
import sys
from pathlib import Path
from typing import Any

from hubd.commands.common import source_of
from hubd.config import load_config
from hubd.core.record import Record
from hubd.core.users import UserSet
from hubd.delivering import Delivering, Pusher
from hubd.pushing import Pushing
from hubd.server import serve
from hubd.testing import RecordingPusher


class FilePusher(RecordingPusher):
    """Every push is in the file before it is answered."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def push(self, record: Record, users: UserSet) -> None:
        assert self.hub is not None
        now = self.hub.clock.monotonic()
        lines = [f"{now} {record.id} {self.hub.numbers.id_of(number)}\n" for number in users]
        os.write(self._file, "".join(lines).encode())
        super().push(record, users)


class Watched:
    """Has whom a pusher is to push to in a file, before it does."""

    def __init__(self, path: Path, delivering: Delivering, pusher: Pusher) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self._delivering = delivering
        self._pusher = pusher

    def push(self, record: Record, users: UserSet) -> None:
        """Begin to bring it to these users' devices."""
        now = self._delivering.moment().mono
        lines = [f"{now} {record.id} {self._delivering._numbers.id_of(number)}\n" for number in users]
        os.write(self._file, "".join(lines).encode())
        self._pusher.push(record, users)

    def cancel(self, record: Record, users: UserSet) -> None:
        """It isn't wanted any more."""
        self._pusher.cancel(record, users)


def watch_pushes(path: Path) -> None:
    """From now on hubs of this process push as they do, and it is in the file."""
    push_by = Pushing.push_by

    def push_by_and_watch(self: Pushing, backends: Any, **others: Any) -> None:
        push_by(self, backends, **others)
        delivering = self._delivering
        assert delivering.pusher is not None
        delivering.pusher = Watched(path, delivering, delivering.pusher)

    Pushing.push_by = push_by_and_watch  # type: ignore[method-assign]


if __name__ == "__main__":
    config, pushes = map(Path, sys.argv[1:])
    sys.exit(serve(source_of(config), load_config(config, os.environ), False, FilePusher(pushes)))
