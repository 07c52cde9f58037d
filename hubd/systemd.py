"""What the hub tells systemd (sd_notify): that it is ready, reloads, stops, and, for the watchdog, that it is alive.

Without systemd, or under a unit that isn't ``Type=notify``, all of it does nothing.
"""

import asyncio
import logging
import os
import socket
from collections.abc import Mapping

from hubd.clock import Clock
from hubd.log_events import log_event

log = logging.getLogger("hubd.systemd")

_SECOND_US = 1_000_000


class ServiceManager:
    """The service manager that started this process, if one did.

    ``watchdog_s``: how often at least it wants to hear that the process is alive (seconds); None: never.
    """

    def __init__(self, environ: Mapping[str, str], clock: Clock) -> None:
        self._address = _address(environ.get("NOTIFY_SOCKET", ""))
        self._clock = clock
        self.watchdog_s = _watchdog_s(environ) if self._address else None

    def ready(self, status: str) -> None:
        """It serves; also the end of a reload."""
        self._send("READY=1", _status(status))

    def reloading(self) -> None:
        """It reads its config again; ``ready`` follows."""
        self._send("RELOADING=1", f"MONOTONIC_USEC={int(self._clock.monotonic() * _SECOND_US)}")

    def stopping(self, status: str) -> None:
        """It has begun to stop."""
        self._send("STOPPING=1", _status(status))

    def alive(self) -> None:
        """It isn't stuck."""
        self._send("WATCHDOG=1")

    async def keep_alive(self) -> None:
        """Say so until cancelled. It runs in the hub's own loop: while that is stuck, nothing is said."""
        while self.watchdog_s is not None:
            self.alive()
            await asyncio.sleep(self.watchdog_s / 2)

    def _send(self, *lines: str) -> None:
        if self._address is None:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
                sender.setblocking(False)  # a manager that doesn't read must not hold up the hub
                sender.sendto("\n".join(lines).encode(), self._address)
        except OSError as error:
            log_event(log, "systemd_not_told", told=lines[0], why=error.strerror)


def _address(text: str) -> str | None:
    """The socket's address: a path, or a name without one in Linux's abstract namespace (written with a leading @)."""
    if text.startswith("/"):
        return text
    return "\0" + text[1:] if text.startswith("@") and len(text) > 1 else None


def _watchdog_s(environ: Mapping[str, str]) -> float | None:
    text, pid = environ.get("WATCHDOG_USEC", ""), environ.get("WATCHDOG_PID")
    if not (text.isascii() and text.isdigit() and len(text) < 20 and int(text) > 0):
        return None
    return int(text) / _SECOND_US if pid in (None, str(os.getpid())) else None


def _status(text: str) -> str:
    return "STATUS=" + " ".join(text.split())
