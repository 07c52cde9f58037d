"""The real hub, with durable subscriptions that it has when it starts, as if it had loaded them.

FILLED_TOPIC=orders FILLED_SUBSCRIBERS=1000000 python -m bench.filled serve ...

Users u0, u1, ... are subscribed to the topic. By the API a million of them would take many minutes.
"""

import os
from typing import Any

from hubd.cli import main as command
from hubd.core.subscriptions import Grant
from hubd.server import Daemon

_begin = Daemon._begin


async def _fill_and_begin(daemon: Daemon, dev_key: str) -> Any:
    """Before it listens."""
    durables = daemon._edge.hub.durables
    for number in range(int(os.environ["FILLED_SUBSCRIBERS"])):
        await durables.put(f"u{number}", os.environ["FILLED_TOPIC"], Grant(by_server=True))
    return await _begin(daemon, dev_key)


if __name__ == "__main__":
    Daemon._begin = _fill_and_begin  # type: ignore[method-assign]
    command(prog_name="hubd")
