"""The real hub, with durable subscriptions that it has when it starts, as if it had loaded them.

FILLED_TOPIC=orders FILLED_SUBSCRIBERS=1000000 python -m bench.filled serve ...

Users u0, u1, ... are subscribed to the topic. By the API a million of them would take many minutes.
"""

import os
from collections.abc import Callable
from typing import Any

from hubd.cli import main as command
from hubd.core.subscriptions import Grant
from hubd.server import Daemon


def fill_first(then: Callable[[Daemon], None] = lambda daemon: None) -> None:
    """Have daemons begin with these subscriptions, and with whatever else is to be done before they listen."""
    begin = Daemon._begin

    async def fill_and_begin(daemon: Daemon, *args: Any) -> Any:
        topic = os.environ["FILLED_TOPIC"]
        users = range(int(os.environ["FILLED_SUBSCRIBERS"]))
        assert daemon._memory is not None
        daemon._memory.durables.put_back((f"u{number}", topic, Grant(by_server=True)) for number in users)
        then(daemon)
        return await begin(daemon, *args)

    Daemon._begin = fill_and_begin  # type: ignore[method-assign]


if __name__ == "__main__":
    fill_first()
    command(prog_name="hubd")
