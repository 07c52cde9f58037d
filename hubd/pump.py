"""The pump: writes what waits in outboxes, a slice of connections at a time.

Putting a frame into an outbox is a matter of some 0.1 µs and happens for all recipients in one step; writing costs a
system call each. So a broadcast is written in slices between which the loop runs, what is published meanwhile waits
behind it in the same outboxes, and is joined with it into one write per connection on the next pass.
"""

import logging
import os
from collections.abc import Callable, Collection
from contextlib import suppress
from functools import partial
from typing import Any

from hubd.core.codec import Form, frame_of
from hubd.core.connection import Connection
from hubd.core.notification import Notification
from hubd.counts import Counts
from hubd.log_events import log_event

SLICE = 128
TURNS = 3
"""So many turns of the loop it is from one slice to the next.

What came in during a slice is read in the first of them, and a publish is done and answered there; whatever takes a
task goes on in the second. Each would else wait for one slice more.
"""
FEW = 16
"""A publication to at most so many connections is written at once, behind what already waits there."""
WRITE_BYTES = 65536
"""How many bytes are joined into one write."""

log = logging.getLogger("hubd.pump")


class Pump:
    """Writes outboxes. ``queue_bytes``: over so many unsent bytes a connection is a slow consumer; may be set anew.

    ``on_slow`` takes a slow consumer off; ``read_on`` lets a resuming connection fill its outbox from the rings;
    ``write`` is how bytes get into a socket that never waits, by its number.
    """

    def __init__(
        self,
        call_soon: Callable[[Callable[[], None]], Any],
        queue_bytes: int,
        on_slow: Callable[[Connection], None],
        read_on: Callable[[Connection], None],
        counts: Counts | None = None,
        write: Callable[[int, bytes], int] = os.write,
    ) -> None:
        self._call_soon = call_soon
        self.queue_bytes = queue_bytes
        self._on_slow = on_slow
        self._read_on = read_on
        self._counts = counts or Counts()
        self.write = write
        self._waiting: list[Connection] = []
        self._pass: list[Connection] = []
        self._place = 0
        self._running = False

    def fan_out(self, notification: Notification, channel: str, recipients: Collection[Connection]) -> int:
        """Put a notification into the outbox of each live recipient; gives how many those are.

        Call ``run_soon`` afterwards.
        """
        waiting = self._waiting
        form: Form | None = None
        frame = b""
        not_live = 0
        for connection in recipients:
            if not connection.live:
                not_live += 1
                continue
            if connection.form is not form:
                form = connection.form
                frame = frame_of(notification, channel, form)
            if connection.lone is None:
                connection.lone = frame
                waiting.append(connection)
                continue
            outbox = connection.outbox if connection.lone else connection.listed
            if not outbox or connection.paused:
                waiting.append(connection)
            outbox.append(frame)
        live = len(recipients) - not_live
        self._counts.deliveries += live
        return live

    def fan_out_now(self, notification: Notification, channel: str, recipients: Collection[Connection]) -> int:
        """The same for few recipients, whose outboxes are then written at once."""
        live = [connection for connection in recipients if connection.live]
        for connection in live:
            connection.outbox.append(frame_of(notification, channel, connection.form))
            self.flush(connection)
        self._counts.deliveries += len(live)
        return len(live)

    def run_soon(self) -> None:
        """Have what was put into outboxes written."""
        if not self._running and self._waiting:
            self._running = True
            self._call_soon(self._run)

    def schedule(self, connection: Connection) -> None:
        """Something was put into this connection's outbox, or it can be written to again."""
        self._waiting.append(connection)
        self.run_soon()

    def _run(self) -> None:
        """Write one slice, and go on in the loop's next turn, after it has read what came in."""
        if self._place >= len(self._pass):
            self._pass, self._waiting = self._waiting, []
            self._place = 0
        self._write_lone(self._pass[self._place : self._place + SLICE])
        self._place += SLICE
        if self._place >= len(self._pass):
            self._pass = []
            self._place = 0
        if self._pass or self._waiting:
            self._turn(TURNS)
        else:
            self._running = False

    def _turn(self, turns: int) -> None:
        self._call_soon(partial(self._turn, turns - 1) if turns > 1 else self._run)

    def _write_lone(self, connections: list[Connection]) -> None:
        """Write a slice: all who wait for a lone frame, the usual case of a broadcast, in one go; then the others.

        Until all lone frames are written or back in their places nothing else runs: a plugin that is asked in a flush
        may publish to any of these.
        """
        lone: list[Connection] = []
        numbers: list[int] = []
        frames: list[bytes] = []
        others: list[Connection] = []
        for connection in connections:
            frame = connection.lone
            if not frame or connection.paused or not connection.live:
                others.append(connection)
                continue
            connection.lone = None
            lone.append(connection)
            numbers.append(connection.fd)
            frames.append(frame)
        taken = self._write_each(numbers, frames)
        self._counts.written_bytes += sum(taken)
        if taken != list(map(len, frames)):
            for connection, frame, size in zip(lone, frames, taken, strict=True):
                if size != len(frame):
                    connection.lone = frame[size:]
                    others.append(connection)  # a flush tries again, and sees to what stands in the way
        for connection in others:
            self.flush(connection)

    def _write_each(self, numbers: list[int], frames: list[bytes]) -> list[int]:
        """Write one frame to each socket; gives how much each has taken.

        Nothing of ours runs between two system calls: after each, the interpreter would have to be fetched anew into
        caches that belong to the kernel.
        """
        taken: list[int] = []
        writes = map(self.write, numbers, frames)
        while len(taken) < len(numbers):
            try:
                taken.extend(writes)
            except Exception:
                taken.append(0)
        return taken

    def flush(self, connection: Connection) -> None:
        """Write what waits in one outbox, as far as the transport takes it; a fault is this connection's alone."""
        try:
            outbox = connection.outbox
            if connection.paused:
                self._count(connection)
            elif len(outbox) == 1 and not connection.replays:
                frame = outbox.pop()
                connection.nothing_waits()
                self._counts.written_bytes += len(frame)
                connection.write(frame)
            else:
                self._write_all(connection)
        except Exception as error:
            log_event(log, "write_failed", error, connection=connection.id)
            with suppress(Exception):  # it is broken already; the pump goes on for the others
                self._on_slow(connection)

    def _write_all(self, connection: Connection) -> None:
        """Write until nothing is left or the transport takes no more; of a replay, a share at each visit."""
        outbox = connection.outbox
        has_read = False
        while not connection.paused:
            if not outbox:
                if not connection.replays:
                    connection.nothing_waits()
                    return
                if has_read:  # there is more to read: in the next pass, so that others get their turn
                    self.schedule(connection)
                    return
                self._read_on(connection)
                has_read = True
            else:
                data = _take(outbox)
                self._counts.written_bytes += len(data)
                connection.write(data)
        self._count(connection)

    def _count(self, connection: Connection) -> None:
        """Count what waits for a transport that takes nothing at the moment; too much makes a slow consumer."""
        outbox = connection.outbox
        waiting = len(outbox)
        if connection.counted < waiting:
            connection.queued += sum(map(len, outbox[connection.counted :]))
            connection.counted = waiting
        size = connection.queued + connection.unsent()
        if size > self.queue_bytes:
            log_event(log, "queue_full", connection=connection.id, bytes=size, limit=self.queue_bytes)
            self._on_slow(connection)


def _take(outbox: list[bytes]) -> bytes:
    """Take from the front of an outbox what goes into one write: at least a frame, some ``WRITE_BYTES`` at most."""
    size = count = 0
    for frame in outbox:
        if count and size + len(frame) > WRITE_BYTES:
            break
        size += len(frame)
        count += 1
    data = outbox[0] if count == 1 else b"".join(outbox[:count])
    del outbox[:count]
    return data
