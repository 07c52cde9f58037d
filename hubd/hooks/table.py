"""Every hook: what happens when a plugin fails in it, and how long it may take. `hubd.hooks.specs` says the rest."""

from enum import Enum
from typing import NamedTuple

PREFIX = "hubd_"
"""What the name of each hook begins with in a plugin."""


class Fails(Enum):
    """What becomes of the matter when a plugin fails in a hook: raises, takes too long, answers nonsense."""

    OPEN = "open"
    """It goes on as if the plugin weren't there."""
    CLOSED = "closed"
    """It is refused: whoever asked is told to try again later."""
    ABORT = "abort"
    """The hub doesn't start."""


class Rule(NamedTuple):
    """How a hook is called. ``timeout_s``: how long one plugin may take.

    ``may_refuse``: a ``Problem`` that a plugin raises is its answer, and no fault.
    ``is_provoked``: strangers can have it called as often as they like, so failing in it switches no plugin off. Nor
    does failing where it is closed: whoever asked was refused, and to ask no more would be to refuse everybody.
    ``observes``: it is told of what has happened, afterwards, through a queue. ``sync``: it can't wait for anything, so
    it must be a plain function.
    """

    fails: Fails
    timeout_s: float = 1.0
    may_refuse: bool = False
    is_provoked: bool = False
    observes: bool = False
    sync: bool = False


_AT_START = Rule(Fails.ABORT, sync=True)
_OBSERVES = Rule(Fails.OPEN, 10.0, observes=True)

HOOKS = {
    # The plugin's life
    "startup": Rule(Fails.ABORT, 30.0),
    "reconfigure": Rule(Fails.OPEN, sync=True),
    "shutdown": Rule(Fails.OPEN, 5.0),
    # What a plugin adds
    "register_routes": _AT_START,
    "register_commands": Rule(Fails.OPEN, sync=True),
    "register_metrics": _AT_START,
    "check_health": Rule(Fails.OPEN, 1.0, is_provoked=True),
    "broker": _AT_START,
    "push_backends": _AT_START,
    # Who may do what
    "authenticate": Rule(Fails.CLOSED, 5.0, may_refuse=True, is_provoked=True),
    "authorize_subscribe": Rule(Fails.CLOSED, 2.0, may_refuse=True, is_provoked=True),
    "authorize_publish": Rule(Fails.CLOSED, 2.0, may_refuse=True, is_provoked=True),
    # The way of a notification
    "prepare_notification": Rule(Fails.OPEN, 1.0, may_refuse=True),
    "resolve_audience": Rule(Fails.CLOSED, 2.0, may_refuse=True, is_provoked=True),
    "filter_recipients": Rule(Fails.OPEN, sync=True),
    "store_notification": Rule(Fails.CLOSED, 5.0, may_refuse=True, is_provoked=True),
    # What has happened
    "published": _OBSERVES,
    "filtered": _OBSERVES,
    "retracted": _OBSERVES,
    "acked": _OBSERVES,
    "connected": _OBSERVES,
    "disconnected": _OBSERVES,
    "subscribed": _OBSERVES,
    "unsubscribed": _OBSERVES,
    "presence_changed": _OBSERVES,
    "devices_gone": _OBSERVES,
}
"""By their names without the prefix, in the order in which the documentation has them."""
