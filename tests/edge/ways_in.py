"""Every way into a hub for somebody who brings a token, and what comes of it."""

from typing import Any

from tests.edge.http_clients import PollClient, stream, target
from tests.edge.live_hub import LiveHub
from tests.edge.ws_client import JSON, Client, Refused

HANDSHAKE = {
    "Upgrade": "websocket",
    "Connection": "Upgrade",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
}
WAYS = ("websocket", "auth", "sse", "poll", "api")
REFUSED = (4500, "unauthorized")
"""Whom the plugin doesn't let in is told so by his way."""


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


async def poll(hub: LiveHub, headers: dict[str, str], **query: str) -> Any:
    client = await PollClient.open(hub)
    client.request(target(**query), headers)
    return await client.answer()


async def way_in(hub: LiveHub, way: str, token: str, stranger: Client | None = None) -> Any:
    """Try to get in: the user's id, or the code of the problem, or the close code."""
    try:
        match way:
            case "websocket":
                return await user_of(await hub.open(subprotocol=JSON, headers=bearer(token)))
            case "auth":
                return await introduced(stranger or await hub.open(subprotocol=JSON), token)
            case "sse":
                return (await stream(hub, None, headers=bearer(token))).welcome["user"]
            case "poll":
                answer = await poll(hub, bearer(token))
            case _:
                answer = await hub.call("GET", "/api/subscriptions", token=token)
        return "let in" if answer.status == 200 else answer.code
    except Refused as why:
        return why.code


async def user_of(client: Client) -> Any:
    """The user whom the hub welcomes, or the close code."""
    first = await client.next()
    return first["user"] if first["hub"] == "welcome" else await client.closed()


async def introduced(client: Client, token: str) -> Any:
    """The same, for a WebSocket that says who it is in its first frame."""
    client.send(action="auth", ref="who", token=token)
    first = await client.next()
    if first["hub"] == "reply":
        return first["user"] if first["ok"] else first["error"]["code"]
    return await client.closed()
