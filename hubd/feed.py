"""A program's output as notifications: lines from a pipe or a file, batched, with bounded memory."""

import asyncio
import json
import os
import threading
from collections import deque
from collections.abc import AsyncIterator
from concurrent.futures import CancelledError
from dataclasses import dataclass, field
from typing import Any, NamedTuple
from uuid import uuid4

LINE_BYTES = 1024 * 1024
BATCH_LINES = 1000
BATCH_BYTES = 1024 * 1024
BATCH_S = 0.2
_CHUNK_BYTES = 65536
_CHUNKS_AHEAD = 4


class Line(NamedTuple):
    """One line that isn't blank, with its number from 1; ``text`` is None where it was longer than a line may be."""

    number: int
    text: bytes | None


class Lines:
    """The lines of a file descriptor.

    A thread reads, because the event loop can wait for pipes but not for files. It stays a few chunks ahead and no
    more, so a feed that is faster than the hub is slowed down instead of filling the memory.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._loop = asyncio.get_running_loop()
        self._chunks: asyncio.Queue[list[Line] | OSError | None] = asyncio.Queue(_CHUNKS_AHEAD)
        self._pending: deque[Line] = deque()
        self._ended = False
        # A daemon: it may sit in read() for ever when the program ends first.
        threading.Thread(target=self._read, name="feed", daemon=True).start()

    async def batches(self) -> AsyncIterator[list[Line]]:
        """Lines as they come: the first after a silence by itself and at once, in a stream 5 batches a second at most.

        Raises ``OSError`` when reading fails.
        """
        earliest = self._loop.time()
        while (line := await self._next(None)) is not None:
            batch, size = [line], len(line.text or b"")
            while len(batch) < BATCH_LINES and size < BATCH_BYTES and (line := await self._next(earliest)) is not None:
                batch.append(line)
                size += len(line.text or b"")
            earliest = self._loop.time() + BATCH_S
            yield batch

    async def _next(self, until: float | None) -> Line | None:
        """The next line; None at the end, or when there is none until then (a time of the loop; None: for ever)."""
        while not self._pending and not self._ended:
            try:
                chunk = self._chunks.get_nowait()
            except asyncio.QueueEmpty:
                if until is not None and until <= self._loop.time():
                    return None
                try:
                    async with asyncio.timeout_at(until):
                        chunk = await self._chunks.get()
                except TimeoutError:
                    return None
            if isinstance(chunk, OSError):
                raise chunk
            self._ended = chunk is None
            self._pending.extend(chunk or ())
        return self._pending.popleft() if self._pending else None

    def _read(self) -> None:
        """The thread: hand on chunks of lines, then None, or what went wrong."""
        splitter = _Splitter()
        try:
            while chunk := os.read(self._descriptor, _CHUNK_BYTES):
                if lines := splitter.feed(chunk):
                    self._hand_on(lines)
            self._hand_on(splitter.end())
            self._hand_on(None)
        except OSError as error:
            self._hand_on(error)

    def _hand_on(self, chunk: list[Line] | OSError | None) -> None:
        put = self._chunks.put(chunk)
        try:
            asyncio.run_coroutine_threadsafe(put, self._loop).result()
        except (CancelledError, RuntimeError):  # the loop is ending or has ended: nobody wants it any more
            put.close()


class _Splitter:
    """Cuts chunks of bytes into numbered lines, without ever keeping more than one line."""

    def __init__(self) -> None:
        self._rest = b""
        self._too_long = False
        self._number = 0

    def feed(self, chunk: bytes) -> list[Line]:
        *complete, self._rest = (self._rest + chunk).split(b"\n")
        lines = [line for text in complete if (line := self._line(text)) is not None]
        if len(self._rest) > LINE_BYTES:
            self._rest, self._too_long = b"", True
        return lines

    def end(self) -> list[Line]:
        """What stands behind the last line break."""
        line = self._line(self._rest) if self._rest or self._too_long else None
        return [line] if line else []

    def _line(self, text: bytes) -> Line | None:
        self._number += 1
        too_long, self._too_long = self._too_long or len(text) > LINE_BYTES, False
        if too_long:
            return Line(self._number, None)
        return Line(self._number, text) if text.strip() else None


class Item(NamedTuple):
    """One line as the body of a publish, ready to send."""

    number: int
    body: bytes


@dataclass(frozen=True)
class Template:
    """What the command line says about every line: defaults for what it doesn't say itself.

    ``fields`` are the outer ones of a publish (``priority``, ``ttl``, ...); with ``as_text`` every line is plain text.
    """

    to: str | list[str] | None
    type: str
    title: str | None = None
    as_text: bool = False
    fields: dict[str, Any] = field(default_factory=dict)

    def item(self, line: Line) -> Item:
        """Make a line what is sent; ``ValueError`` says why it can't be.

        It always has an id, so that sending it again after a lost answer never shows it twice.
        """
        if line.text is None:
            raise ValueError(f"the line is longer than {LINE_BYTES} bytes")
        publish = self._from_text(line.text) if self.as_text else self._from_json(line.text)
        body = {"id": str(uuid4()), **self.fields, **publish}
        try:
            text = json.dumps(body, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
            return Item(line.number, text.encode())
        except ValueError:
            raise ValueError("the line has a number that JSON doesn't know, or half a surrogate pair") from None

    def _from_text(self, line: bytes) -> dict[str, Any]:
        text = line.decode(errors="replace").strip()
        notification = {"type": self.type, "title": text}
        if self.title is not None:
            notification = {"type": self.type, "title": self.title, "body": text}
        return {"to": self.to, "notification": notification}

    def _from_json(self, line: bytes) -> dict[str, Any]:
        try:
            value = json.loads(line)
        except (ValueError, RecursionError):
            raise ValueError("the line isn't JSON (--text takes lines of plain text)") from None
        if not isinstance(value, dict):
            raise ValueError("the line isn't a JSON object")
        is_whole = isinstance(value.get("notification"), dict)
        publish: dict[str, Any] = value if is_whole else {"notification": value}
        publish["notification"].setdefault("type", self.type)
        if "to" not in publish:
            publish["to"] = self.to
        if publish["to"] is None:
            raise ValueError('there is no "to" in the line, and no --to')
        return publish
