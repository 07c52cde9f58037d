"""The plugin: a push backend, and connections from the hub's start to its end."""

import asyncio
from typing import TYPE_CHECKING

from hubd.plugin import PluginHub, PushBackend, hookimpl
from hubd_apns.backend import ApnsBackend
from hubd_apns.config import ApnsConfig
from hubd_apns.counts import Counts

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

    from hubd_apns.lines import Lines


def _load() -> "type[Lines]":
    """Late, and not in the loop: it loads aioapns, h2 and OpenSSL, which takes a while."""
    from hubd_apns.lines import Lines

    return Lines


class Apns:
    """Pushes to Apple's devices."""

    Config = ApnsConfig

    def __init__(self, config: ApnsConfig) -> None:
        self._config = config
        self.backend = ApnsBackend(config)
        self.lines: Lines | None = None
        self._hub: PluginHub | None = None

    @hookimpl
    def hubd_push_backends(self) -> list[PushBackend]:
        """The one for the platform `apns`."""
        return [self.backend]

    @hookimpl
    def hubd_register_metrics(self, registry: "CollectorRegistry") -> None:
        """Show what is counted."""
        registry.register(Counts(lambda: self.lines))

    @hookimpl
    async def hubd_startup(self, hub: PluginHub) -> None:
        """Be ready; nothing is dialled before there is something to send."""
        lines = await asyncio.to_thread(_load)
        self._hub = hub
        self.lines = lines(self._config, hub)
        self.backend.start(hub, self.lines)
        self._warn()

    @hookimpl
    def hubd_reconfigure(self, config: ApnsConfig) -> None:
        """Go by other apps and keys from now on; connections of those that stay go on."""
        self._config = config
        self.backend.apply(config)
        if self.lines is not None:
            self.lines.apply(config)
            self._warn()

    def _warn(self) -> None:
        for file in dict.fromkeys(app.key_file for app in self._config.apps if app.is_readable):
            if self._hub is not None:
                self._hub.log.warning("everybody on this machine can read a private key: chmod 600", file=file)

    @hookimpl
    async def hubd_shutdown(self) -> None:
        """Close the connections."""
        if self.lines is not None:
            await self.lines.close()
