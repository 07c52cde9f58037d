"""The plugin: brings the backend, and tells browsers the key that they subscribe with."""

from aiohttp import web

from hubd.plugin import Egress, PluginHub, PushBackend, Routes, hookimpl, json_answer
from hubd_webpush.backend import AT_ONCE, WebPushBackend
from hubd_webpush.config import WebPushConfig

CONNECTIONS = 512


class WebPush:
    """Pushes by Web Push."""

    Config = WebPushConfig

    def __init__(self, config: WebPushConfig) -> None:
        self._config = config
        self._hub: PluginHub | None = None
        self._egress: Egress | None = None
        self.backend = WebPushBackend(config)

    @hookimpl
    def hubd_push_backends(self) -> list[PushBackend]:
        """One, for "webpush"."""
        return [self.backend]

    @hookimpl
    def hubd_register_routes(self, routes: Routes) -> None:
        """Browsers ask for the public key before they subscribe."""
        routes.public("GET", "/api/push/vapid-public-key", self._tell_key)

    async def _tell_key(self, request: web.Request) -> web.Response:
        answer = json_answer({"key": self._config.key.public})
        answer.headers["Cache-Control"] = "no-store"  # the next subscription has to be with the key of then
        return answer

    @hookimpl
    def hubd_startup(self, hub: PluginHub) -> None:
        """Be ready to send."""
        self._hub = hub
        self._open(hub)

    def _open(self, hub: PluginHub) -> None:
        for file in self._config.readable:
            hub.log.warning("everybody on this machine can read a private key: chmod 600", file=file)
        self._egress = Egress(self._config.allow_hosts, connections=CONNECTIONS, per_host=AT_ONCE)
        self.backend.open(self._egress, hub.clock)

    @hookimpl
    def hubd_reconfigure(self, config: WebPushConfig) -> None:
        """Other keys and services count from now on."""
        before, self._config = self._config, config
        self.backend.apply(config)
        if self._hub is not None and self._egress is not None and before.allow_hosts != config.allow_hosts:
            self._hub.start(self._egress.close(), "closes connections")
            self._open(self._hub)

    @hookimpl
    async def hubd_shutdown(self) -> None:
        """Close what is open."""
        if self._egress is not None:
            await self._egress.close()
