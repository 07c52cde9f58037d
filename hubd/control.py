"""A way to a hub that runs on this machine, for `hubd reload`: a local socket for its own user and root alone.

It has a name in Linux's abstract namespace, so there is no file to be put somewhere, found, and left behind by a crash.
One line of JSON each way: ``{"do": "about"}`` asks which hub it is, ``{"do": "reload"}`` has it read its config again.
"""

import asyncio
import json
import logging
import os
import re
import socket
import struct
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, NamedTuple

from hubd.log_events import log_event
from hubd.reload import Outcome
from hubd.tasks import Tasks

log = logging.getLogger("hubd.control")

PREFIX = "hubd-"
ANSWER_S = 30.0
"""How long a hub may take to answer. More than reading the config may take, twice."""
ABOUT_S = 3.0
"""How long it may take to say which hub it is, which needs nothing but a loop that turns."""
_REQUEST_S = 5.0
_LINE_BYTES = 65536
_SOCKETS = Path("/proc/net/unix")
_LISTENING = "00010000"
_NAME = re.compile(rf"@{PREFIX}[0-9]{{1,10}}-[0-9]{{1,5}}")


class ControlSocket:
    """The hub's end. ``about`` is what it says of itself, besides its process id."""

    def __init__(self, tasks: Tasks, reload: Callable[[], Awaitable[Outcome]], about: dict[str, Any]) -> None:
        self._tasks = tasks
        self._reload = reload
        self._about = {"pid": os.getpid(), **about}
        self._server: asyncio.Server | None = None

    async def open(self, port: int) -> None:
        """Begin to answer. Where it can't be had, a signal does the same: that is no reason not to run."""
        if not sys.platform.startswith("linux"):
            return
        try:
            name = f"\0{PREFIX}{os.getpid()}-{port}"
            self._server = await asyncio.start_unix_server(self._connected, name, limit=_LINE_BYTES)
        except OSError as error:
            log_event(log, "control_missing", why=error.strerror)

    def close(self) -> None:
        """Answer nobody any more."""
        if self._server is not None:
            self._server.close()

    def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._tasks.start(self._talk(reader, writer), "control")

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            answer = await self._answer(reader, writer)
            async with asyncio.timeout(_REQUEST_S):
                writer.write(json.dumps(answer).encode() + b"\n")
                await writer.drain()
        except (OSError, ValueError, TimeoutError):
            pass  # gone, silent, or a line without end: nobody is left to be told
        finally:
            writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> dict[str, Any]:
        async with asyncio.timeout(_REQUEST_S):
            line = await reader.readline()  # in any case: closing over unread bytes would take the answer with it
        if _peer_uid(writer.get_extra_info("socket")) not in (0, os.geteuid()):
            return {"error": "this hub listens to its own user and root alone"}
        try:
            request = json.loads(line)
            wanted = request.get("do")
        except (ValueError, RecursionError, AttributeError):
            wanted = None
        if wanted == "about":
            return self._about
        if wanted == "reload":
            return (await self._reload())._asdict()
        return {"error": "there are 'about' and 'reload'"}


def _peer_uid(connection: socket.socket) -> int:
    size = struct.calcsize("3i")
    _, uid, _ = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size))
    return int(uid)


# The command's end


class ControlError(Exception):
    """A hub can't be talked to, and why."""


class Stuck(ControlError):
    """It is there, and says nothing."""


class RunningHub(NamedTuple):
    """A hub that runs on this machine."""

    name: str
    pid: int
    url: str
    config: str | None

    def __str__(self) -> str:
        return f"process {self.pid}, {self.url}, " + (self.config or "without a config file")


def running_hubs() -> list[RunningHub]:
    """The hubs that run here, and that may be told something by this user."""
    if not _SOCKETS.exists():
        raise ControlError("this works on Linux only; send the hub SIGHUP, and its log says how the reload went")
    found = []
    for name in _names(_SOCKETS.read_text(errors="replace")):
        try:
            about = ask(name, "about", ABOUT_S)
            found.append(RunningHub(name, int(about["pid"]), str(about["url"]), about["config"]))
        except Stuck:
            found.append(RunningHub(name, int(name.split("-")[1]), "which doesn't answer", None))
        except (ControlError, KeyError, ValueError, TypeError):
            continue  # somebody else's, or no hub at all
    return found


def _names(table: str) -> list[str]:
    """The names of the hubs' sockets in the kernel's table."""
    names = []
    for line in table.splitlines()[1:]:
        columns = line.split(maxsplit=7)
        if len(columns) == 8 and columns[3] == _LISTENING and _NAME.fullmatch(columns[7]):
            names.append("\0" + columns[7][1:])
    return sorted(names)


def ask(name: str, do: str, timeout_s: float = ANSWER_S) -> dict[str, Any]:
    """Send one request; ``ControlError`` when there is no proper answer."""
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(timeout_s)
            connection.connect(name)
            if os.geteuid() not in (0, _peer_uid(connection)):  # anybody may take any name
                raise ControlError("that hub is another user's")
            connection.sendall(json.dumps({"do": do}).encode() + b"\n")
            with connection.makefile("rb") as lines:
                answer = json.loads(lines.readline(_LINE_BYTES * 16))
    except TimeoutError:
        raise Stuck(f"the hub didn't answer within {timeout_s:g} s: is it stuck?") from None
    except OSError as error:
        raise ControlError(f"the hub can't be talked to: {error.strerror or error}") from None
    except ValueError:
        raise ControlError("the hub hung up without an answer") from None
    if not isinstance(answer, dict) or "error" in answer:
        raise ControlError(str(answer["error"]) if isinstance(answer, dict) else "this is no hub's answer")
    return answer
