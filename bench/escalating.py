"""The real hub, with durable subscribers, and with push services that accept everything at once.

FILLED_TOPIC=orders FILLED_SUBSCRIBERS=100000 python -m bench.escalating serve ...

A signal makes what is published without a priority important, and another one informational again. It is one process
for both, because two of them differ by several percent already in where their memory lies.
"""

import signal
from typing import Any

from bench import filled
from hubd.cli import main as command
from hubd.core.notification import Priority
from hubd.core.record import Record
from hubd.core.users import UserSet
from hubd.hub import Hub
from hubd.server import Daemon

IMPORTANT, INFORMATIONAL = signal.SIGUSR1, signal.SIGUSR2
_PRIORITIES = {IMPORTANT: Priority.IMPORTANT, INFORMATIONAL: Priority.INFORMATIONAL}


class Accepting:
    """Stands for push services; each takes whatever it is given."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub

    def push(self, record: Record, users: UserSet) -> None:
        self._hub.delivering.accepted(record, users)

    def cancel(self, record: Record, users: UserSet) -> None:
        pass


def prepared(daemon: Daemon) -> None:
    hub: Any = daemon._edge.hub
    hub.delivering.pusher = Accepting(hub)
    hub.delivering.delivery.can_push = True
    defaults = hub.publishing._type_defaults

    def switch(number: int, frame: object) -> None:
        priority = _PRIORITIES[signal.Signals(number)]
        defaults["default"] = defaults["default"]._replace(priority=priority)

    for one in _PRIORITIES:
        signal.signal(one, switch)


if __name__ == "__main__":
    filled.fill_first(prepared)
    command(prog_name="hubd")
