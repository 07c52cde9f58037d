"""The real hub, with a signal that makes what is published persistent, and another that makes it bufferable again.

python -m bench.durably serve ...

It is one process for both, because two of them differ by several percent already in where their memory lies.
"""

import signal
from typing import Any

from hubd.cli import main as command
from hubd.core.notification import Persistence
from hubd.hub import Hub
from hubd.server import Daemon

PERSISTENT, BUFFERABLE = signal.SIGUSR1, signal.SIGUSR2
_PERSISTENCES = {PERSISTENT: Persistence.PERSISTENT, BUFFERABLE: Persistence.BUFFERABLE}
_begin = Daemon._begin


async def _begin_switchable(daemon: Daemon, hub: Hub, *args: Any) -> Any:
    defaults = hub.publishing._type_defaults

    def switch(number: int, frame: object) -> None:
        defaults["default"] = defaults["default"]._replace(persistence=_PERSISTENCES[signal.Signals(number)])

    for one in _PERSISTENCES:
        signal.signal(one, switch)
    return await _begin(daemon, hub, *args)


if __name__ == "__main__":
    Daemon._begin = _begin_switchable  # type: ignore[method-assign]
    command(prog_name="hubd")
