"""The plugin: what the hub tells becomes events, and each endpoint gets those that it wants."""

import asyncio
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from hubd.plugin import (
    Answer,
    ConnectionInfo,
    Device,
    Egress,
    Notification,
    Patterns,
    PluginHub,
    State,
    Verdict,
    hookimpl,
)
from hubd_webhooks import events
from hubd_webhooks.config import CALLS, EventType, WebhooksConfig
from hubd_webhooks.counts import Counts
from hubd_webhooks.endpoint import SHUTDOWN_S, Endpoint

if TYPE_CHECKING:
    import click
    from prometheus_client import CollectorRegistry


class Webhooks:
    """Tells the application what happens, by signed HTTP calls."""

    Config = WebhooksConfig

    def __init__(self, config: WebhooksConfig) -> None:
        self._config = config
        self._counts = Counts()
        self._hub: PluginHub | None = None
        self._egress: Egress | None = None
        self.endpoints: dict[str, Endpoint] = {}
        self._wanting: dict[EventType, list[tuple[Endpoint, Patterns | None]]] = {}

    # Its life

    @hookimpl
    def hubd_register_metrics(self, registry: "CollectorRegistry") -> None:
        """Show what is counted."""
        self._counts.register(registry)

    @hookimpl
    def hubd_register_commands(self, commands: "click.Group") -> None:
        """Add `hubd webhooks`."""
        from hubd_webhooks.commands import webhooks

        commands.add_command(webhooks(self._config))

    @hookimpl
    def hubd_startup(self, hub: PluginHub) -> None:
        """Be ready; nothing is called before there is something to tell."""
        self._hub = hub
        self._egress = self.make_egress(self._config)
        self._arrange(hub)

    @hookimpl
    def hubd_reconfigure(self, config: WebhooksConfig) -> None:
        """Go by other endpoints and limits from now on; those that stay keep what waits for them."""
        before, self._config = self._config, config
        if self._hub is None:
            return
        if before.allow_hosts != config.allow_hosts and self._egress is not None:
            self._hub.start(self._egress.close(), "closes connections")
            self._egress = self.make_egress(config)
        self._arrange(self._hub)

    def _arrange(self, hub: PluginHub) -> None:
        wanted = {endpoint.label: endpoint for endpoint in self._config.endpoints}
        for label in [label for label in self.endpoints if label not in wanted]:
            self.endpoints.pop(label).remove()
        for label, options in wanted.items():
            if (known := self.endpoints.get(label)) is not None:
                known.apply(options, self._config)
            else:
                counts = self._counts.of(label)
                self.endpoints[label] = Endpoint(options, self._config, hub, self._send, counts)
        self._wanting = {}
        for endpoint in self.endpoints.values():
            channels = endpoint.config.channels
            patterns = None if "**" in channels else Patterns(channels)
            for type_ in dict.fromkeys(endpoint.config.events):
                self._wanting.setdefault(type_, []).append((endpoint, patterns))

    def make_egress(self, config: WebhooksConfig) -> Egress:
        """The client that calls; tests have it replaced."""
        # As many connections as there can be calls: an endpoint that stalls takes none from another.
        return Egress(config.allow_hosts, connections=CALLS, per_host=CALLS)

    async def _send(
        self, method: str, url: str, *, headers: dict[str, str], body: bytes, timeout_s: float, answer_bytes: int
    ) -> Answer:
        assert self._egress is not None
        return await self._egress.send(
            method, url, headers=headers, body=body, timeout_s=timeout_s, answer_bytes=answer_bytes
        )

    @hookimpl
    async def hubd_shutdown(self) -> None:
        """Send what waits, for a few seconds; the rest is lost, and said to be."""
        self._wanting = {}
        try:
            if workers := [worker for endpoint in self.endpoints.values() for worker in endpoint.close()]:
                await asyncio.wait(workers, timeout=SHUTDOWN_S)
        finally:
            for endpoint in self.endpoints.values():
                endpoint.end("shutdown")
            if self._egress is not None:
                await self._egress.close()

    # What has happened

    def _tell(
        self,
        type_: EventType,
        data: events.Data,
        channels: Iterable[str] | None = None,
        whole: Notification | None = None,
    ) -> None:
        """One event for each endpoint that wants it.

        ``channels``: what it is about, if that counts. ``whole``: the notification, for those who want that, too.
        """
        hub = self._hub
        wanting = [
            endpoint
            for endpoint, patterns in self._wanting.get(type_, ())
            if channels is None or patterns is None or any(map(patterns.match, channels))
        ]
        if hub is None or not wanting:
            return
        id, at_ms = events.new_id("evt", hub.random), int(hub.clock.now() * 1000)
        plain: bytes | None = None
        full: bytes | None = None
        for endpoint in wanting:
            if whole is not None and endpoint.config.payload:
                full = full or events.encoded(id, type_, at_ms, events.with_payload(data, whole))
                endpoint.offer(full)
            else:
                plain = plain or events.encoded(id, type_, at_ms, data)
                endpoint.offer(plain)

    @hookimpl
    def hubd_published(self, notification: Notification, live: int) -> None:
        """``published``."""
        if "published" in self._wanting:
            self._tell("published", events.published(notification, live), notification.channels, notification)

    @hookimpl
    def hubd_retracted(self, notification: Notification) -> None:
        """``retracted``."""
        self._tell("retracted", events.about_notification(notification), notification.channels)

    @hookimpl
    def hubd_filtered(self, notification: Notification, verdicts: Sequence[tuple[str, Verdict]]) -> None:
        """``dropped``, ``held`` or ``digested``: one for each thing that a gate said."""
        for plugin, verdict in verdicts:
            type_ = events.EVENT_OF[verdict.action]
            if self._hub is not None and type_ in self._wanting:
                data = events.withheld(notification, plugin, verdict, self._hub.user_of)
                self._tell(type_, data, notification.channels)

    @hookimpl
    def hubd_acked(self, user: str, ids: tuple[str, ...]) -> None:
        """``acked``."""
        self._tell("acked", events.acked(user, ids))

    @hookimpl
    def hubd_connected(self, connection: ConnectionInfo) -> None:
        """``connected``."""
        self._tell("connected", events.connected(connection))

    @hookimpl
    def hubd_disconnected(self, connection: ConnectionInfo, reason: str) -> None:
        """``disconnected``."""
        self._tell("disconnected", events.disconnected(connection, reason))

    @hookimpl
    def hubd_subscribed(self, user: str, topic: str, connection: ConnectionInfo | None) -> None:
        """``subscribed``."""
        self._tell("subscribed", events.subscription(user, topic, connection), (topic,))

    @hookimpl
    def hubd_unsubscribed(self, user: str, topic: str, connection: ConnectionInfo | None) -> None:
        """``unsubscribed``."""
        self._tell("unsubscribed", events.subscription(user, topic, connection), (topic,))

    @hookimpl
    def hubd_presence_changed(self, user: str, before: State, after: State) -> None:
        """``presence``."""
        self._tell("presence", events.presence(user, before, after))

    @hookimpl
    def hubd_devices_gone(self, user: str, devices: Sequence[Device], reason: str) -> None:
        """``gone``."""
        self._tell("gone", events.gone(user, devices, reason))
