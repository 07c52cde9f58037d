"""The plugin `apns` against the stand-in for APNs, with and without a hub around it."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import orjson
from hubd_apns import Apns

from hubd.core.notification import Priority
from hubd.plugin import Device, Push, PushResult
from hubd.testing import FakeClock, PluginWorld, hub_for
from hubd.testing.apns_service import ApnsService

TOKEN = "a1" * 32
WAIT_S = 20.0


def token_of(number: int) -> str:
    return f"{number:064x}"


def push(id: str = "n1", **fields: Any) -> Push:
    """A push as the hub makes them."""

    def data(most: int) -> bytes:
        whole = orjson.dumps({"id": id, "type": "test", "hub_capability": "cap_x", "pad": "x" * size})
        return whole if len(whole) <= most else orjson.dumps({"id": id, "type": "test", "fetch": True})

    size = fields.pop("size", 10)
    usual = Push(
        id=id,
        type="test",
        priority=Priority.IMPORTANT,
        title="Hello",
        body="World",
        url="",
        collapse_key=None,
        tag=id,
        expires_at=1_800_003_600,
        ttl_s=3600,
        overrides={},
        data=data,
    )
    return usual._replace(**fields)


class World(NamedTuple):
    hub: PluginWorld
    service: ApnsService
    plugin: Apns

    def device(self, token: str = TOKEN, **fields: Any) -> Device:
        address = self.plugin.backend.check({"token": token, **fields})
        return Device(f"dev_{token[-12:]}", "ada", "apns", address.fields, address.app)

    async def send(self, token: str = TOKEN, of: Push | None = None) -> PushResult:
        return await self.plugin.backend.send(self.device(token), of or push())

    @property
    def pools(self) -> list[Any]:
        assert self.plugin.lines is not None
        return self.plugin.lines.pools

    @property
    def open_streams(self) -> int:
        """What the client has open, by its own count and by h2's."""
        connections = [connection for pool in self.pools for connection in pool.connections]
        return sum(len(one.streams) + one.conn.open_outbound_streams for one in connections)


@asynccontextmanager
async def apns(
    options: Mapping[str, Any] | None = None, app: Mapping[str, Any] | None = None, **service_options: Any
) -> AsyncIterator[World]:
    """A hub with the plugin, and the service that it sends to; both by one clock that is turned by hand."""
    clock = FakeClock()
    async with ApnsService(clock=clock, **service_options) as service:
        config = {"apps": [service.app(**(app or {}))], **(options or {})}
        async with hub_for(Apns, config, clock=clock) as hub:
            yield World(hub, service, hub.plugin)


def plain(service: ApnsService) -> Any:
    """aioapns as it is, to the same service: what the plugin's client is compared with."""
    from aioapns import APNs
    from aioapns.connection import APNsTLSClientProtocol

    context = service.authority.client_context()
    context.set_alpn_protocols(["h2"])
    client = APNs(
        key=service.key_file.read_text(),
        key_id=service.key_id,
        team_id=service.team_id,
        topic=service.topics[0],
        max_connections=1,
        max_connection_attempts=1,
        ssl_context=context,
    )
    local = {"APNS_SERVER": "127.0.0.1", "APNS_PORT": service.port}
    client.pool.protocol_class = type("Local", (APNsTLSClientProtocol,), local)
    return client
