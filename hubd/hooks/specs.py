"""The hooks that plugins can implement: what each is for, what it is given, and what may come back.

How each is called, and what happens when a plugin fails in it, is in `hubd.hooks.table`. This is the one place that
says what they mean; ``docs/plugins.md`` has an example of each.
"""

import inspect
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pluggy

if TYPE_CHECKING:
    import click
    from prometheus_client import CollectorRegistry

    from hubd.broker import Broker
    from hubd.core.connection import ConnectionInfo
    from hubd.core.identity import Identity
    from hubd.core.notification import Notification
    from hubd.core.presence import State
    from hubd.core.publish import Draft
    from hubd.core.users import UserSet
    from hubd.core.verdict import Verdict
    from hubd.edge.credentials import Credentials
    from hubd.edge.plugin_routes import Routes
    from hubd.hooks.handle import PluginHub
    from hubd.hooks.push import Device, PushBackend

hookspec = pluggy.HookspecMarker("hubd")
hookimpl = pluggy.HookimplMarker("hubd")
"""Marks a method as the implementation of the hook whose name it has."""

# --- The plugin's life


@hookspec
def hubd_startup(hub: "PluginHub") -> None:
    """Begin: open what is needed, start tasks (``hub.start``). The hub doesn't listen yet.

    ``hub``: what the plugin can ask of the hub, and tell it, from now on.
    """


@hookspec
def hubd_reconfigure(config: Any) -> None:
    """Take over the options, because the hub's config was reloaded; they may be the same as before.

    ``config``: the options, checked. For a plugin without this hook, a changed table waits for a restart.
    """


@hookspec
def hubd_shutdown() -> None:
    """End: close what was opened. Everybody is disconnected, and nothing more will be told.

    Tasks that ``hub.start`` started are cancelled afterwards.
    """


# --- What a plugin adds


@hookspec
def hubd_register_routes(routes: "Routes") -> None:
    """Add HTTP calls.

    ``routes``: takes them: ``routes.user`` for users, ``routes.server`` for servers with an API key,
    ``routes.public`` for anybody.
    """


@hookspec
def hubd_register_commands(commands: "click.Group") -> None:
    """Add commands to `hubd`. There is no running hub: commands have the plugin's options, and the HTTP API.

    ``commands``: a click group that takes them.
    """


@hookspec
def hubd_register_metrics(registry: "CollectorRegistry") -> None:
    """Add metrics, which then stand in `/metrics`.

    ``registry``: a registry of prometheus-client's for the plugin's own; the names have to begin with the plugin's.
    """


@hookspec
def hubd_check_health() -> str | None:
    """Say why the hub shouldn't be sent clients now, in a few words; None when all is well.

    It is asked whenever somebody looks at `/health/ready`, so it should look at what is known already.
    """


@hookspec
def hubd_broker() -> "Broker | None":
    """Bring the broker that gives publications their order. One plugin may; without one the hub has its own."""


@hookspec
def hubd_push_backends() -> "Iterable[PushBackend] | None":
    """Bring what talks to push services, one backend for each platform."""


# --- Who may do what


@hookspec
def hubd_authenticate(credentials: "Credentials") -> "Identity | None":
    """Say who is asking. The first plugin that knows answers; if none does, the hub looks for a token of its own.

    ``credentials``: what the request brought. To refuse it, raise ``Problem("unauthorized", why)``. API keys of servers
    don't come here.
    """


@hookspec
def hubd_authorize_subscribe(identity: "Identity", channels: tuple[str, ...]) -> Iterable[str] | None:
    """Object to what a user wants to subscribe to or read: the names of those of the channels that he may not have.

    One objection is enough. What his token or the plugin that authenticated him doesn't allow isn't asked about.

    ``identity``: who it is. ``channels``: topics by their canonical names.
    """


@hookspec
def hubd_authorize_publish(
    publisher: str, identity: "Identity | None", channels: tuple[str, ...], draft: "Draft"
) -> Iterable[str] | None:
    """Object to a publish call: the names of those of the channels that it may not go to.

    One objection is enough, and then nothing is published. Raise a ``Problem`` to refuse for another reason.

    ``publisher``: "key:ID" for a server, "user:ID" for a user, "plugin:NAME". ``identity``: the user, if it is one.
    ``channels``: canonical names; none for a segment. ``draft``: what is to be published.
    """


# --- The way of a notification


@hookspec
def hubd_prepare_notification(draft: "Draft") -> Mapping[str, Any] | None:
    """Change what is about to be published: the fields of the publish call that get another value, None for none.

    These can change: ``notification``, ``priority``, ``persistence``, ``ttl``, ``collapse_key``, ``group``. What
    comes back is checked as a publish call is. Raise a ``Problem`` to refuse the call.

    ``draft``: the call, with what plugins before this one changed. Not to be changed itself.
    """


@hookspec
def hubd_resolve_audience(segment: Any) -> "UserSet | Iterable[str] | None":
    """Say who is meant by `"to": {"segment": ...}`: users, or channels by name. None: not my kind of segment.

    What several plugins answer is put together. Without any plugin on this hook segments are refused.

    ``segment``: what stands in the publish call, up to 4,096 bytes of JSON.
    """


@hookspec
def hubd_filter_recipients(notification: "Notification", recipients: "UserSet") -> "Verdict | Iterable[Verdict] | None":
    """Keep a notification from some of those whom it is meant for: ``drop``, ``hold`` or ``digest`` of sets of users.

    Called once for all of them, not once for each, and it can't wait: whatever it goes by has to be in memory.

    ``notification``: what was published; it has no place in the sequence yet. ``recipients``: who is left after the
    plugins before this one: users by number (``PluginHub.number_of``). Not to be changed. Who joins while the
    notification is being stored is asked about in a second call; and who was away, and comes to read what he missed,
    when he does.
    """


@hookspec
def hubd_store_notification(notification: "Notification", recipients: "UserSet") -> None:
    """Keep a notification before anybody gets it. The publisher is answered after that.

    ``notification``: what was published; ``verdicts`` in it say from whom gates keep it. ``recipients``: everybody whom
    it is meant for, those too; users by number. Not to be changed.
    """


# --- What has happened


@hookspec
def hubd_published(notification: "Notification", live: int) -> None:
    """A notification was published by this hub. What is released later isn't told a second time.

    ``notification``: what was published, and under which cursor. ``live``: for how many connections it was queued.
    """


@hookspec
def hubd_filtered(notification: "Notification", verdicts: "Sequence[tuple[str, Verdict]]") -> None:
    """Gates kept a notification from some of those whom it was meant for.

    ``notification``: which one. ``verdicts``: by which plugin, and what it said, each about those alone for whom the
    notification was meant.
    """


@hookspec
def hubd_retracted(notification: "Notification") -> None:
    """A notification was taken back.

    ``notification``: which one.
    """


@hookspec
def hubd_acked(user: str, ids: tuple[str, ...]) -> None:
    """A user was shown notifications; each is told once for each user, however many devices say so.

    ``user``: who. ``ids``: of which notifications.
    """


@hookspec
def hubd_connected(connection: "ConnectionInfo") -> None:
    """A connection was taken in; each waiting long-poll is one.

    ``connection``: its id, user, transport, address and identity.
    """


@hookspec
def hubd_disconnected(connection: "ConnectionInfo", reason: str) -> None:
    """A connection is over, and its subscriptions with it.

    ``connection``: which one. ``reason``: gone, answered (a poll), replaced, slow_consumer, or the reason of the hub's
    close code.
    """


@hookspec
def hubd_subscribed(user: str, topic: str, connection: "ConnectionInfo | None") -> None:
    """Somebody subscribed to a topic.

    ``user``: who. ``topic``: its canonical name. ``connection``: which one; None for a durable subscription, which is
    the user's.
    """


@hookspec
def hubd_unsubscribed(user: str, topic: str, connection: "ConnectionInfo | None") -> None:
    """A subscription ended, other than by the end of its connection.

    ``user``: whose. ``topic``: its canonical name. ``connection``: which one; None for a durable subscription.
    """


@hookspec
def hubd_presence_changed(user: str, before: "State", after: "State") -> None:
    """A user's presence changed.

    ``user``: whose. ``before``, ``after``: attentive, connected, wavering or away.
    """


@hookspec
def hubd_devices_gone(user: str, devices: "Sequence[Device]", reason: str) -> None:
    """A push service doesn't know devices of a user any more.

    ``user``: whose. ``devices``: which ones. ``reason``: in the service's words.
    """


def arguments_of(hook: str) -> list[str]:
    """The names of a hook's arguments, in the order in which they are handed over."""
    return list(inspect.signature(getattr(sys.modules[__name__], f"hubd_{hook}")).parameters)
