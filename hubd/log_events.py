"""Everything that hubd logs: one table of events, and the one function that logs one.

The text of a line stands in the table, what differs from line to line are its fields, so nothing gets into the log by
being part of a sentence. Fields hold names, ids, numbers and reasons; never a token, a key, a body or what else a
client sent.
"""

import json
import logging
import re
from typing import NamedTuple

Value = str | int | float | bool | None

FIELD_CHARS = 200
"""How much of a field's text is shown."""
RESERVED = ("ts", "level", "logger", "event", "message", "exc")
"""What a line has anyway, so no field may be called that."""

_NOT_A_PLUGINS = (*RESERVED, "plugin", "text")

_DEBUG, _INFO, _WARNING, _ERROR, _CRITICAL = (
    logging.DEBUG,
    logging.INFO,
    logging.WARNING,
    logging.ERROR,
    logging.CRITICAL,
)


class LogEvent(NamedTuple):
    """One kind of line: how grave it is, and what it says."""

    level: int
    text: str


EVENTS: dict[str, LogEvent] = {
    # The daemon
    "setting_unused": LogEvent(_WARNING, "A setting has no effect in this version"),
    "nobody_can_connect": LogEvent(
        _WARNING, "No [[auth.jwt]] is configured, so nobody can connect (`hubd gen-key jwt` makes one; or use --dev)"
    ),
    "saved": LogEvent(_INFO, "Rings and epoch were saved for the next start"),
    "not_saved": LogEvent(
        _ERROR, "Rings and epoch can't be saved: the next start begins a new epoch, and clients are told a gap"
    ),
    "notification_not_saved": LogEvent(
        _ERROR, "A kept notification isn't what it should be, so it was left out of what a stop saves"
    ),
    "loaded": LogEvent(_INFO, "What the last stop saved was loaded, and the file is gone"),
    "not_loaded": LogEvent(
        _WARNING, "What the last stop saved can't be used: a new epoch begins, and clients are told a gap"
    ),
    "saved_file_in_use": LogEvent(
        _WARNING, "Another hub runs in this folder and saves to the same file: this one loads and saves nothing"
    ),
    "saving_uncertain": LogEvent(
        _WARNING, "There is no lock for the file that a stop saves to, so saving may fail: look at its folder"
    ),
    "predecessor_stopping": LogEvent(_INFO, "The hub before is still stopping: waiting for what it saves"),
    "rings_too_old": LogEvent(
        _WARNING,
        "What the last stop saved is older than [replay] ttl_s: a new epoch begins, and clients are told a gap",
    ),
    "secret_readable": LogEvent(_WARNING, "Others on this machine can read a file that holds a secret"),
    "config_reloaded": LogEvent(_INFO, "The config was read again and taken over"),
    "restart_needed": LogEvent(_WARNING, "An option was changed that only a restart changes; it stays as it was"),
    "config_error": LogEvent(_ERROR, "The config can't be used"),
    "config_not_reloaded": LogEvent(_ERROR, "The config was not taken over; the hub goes on with the one it has"),
    "reload_failed": LogEvent(_ERROR, "Taking over the config failed by the hub's fault; the one before was put back"),
    "control_missing": LogEvent(_WARNING, "`hubd reload` won't find this hub; the signal SIGHUP does the same"),
    "systemd_not_told": LogEvent(_WARNING, "systemd couldn't be told something"),
    "process_stalled": LogEvent(
        _WARNING, "The process couldn't run for a while: it was suspended, or the machine has too much to do"
    ),
    "loop_free": LogEvent(_INFO, "The event loop turns again, after what `loop_blocked` told of"),
    "stopping": LogEvent(_INFO, "The hub stops and tells its connections"),
    # Connections
    "connection_opened": LogEvent(_DEBUG, "A connection was attached"),
    "connection_ended": LogEvent(_DEBUG, "The hub ended a connection"),
    "slow_consumer": LogEvent(_WARNING, "A connection took its frames too slowly and was cut; it may resume"),
    "queue_full": LogEvent(_DEBUG, "More bytes wait for a connection than [limits] queue_bytes"),
    "one_address": LogEvent(
        _WARNING,
        "Most connections have one address. If that is a proxy, name it in [server] trusted_proxies: until then all who"
        " come by it share what one address may have ([limits] per_ip)",
    ),
    "no_more_files": LogEvent(_ERROR, "A connection couldn't be accepted: raise the limit of open files"),
    "presence_changed": LogEvent(_DEBUG, "A user's presence changed"),
    # Notifications
    "published": LogEvent(_DEBUG, "A notification was published"),
    # The store
    "device_replaced": LogEvent(_INFO, "A user has more devices than he may: the one that registered longest ago went"),
    "device_gone": LogEvent(_INFO, "A push service doesn't know a device any more, so it was taken off"),
    "devices_kept": LogEvent(
        _ERROR,
        "Push services say of too many of an app's devices that they don't exist, so none is deleted, and those of the"
        " last ten minutes are back: look at its keys and its environment",
    ),
    "devices_trusted_again": LogEvent(_WARNING, "Push services know an app's devices again: what is gone is deleted"),
    "push_failed": LogEvent(_ERROR, "What brings notifications to devices failed: nobody was pushed to"),
    "push_paused": LogEvent(
        _WARNING, "A push service fails or asks to wait: nothing is sent there for a while, then one push tries it"
    ),
    "push_left_out": LogEvent(
        _WARNING, "Too many pushes wait that nobody follows: the oldest one was given up for its last devices"
    ),
    "push_resumed": LogEvent(_INFO, "A push service that was paused works again"),
    "store_trouble": LogEvent(
        _ERROR,
        "Nothing can be stored: what must be stored is refused, everything live goes on, and it is tried again",
    ),
    "store_healed": LogEvent(_INFO, "The store works again"),
    "store_migrated": LogEvent(_INFO, "The tables of the store were made, or brought to what this version needs"),
    "store_write_refused": LogEvent(_ERROR, "Something can't be stored as it is, so it wasn't; all else was"),
    "scheduled_failed": LogEvent(
        _WARNING, "A scheduled notification couldn't go out; it is tried again until its ttl is over"
    ),
    "scheduled_expired": LogEvent(
        _WARNING, "A scheduled notification didn't go out in time: its ttl was over, and it was given up"
    ),
    # Plugins
    "plugin_fault": LogEvent(
        _ERROR, "A plugin failed: what it was asked about was refused (`refused`), or the hub went on without it"
    ),
    "plugin_switched_off": LogEvent(
        _ERROR,
        "A plugin failed too often and is switched off for a while: mend what ails it; `hubd reload` switches it on",
    ),
    "plugin_switched_on": LogEvent(_INFO, "A plugin that was switched off is on again"),
    "plugin_events_lost": LogEvent(
        _WARNING, "A plugin takes what it is told more slowly than things happen, and missed some"
    ),
    "plugin_task_left": LogEvent(_WARNING, "A plugin left a task running that nobody owned: it was cancelled"),
    "plugin_task_stuck": LogEvent(_WARNING, "A plugin's task took no notice of being cancelled: it was ended by force"),
    "plugin_started": LogEvent(_INFO, "A plugin is on"),
    "plugin": LogEvent(_INFO, "A plugin says something"),
    # Outside
    "jwks_failed": LogEvent(_WARNING, "The keys for users' tokens can't be fetched; the known ones stay in use"),
    # Faults: each of these is a bug of hubd or of a plugin, and has a traceback
    "request_failed": LogEvent(_ERROR, "A request failed by the hub's fault and was answered with 500"),
    "action_failed": LogEvent(_ERROR, "A client's action failed by the hub's fault"),
    "write_failed": LogEvent(_ERROR, "Writing to a connection failed, so it was cut"),
    "presence_listener_failed": LogEvent(_ERROR, "Somebody who is told of presence failed"),
    "sweep_failed": LogEvent(_ERROR, "A sweep over the connections failed; the next one comes"),
    "sweep_faults": LogEvent(_ERROR, "The sweep failed at some connections and went on; the traceback is the first's"),
    "maintenance_failed": LogEvent(_ERROR, "What the hub does once a second failed; it comes again"),
    "farewell_failed": LogEvent(_ERROR, "A connection couldn't be told that the hub stops"),
    "task_failed": LogEvent(_ERROR, "A task failed"),
    "loop_fault": LogEvent(_ERROR, "The event loop reports a fault"),
    "loop_blocked": LogEvent(
        _ERROR,
        "Something kept the event loop for too long, and everybody waited; the traceback shows where it was",
    ),
    "crashed": LogEvent(_CRITICAL, "The process failed and ends"),
    "ignored_fault": LogEvent(_ERROR, "A fault where nothing could be done about it was passed over"),
    # The log itself
    "library": LogEvent(_INFO, "A library logged something: its words, without what it put into them"),
    "lines_suppressed": LogEvent(_WARNING, "There were more lines of one kind within a minute than are shown"),
    "lines_lost": LogEvent(_WARNING, "Standard error took the lines too slowly, so some were left out"),
}
"""Every event by its name, with the gravest it can be (``library`` lines have the library's own level)."""


class Line:
    """What one line says, as a logger takes it for its message."""

    __slots__ = ("event", "fields")

    def __init__(self, event: str, fields: dict[str, Value]) -> None:
        self.event = event
        self.fields = fields

    @property
    def text(self) -> str:
        """The sentence from the table."""
        return EVENTS[self.event].text

    def __str__(self) -> str:
        fields = [f"{name}={shown(value)}" for name, value in self.fields.items()]
        return " ".join([f"{self.event}: {self.text}", *fields])


def log_event(log: logging.Logger, event: str, exc: BaseException | None = None, **fields: Value) -> None:
    """Log one of ``EVENTS``; ``exc`` adds a traceback."""
    level = EVENTS[event].level
    if log.isEnabledFor(level):
        log.log(level, Line(event, fields), exc_info=exc, stacklevel=2)


PLUGIN_LOG = logging.getLogger("hubd.plugins")


def log_plugin(level: int, plugin: str, text: str, exc: BaseException | None, fields: dict[str, Value]) -> None:
    """Log what a plugin says, at its own level, with its own fields."""
    if PLUGIN_LOG.isEnabledFor(level):
        own = {name if name not in _NOT_A_PLUGINS else f"{name}_": value for name, value in fields.items()}
        PLUGIN_LOG.log(level, Line("plugin", {"plugin": plugin, "text": text, **own}), exc_info=exc, stacklevel=3)


_HARMLESS = re.compile(r"[A-Za-z0-9_.@|+=:/*-]+")


def shown(value: Value) -> str:
    """A field's value in a plain line: nothing in it can end the line, look like another field or move a cursor."""
    text = clipped(value)
    if isinstance(text, str) and _HARMLESS.fullmatch(text):
        return text
    return json.dumps(text)  # everything that isn't ASCII is escaped


def clipped(value: object) -> Value:
    """A value that isn't too long; what is no plain value is shown by its type alone."""
    if isinstance(value, str):
        return value if len(value) <= FIELD_CHARS else value[:FIELD_CHARS] + "..."
    if value is None or isinstance(value, bool | int | float):
        return value
    return type(value).__name__
