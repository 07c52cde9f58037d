"""Which plugins are installed beside hubd: entry points in the group `hubd`."""

from importlib.metadata import EntryPoint, entry_points

GROUP = "hubd"
OWN = ("apns", "batching", "digest", "email", "fcm", "inbox", "preferences", "quiet_hours", "webpush")
"""hubd's own plugins that this version doesn't have yet: a config that names them is told so."""


def installed_plugins() -> dict[str, EntryPoint]:
    """By name, in the order of their names."""
    return {entry.name: entry for entry in sorted(entry_points(group=GROUP), key=lambda entry: entry.name)}
