"""Who may load and save what a hub remembers: one process at a time, for as long as it lives."""

import fcntl
import os
from pathlib import Path

_STOPPING = b"stopping"


class Claim:
    """The right to a saved file, kept in a lock beside it; the system takes it back however its holder ends.

    Without it, a hub that is started while the one before still stops would find nothing yet, and what that one then
    leaves would be loaded by a later start, as if nobody had published in between.
    """

    def __init__(self, path: Path) -> None:
        """``path`` is that of the saved file. May raise ``OSError`` where no lock can be made."""
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        self._handle = os.open(path.with_name(f"{path.name}.lock"), flags, 0o600)

    def take(self) -> bool:
        """Take it, if nobody has it."""
        try:
            fcntl.flock(self._handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        os.ftruncate(self._handle, 0)
        return True

    def say_stopping(self) -> None:
        """The holder is about to save and to go: whoever wants it next had better wait."""
        os.pwrite(self._handle, _STOPPING, 0)

    def is_holder_stopping(self) -> bool:
        """Whether the holder said so."""
        return os.pread(self._handle, len(_STOPPING), 0) == _STOPPING

    def close(self) -> None:
        """Give it back."""
        os.close(self._handle)
