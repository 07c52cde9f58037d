"""The plugin: brings the push backend for the platform "fcm"."""

import asyncio
from typing import Any

from hubd.plugin import Egress, PluginError, PluginHub, PushBackend, hookimpl
from hubd_fcm.backend import AT_ONCE, FcmBackend
from hubd_fcm.config import FcmConfig
from hubd_fcm.credential import SCOPE, Credential, GoogleTokens
from hubd_fcm.messages import Messages
from hubd_fcm.senders import CALL_S, HttpSender, SdkSender, Sender

APP = "hubd-fcm"
"""What firebase-admin knows the app by, beside those of others in this process."""


def _load() -> None:
    from firebase_admin import credentials, messaging  # noqa: F401


class Fcm:
    """Pushes by FCM."""

    Config = FcmConfig

    def __init__(self, config: FcmConfig) -> None:
        self._config = config
        self._hub: PluginHub | None = None
        self._sender: Sender | None = None
        self.credential: Credential | None = None
        self._notification = config.message == "notification"
        self.backend = FcmBackend(config.account.project, all_collapsible=self._notification)

    @hookimpl
    def hubd_push_backends(self) -> list[PushBackend]:
        """The one for FCM."""
        return [self.backend]

    @hookimpl
    async def hubd_startup(self, hub: PluginHub) -> None:
        """Load firebase-admin; nothing is called before there is something to send."""
        try:
            await asyncio.to_thread(_load)  # it takes a second, and many on a busy machine
        except ImportError:
            raise PluginError("firebase-admin is missing: pip install 'firebase-admin>=7.7,<8'") from None
        self._hub = hub
        self._begin(hub)

    def _begin(self, hub: PluginHub) -> None:
        from firebase_admin import credentials, messaging

        config, account = self._config, self._config.account
        if account.others_can_read:
            hub.log.warning("everybody on this machine can read the service account's file: chmod 600")
        certificate = credentials.Certificate(dict(account.info))
        messages = Messages(messaging, notification=self._notification, channel_id=config.android_channel_id)
        self._sender = self._http(hub, certificate) if config.sender == "http" else self._sdk(hub, certificate)
        self.backend.begin(messages, self._sender, hub.log)

    def _http(self, hub: PluginHub, certificate: Any) -> Sender:
        # With the one right that it needs; firebase-admin asks for all that a project has.
        google = certificate.get_credential().with_scopes([SCOPE])
        self.credential = Credential(GoogleTokens(google), hub)
        return HttpSender(self._config.url, self.credential, self.make_egress(self._config), hub.clock)

    def _sdk(self, hub: PluginHub, certificate: Any) -> Sender:
        import firebase_admin
        from firebase_admin import messaging

        app = firebase_admin.initialize_app(certificate, {"httpTimeout": CALL_S}, name=f"{APP}-{id(self)}")
        self.credential = Credential(GoogleTokens(certificate.get_credential()), hub)
        return SdkSender(messaging, app, self.credential, hub.clock)

    def make_egress(self, config: FcmConfig) -> Egress:
        """The client that calls; tests have it replaced."""
        return Egress(config.allow_hosts, connections=AT_ONCE, per_host=AT_ONCE)

    @hookimpl
    def hubd_reconfigure(self, config: FcmConfig) -> None:
        """Go by other options from now on, and by the account's file as it is now."""
        before, self._config = self._config, config
        self.backend.project = config.account.project
        if self._hub is None or (before == config and before.account == config.account):
            return
        if (config.message == "notification") != self._notification:  # the hub's pace goes by it from its start on
            self._hub.log.warning("another kind of message takes a restart", option="message")
        if self._sender is not None:
            self._hub.start(self._sender.close(), "closes connections")
        self._begin(self._hub)

    @hookimpl
    async def hubd_shutdown(self) -> None:
        """Close the connections."""
        self.backend.end()
        if self._sender is not None:
            await self._sender.close()
