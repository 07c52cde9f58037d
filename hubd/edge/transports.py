"""What becomes of asyncio's transports when they have ended."""

import asyncio
from typing import Any


def untie(transport: asyncio.BaseTransport | None) -> None:
    """Let a transport that has ended be freed as soon as nobody has it any more.

    Those of asyncio's own loop keep a method of themselves, a circle that only the garbage collector could find, by a
    walk over everything there is. It is no promised detail: where there is no such thing, nothing is done.
    """
    if getattr(transport, "_read_ready_cb", None) is not None:
        ended: Any = transport
        ended._read_ready_cb = None
