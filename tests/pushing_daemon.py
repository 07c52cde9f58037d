"""A hub as a process whose pushes go into a file: ``python -m tests.pushing_daemon CONFIG PUSHES``.

A line of PUSHES is one push: when (monotonic seconds), the id of the notification, the user. It survives a kill.
"""

import os
import sys
from pathlib import Path

from hubd.commands.common import source_of
from hubd.config import load_config
from hubd.core.record import Record
from hubd.core.users import UserSet
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


if __name__ == "__main__":
    config, pushes = map(Path, sys.argv[1:])
    sys.exit(serve(source_of(config), load_config(config, os.environ), False, FilePusher(pushes)))
