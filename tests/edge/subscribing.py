"""Connecting with topics on every transport, and seeing what that subscribed to."""

from typing import Any

from tests.edge.hooked_hub import HookedHub, beside
from tests.edge.http_clients import poller, stream
from tests.edge.live_hub import eventually
from tests.edge.ws_client import JSON, Client, Refused

TRANSPORTS = ("websocket", "auth", "sse", "poll")


def bearer(hub: HookedHub, user: str = "42", **claims: Any) -> dict[str, str]:
    return {"Authorization": f"Bearer {hub.token(user, **{'topics': ['**']} | claims)}"}


async def joined(hub: HookedHub, way: str, topics: str, user: str = "42") -> set[str]:
    """Connect, and see what that subscribed to; ``Refused`` when it can't."""
    before = set(hub.hub.registry.connections)
    match way:
        case "websocket":
            await (await hub.open(subprotocol=JSON, headers=bearer(hub, user), query={"topics": topics})).next()
        case "auth":
            client = await hub.open(subprotocol=JSON, query={"topics": topics})
            reply = await client.ask("auth", token=hub.token(user, topics=["**"]))
            if not reply["ok"]:
                raise Refused({"unavailable": 503, "forbidden": 403}[reply["error"]["code"]], {}, b"")
        case "sse":
            await stream(hub, user, topics=topics)
        case _:
            client = await poller(hub, user)
            cursor = hub.hub.attendance.cursor()
            client.ask(cursor, topics=topics)
            answer = beside(client.answer())
            await eventually(lambda: answer.done() or set(hub.hub.registry.connections) - before)
            if answer.done():
                raise Refused(answer.result().status, {}, b"")
            answer.cancel()
    (fresh,) = set(hub.hub.registry.connections) - before
    return set(fresh.topics)


async def connected(hub: HookedHub, user: str = "42", **options: Any) -> Client:
    client, _ = await hub.welcomed(user, **options)
    return client


def topics_of(hub: HookedHub, user: str = "42") -> set[str]:
    return {topic for connection in hub.hub.registry.connections_of(user) for topic in connection.topics}
