"""From a registration to the ack of what was pushed: the whole way of a device, over HTTP and a real dispatcher."""

from typing import Any

import orjson

from hubd.plugin import Credentials, Identity, PluginConfig, PushBackend, hookimpl, identity_of
from hubd.testing import RecordingBackend, hub_for


class Toy:
    """Brings a push service that records."""

    def __init__(self, config: PluginConfig) -> None:
        self.backend = RecordingBackend("toy")

    @hookimpl
    def hubd_push_backends(self) -> list[PushBackend]:
        return [self.backend]


class Trusting:
    """Takes everybody for eve, and notes what came as a token."""

    def __init__(self, config: PluginConfig) -> None:
        self.tokens: list[str | None] = []

    @hookimpl
    async def hubd_authenticate(self, credentials: Credentials) -> Identity:
        self.tokens.append(credentials.token)
        return identity_of("eve")


def data(plugin: Toy, place: int = -1, most: int = 4096) -> dict[str, Any]:
    _, push = plugin.backend.sent[place]
    found: dict[str, Any] = orjson.loads(push.data(most))
    return found


async def test_what_is_too_large_is_fetched_and_acked_by_the_capability_that_came_with_it() -> None:
    async with hub_for(Toy) as hub:
        answer = await hub.request("POST", "/api/devices", user="ada", json={"platform": "toy", "token": "t1"})
        assert answer.status == 201
        await hub.publish(
            "user:ada", {"type": "post", "title": "Long", "text": "x" * 9000}, id="n1", priority="critical"
        )
        await hub.advance(1)
        light = data(hub.plugin)
        assert (light["id"], light["title"], light["fetch"]) == ("n1", "Long", True) and "text" not in light
        bearer = {"Authorization": f"Bearer {light['hub_capability']}"}
        whole = await hub.request("GET", "/api/notifications/n1", headers=bearer)
        assert whole.status == 200 and whole.json()["text"] == "x" * 9000
        acked = await hub.request("POST", "/api/acks", headers=bearer, json={"ids": ["n1"]})
        assert acked.status == 200
        explained = await hub.request("GET", "/api/notifications/n1/explain?user=ada", key=True)
        assert explained.json()["milestone"] == "acked"


async def test_overrides_reach_the_backend_and_never_the_app() -> None:
    async with hub_for(Toy) as hub:
        await hub.register("ada", "toy", token="t1")
        await hub.publish("user:ada", {"type": "post"}, id="n1", push={"toy": {"badge": 3}})
        await hub.advance(1)
        ((_, push),) = hub.plugin.backend.sent
        assert push.overrides == {"badge": 3} and "badge" not in str(data(hub.plugin))


async def test_no_plugin_is_shown_a_capability() -> None:
    async with hub_for(Trusting) as hub:
        until = hub.clock.now() + 60
        bearer = {"Authorization": f"Bearer {hub.hub.capabilities.sign('n1', 'ada', until)}"}
        await hub.publish("user:ada", {"type": "post"}, id="n1")
        assert (await hub.request("GET", "/api/notifications/n1", headers=bearer)).status == 200
        assert (await hub.request("GET", "/api/devices", headers=bearer)).status == 401
        assert hub.plugin.tokens == []
        assert (await hub.request("GET", "/api/devices", headers={"Authorization": "Bearer x"})).status == 200
        assert hub.plugin.tokens == ["x"]
