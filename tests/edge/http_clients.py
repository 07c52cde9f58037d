"""An event stream's and a poll's client, written from the protocol page and the HTML standard alone, on bare sockets.

They share no code with the hub, see each byte, and can do what a browser can't: read nothing, pipeline, reset.
"""

import asyncio
import json
import os
import socket
from collections.abc import Mapping
from typing import Any, NamedTuple, Self
from urllib.parse import urlencode

from tests.edge.live_hub import HOST, Answer, LiveHub
from tests.edge.ws_client import PATIENCE_S, Refused, reset

Message = dict[str, Any]
EVENTS = "text/event-stream"


class Event(NamedTuple):
    """One dispatched event: its kind ('message' without an ``event:``), what its data says, the last id so far."""

    kind: str
    data: Message
    id: str


class HttpClient:
    """One TCP connection that speaks HTTP."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.head = b""

    @classmethod
    async def open(cls, hub: LiveHub, *, receive_buffer: int | None = None) -> Self:
        """Connect; the hub's test ends it at the latest."""
        sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        if receive_buffer is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        sock.setblocking(False)
        await asyncio.get_running_loop().sock_connect(sock, (HOST, hub.port))
        limit = {} if receive_buffer is None else {"limit": 16384}
        client = cls(*await asyncio.open_connection(sock=sock, **limit))
        hub.clients.append(client)
        return client

    def write(self, data: bytes) -> None:
        """Bytes as they are."""
        self.writer.write(data)

    def request(
        self, target: str, headers: Mapping[str, str] | None = None, method: str = "GET", body: bytes | None = None
    ) -> None:
        """Send a request."""
        given = {"Host": "127.0.0.1"} | dict(headers or {})
        if body is not None:
            given["Content-Length"] = str(len(body))
        lines = "".join(f"{name}: {value}\r\n" for name, value in given.items())
        self.write(f"{method} {target} HTTP/1.1\r\n{lines}\r\n".encode() + (body or b""))

    async def read_head(self) -> tuple[int, dict[str, str]]:
        """Status and headers (their names in lower case) of the next answer."""
        async with asyncio.timeout(PATIENCE_S):
            self.head = await self.reader.readuntil(b"\r\n\r\n")
        first, *lines = self.head.decode("latin-1").split("\r\n")[:-2]
        version, status, _ = first.split(" ", 2)
        assert version == "HTTP/1.1"
        headers: dict[str, str] = {}
        for line in lines:
            name, _, value = line.partition(":")
            assert name.lower() not in headers, f"{name} comes twice"
            headers[name.lower()] = value.strip()
        return int(status), headers

    async def answer(self) -> Answer:
        """The next answer, with its body."""
        status, headers = await self.read_head()
        async with asyncio.timeout(PATIENCE_S):
            body = await self.reader.readexactly(int(headers["content-length"]))
        given = {name.title(): value for name, value in headers.items()}
        return Answer(status, given, json.loads(body) if "json" in headers.get("content-type", "") else body)

    async def at_end(self) -> bool:
        """Wait for the connection's end; nothing comes before it."""
        async with asyncio.timeout(PATIENCE_S):
            try:
                return await self.reader.read(1) == b""
            except ConnectionError:
                return True

    def hang_up(self) -> None:
        """Close the TCP connection (FIN)."""
        self.writer.close()

    def reset(self) -> None:
        """End it by a RST."""
        reset(self.writer)


class EventStream(HttpClient):
    """Reads an event stream as the HTML standard says ("Interpreting an event stream")."""

    headers: Mapping[str, str]
    welcome: Message

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        super().__init__(reader, writer)
        self.headers = {}
        self.last_id = ""
        self.retry: int | None = None
        self.raw = b""
        self.lines: list[bytes] = []
        self.events: list[Event] = []

    async def begin(self) -> None:
        """Read the head; ``Refused`` unless it is a stream's."""
        status, self.headers = await self.read_head()
        if status != 200 or self.headers["content-type"] != EVENTS:
            body = await self.reader.readexactly(int(self.headers.get("content-length", "0")))
            raise Refused(status, dict(self.headers), body)

    async def block(self) -> list[bytes] | None:
        """The lines up to the next empty one, as they are; None at the end of the stream."""
        lines: list[bytes] = []
        async with asyncio.timeout(PATIENCE_S):
            while True:
                try:
                    line = await self.reader.readuntil(b"\n")
                except asyncio.IncompleteReadError as end:
                    assert end.partial == b"", f"cut in the middle: {end.partial!r}"
                    assert lines == [], f"cut before the end of {lines}"
                    return None
                except ConnectionError:
                    return None
                self.raw += line
                assert b"\r" not in line
                if line == b"\n":
                    return lines
                lines.append(line[:-1])

    async def next(self) -> Event:
        """The next event."""
        if self.events:
            return self.events.pop(0)
        return await self._read()

    async def _read(self) -> Event:
        while (block := await self.block()) is not None:
            event = self.dispatch(block)
            if event is not None:
                return event
        raise AssertionError("the stream ended")

    def dispatch(self, block: list[bytes]) -> Event | None:
        """Take one block in."""
        data: list[str] = []
        kind = ""
        for line in block:
            name, _, value = line.decode().partition(":")
            value = value.removeprefix(" ")
            match name:
                case "":
                    self.lines.append(line)
                case "event":
                    kind = value
                case "data":
                    data.append(value)
                case "id":
                    assert "\0" not in value
                    self.last_id = value
                case "retry":
                    assert value.isdigit() and value.isascii()
                    self.retry = int(value)
                case _:
                    raise AssertionError(f"{line!r} is no line of a stream")
        if not data:
            return None
        assert len(data) == 1, "each event has one line of data"
        return Event(kind or "message", json.loads(data[0]), self.last_id)

    async def until(self, hub: LiveHub) -> list[Event]:
        """All events until now: everything that the hub sends before a comment that it is now made to send."""
        mark = f": {os.urandom(8).hex()}".encode()
        connection: Any = next(one for one in hub.hub.registry.connections if one.id == self.welcome["connection"])
        connection.put(mark + b"\n\n")
        found, self.events = self.events, []
        while (block := await self.block()) is not None:
            if block == [mark]:
                return found
            if (event := self.dispatch(block)) is not None:
                found.append(event)
        raise AssertionError(f"the stream ended after {found}")

    async def notifications(self, hub: LiveHub) -> list[Message]:
        """The notifications among the events until now; each has its cursor as its id."""
        return notifications_of(await self.until(hub))

    async def ended(self) -> list[Event]:
        """The rest of the events, up to the stream's end."""
        found, self.events = self.events, []
        while (block := await self.block()) is not None:
            if (event := self.dispatch(block)) is not None:
                found.append(event)
        return found


def notifications_of(events: list[Event]) -> list[Message]:
    """The notifications among events, each of which must have its cursor as its id."""
    found = []
    for event in events:
        if event.kind == "message":
            assert event.data["cursor"] == event.id and "hub" not in event.data
            found.append(event.data)
        else:
            assert event.kind == "hub" and "hub" in event.data and "type" not in event.data
    return found


def proof(hub: LiveHub, user: str | None, claims: Mapping[str, Any] | None = None) -> dict[str, str]:
    """The header of a user who may subscribe to everything."""
    if user is None:
        return {}
    return {"Authorization": f"Bearer {hub.token(user, **{'topics': ['**']} | dict(claims or {}))}"}


def target(path: str = "/notifications", **query: Any) -> str:
    """A path with the parameters that there are."""
    given = {name: str(value) for name, value in query.items() if value is not None}
    return f"{path}?{urlencode(given)}" if given else path


async def open_stream(
    hub: LiveHub,
    user: str | None = "42",
    *,
    accept: str = EVENTS,
    headers: Mapping[str, str] | None = None,
    claims: Mapping[str, Any] | None = None,
    receive_buffer: int | None = None,
    **query: Any,
) -> EventStream:
    """An event stream, its head read and nothing else."""
    client = await EventStream.open(hub, receive_buffer=receive_buffer)
    client.request(target(**query), {"Accept": accept} | proof(hub, user, claims) | dict(headers or {}))
    await client.begin()
    return client


async def stream(hub: LiveHub, user: str | None = "42", **options: Any) -> EventStream:
    """An event stream, its welcome read."""
    client = await open_stream(hub, user, **options)
    event = await client.next()
    assert event.kind == "hub" and event.data["hub"] == "welcome"
    client.welcome = event.data
    return client


async def refused(hub: LiveHub, user: str | None = "42", **options: Any) -> Refused:
    """A stream that isn't opened: why."""
    try:
        await open_stream(hub, user, **options)
    except Refused as why:
        assert why.headers["content-type"] == "application/problem+json"
        return why
    raise AssertionError("it was opened")


class PollClient(HttpClient):
    """Polls on one connection that is kept alive."""

    hub: LiveHub
    user: str | None
    claims: Mapping[str, Any] | None = None

    def ask(self, cursor: str | None = None, *, headers: Mapping[str, str] | None = None, **query: Any) -> None:
        """Send a poll, without waiting for its answer."""
        given = proof(self.hub, self.user, self.claims) | dict(headers or {})
        self.request(target(cursor=cursor, **query), given)

    async def got(self) -> Message:
        """The answer to a poll, which must be a good one: its body."""
        answer = await self.answer()
        assert answer.status == 200, answer
        assert answer.headers["Content-Type"].partition(";")[0] == "application/json"
        assert list(answer.body) == ["cursor", "notifications", "gap"]
        body: Message = answer.body
        return body

    async def poll(self, cursor: str | None = None, **query: Any) -> Message:
        """Poll, and wait for the answer."""
        self.ask(cursor, **query)
        return await self.got()

    async def ask_and_wait(self, cursor: str | None = None, **query: Any) -> None:
        """Send a poll, and wait until the hub has it waiting."""
        before = len(self.hub.hub.registry.connections)
        self.ask(cursor, **query)
        async with asyncio.timeout(PATIENCE_S):
            while len(self.hub.hub.registry.connections) <= before:
                await asyncio.sleep(0.001)


async def poller(hub: LiveHub, user: str | None = "42", claims: Mapping[str, Any] | None = None) -> PollClient:
    """A client of polls that has sent none yet."""
    client = await PollClient.open(hub)
    client.hub, client.user, client.claims = hub, user, claims
    return client
