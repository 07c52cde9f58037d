"""The plugin `fcm` in a hub, with a stand-in for FCM behind it, and pushes as the hub hands them over."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

import orjson
from firebase_admin import messaging
from hubd_fcm import Fcm
from hubd_fcm.backend import FcmBackend

from hubd.clock import Clock
from hubd.plugin import Device, Priority, Push, PushResult
from hubd.testing import PluginWorld, hub_for
from hubd.testing.fcm_quotas import FcmLimits
from hubd.testing.fcm_service import FcmService

DEVICE = Device("dev_1", "ada", "fcm", {"token": "token-1"}, "hubd-stand-in")
OTHER_DEVICE = Device("dev_2", "bob", "fcm", {"token": "token-2"}, "hubd-stand-in")


def push(**given: Any) -> Push:
    """A push; ``text`` is what stands in its payload besides, ``light`` what it has when there is no room for that."""
    text = given.pop("text", "")
    fields: dict[str, Any] = {
        "id": "n1",
        "type": "chat",
        "priority": Priority.IMPORTANT,
        "title": "Hello",
        "body": "Are you there?",
        "url": "https://app.example.com/chat/7",
        "collapse_key": None,
        "tag": "n1",
        "expires_at": 1_800_000_600,
        "ttl_s": 600,
        "overrides": {},
    } | given
    whole = orjson.dumps({"id": fields["id"], "type": fields["type"], "title": fields["title"], "text": text})
    light = orjson.dumps({"id": fields["id"], "fetch": True})
    fields.setdefault("data", lambda most: whole if len(whole) <= most else light)
    return Push(**fields)


class FcmWorld(NamedTuple):
    """A hub with the plugin, and the service that it calls."""

    hub: PluginWorld
    service: FcmService

    @property
    def backend(self) -> FcmBackend:
        backend: FcmBackend = self.hub.plugin.backend
        return backend

    async def send(self, device: Device = DEVICE, **given: Any) -> PushResult:
        return await self.backend.send(device, push(**given))


@asynccontextmanager
async def fcm(
    folder: Path, *, limits: FcmLimits | None = None, clock: Clock | None = None, **options: Any
) -> AsyncIterator[FcmWorld]:
    """``sender = "sdk"`` is led to the stand-in behind the plugin's back: firebase-admin knows no other endpoint."""
    async with FcmService(limits=limits, clock=clock) as service:
        given = service.options(folder, **options)
        if options.get("sender") == "sdk":
            del given["endpoint"]
        async with hub_for(Fcm, given) as hub:
            if options.get("sender") == "sdk":
                lead_to(service, hub.plugin._sender._app)
            yield FcmWorld(hub, service)


def lead_to(service: FcmService, app: Any) -> None:
    """Let firebase-admin's app send to the stand-in."""
    messaging._get_messaging_service(app)._fcm_url = service.url
    # google-auth would ask Google in a thread in which regions the account may be used.
    app.credential.get_credential()._maybe_start_regional_access_boundary_refresh = lambda *_: None
