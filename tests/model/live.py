"""A hub on a real socket, its clients and publishers, and the model that sees what arrives."""

import asyncio
import socket
from collections.abc import Callable
from random import Random
from typing import Any, Self

import aiohttp
import msgpack
import orjson
from aiohttp import web

from hubd.broker import LocalBroker, OnPublication
from hubd.clock import SystemClock
from hubd.config import Config
from hubd.config_options import ApiKeyEntry
from hubd.core.notification import Notification
from hubd.edge.app import Edge
from hubd.edge.http_server import Runner
from hubd.edge.keys import ApiKeys, new_key
from hubd.hub import Hub
from hubd.ids import Ids
from hubd.tasks import Tasks
from tests.model.claims import Ref
from tests.model.ledger import Ledger
from tests.model.tap import ObservedBroker, rings_of
from tests.model.world import Broken, Sent, World, canonical

HOST = "127.0.0.1"
PATIENCE_S = 20.0
PROTOCOLS = {"plain": (), "json": ("hubd.v1.json",), "msgpack": ("hubd.v1.msgpack",)}
PER_CHANNEL = 10
TTL_S = 600.0
SEND_BUFFER = RECEIVE_BUFFER = 8_192


async def until(condition: Callable[[], Any], what: Callable[[], str]) -> None:
    """Wait until something is so."""
    deadline = asyncio.get_running_loop().time() + PATIENCE_S
    while not condition():
        if asyncio.get_running_loop().time() > deadline:
            raise Broken(what())
        await asyncio.sleep(0.001)


class LiveClient:
    """One real WebSocket with its ledger. ``slow``: it has little room, and may stop reading (``stall``)."""

    def __init__(self, live: "LiveHub", ledger: Ledger, ws: aiohttp.ClientWebSocketResponse, slow: bool) -> None:
        self.ledger = ledger
        self.slow = slow
        self.closed = False
        self._live = live
        self._ws = ws
        self._refs = 0
        assert ws._response.connection is not None and ws._response.connection.transport is not None
        self._transport = ws._response.connection.transport
        self.task = live.tasks.start(self._read(), "client")

    async def _read(self) -> None:
        packed = self._ws.protocol == "hubd.v1.msgpack"
        try:
            while True:
                message = await self._ws.receive()
                if message.type not in (aiohttp.WSMsgType.TEXT, aiohttp.WSMsgType.BINARY):
                    break
                frame = msgpack.unpackb(message.data) if packed else orjson.loads(message.data)
                self.ledger.take(frame)
                if frame.get("hub") == "ping":
                    await self._say({"action": "pong"})
        except Broken as broken:
            self._live.broken.append(broken)
        except ConnectionError:
            pass  # it was cut when it was about to answer a ping
        finally:
            self.closed = True

    async def _say(self, message: dict[str, Any]) -> None:
        if self._ws.closed:
            return
        try:
            if self._ws.protocol == "hubd.v1.msgpack":
                await self._ws.send_bytes(msgpack.packb(message))
            else:
                await self._ws.send_str(orjson.dumps(message).decode())
        except ConnectionError:
            pass  # it was cut: its reader finds out

    def stall(self, stalls: bool) -> None:
        """Stop reading from the socket, or go on."""
        if not self._transport.is_closing():
            if stalls:
                self._transport.pause_reading()
            else:
                self._transport.resume_reading()

    async def _ask(self, message: dict[str, Any], answered: Callable[[dict[str, Any]], None]) -> None:
        """Do an action and wait for its reply."""
        self._refs += 1
        ref: Ref = self._refs
        done = asyncio.Event()

        def check(frame: dict[str, Any]) -> None:
            if not frame["ok"] or frame["topics"] != message["topics"]:
                raise Broken(f"{frame} is no reply to {message}")
            answered(frame)
            done.set()

        self.ledger.expect(ref, check)
        await self._say(message | {"ref": ref})
        await until(lambda: done.is_set() or self.closed, lambda: f"no reply to {message}")

    async def subscribe(self, topics: tuple[str, ...], cursor: str | None, position: int | None, reason: str) -> None:
        """Subscribe, with a cursor or without."""
        ledger, message = self.ledger, {"action": "subscribe", "topics": list(topics)}
        new = [topic for topic in topics if topic not in ledger.claims]
        if cursor is not None:
            message["cursor"] = cursor
        if position is None or not new:
            ledger.join(topics, low=self._live.world.latest)
            await self._ask(message, lambda frame: ledger.joined(topics, frame["cursor"]))
            return
        self._refs += 1
        ref = f"from-{self._refs}"
        ledger.join_from(ref, list(topics), position, reason)
        await self._say(message | {"ref": ref})
        await until(lambda: self.closed or not ledger.waits_for(ref), lambda: f"no reply to {message}")

    async def unsubscribe(self, topics: tuple[str, ...]) -> None:
        """Unsubscribe."""
        self.ledger.leaving(topics)
        await self._ask({"action": "unsubscribe", "topics": list(topics)}, lambda frame: self.ledger.leave(topics))

    @property
    def cursors(self) -> list[str]:
        """All that it was told."""
        return self.ledger.cursors

    def has(self, sequence: int) -> bool:
        """Whether this notification has come."""
        return sequence in self.ledger.given

    def rest(self) -> None:
        """Nothing is left to be done for it."""
        self.ledger.rest()

    async def leave(self, politely: bool) -> None:
        """Close, or be gone."""
        self.stall(False)
        if politely:
            await self._ws.close()
        else:
            self._transport.abort()
        await self.task


class LiveHub:
    """The hub, listening; the model hears of each publication in the step in which it happens."""

    def __init__(self, queue_bytes: int) -> None:
        self.tasks = Tasks()
        self.broken: list[Broken] = []
        self.clients: list[LiveClient] = []
        self.cursors: list[str] = []
        self.bodies: dict[str, dict[str, Any]] = {}
        self.world = World(PER_CHANNEL, TTL_S, bytes_count=False, remembered=100_000, remembered_s=TTL_S)
        self._live: dict[str, int] = {}
        clock, random = SystemClock(), Random(1)
        config = Config.model_validate(
            {
                "replay": {"per_channel": PER_CHANNEL, "ttl_s": TTL_S},
                "limits": {"queue_bytes": queue_bytes, "per_user": 0, "per_ip": 0, "ping_s": 1, "frames_per_s": 0},
            }
        )
        call_soon = asyncio.get_running_loop().call_soon
        broker = ObservedBroker(LocalBroker(), self._around)
        self.hub = Hub(config, clock=clock, ids=Ids(clock, random), call_soon=call_soon, broker=broker)
        self._hub_retracts, self.hub.retract = self.hub.retract, self._retracted  # type: ignore[method-assign]  # a tap
        self._key, digest = new_key("backend")
        keys = ApiKeys([ApiKeyEntry(id="backend", sha256=digest, rights=("publish", "admin"))])
        self._edge = Edge(self.hub, keys=keys, tasks=self.tasks, random=random, dev=True)
        self._runner = Runner(self._edge.reception, self._edge.app, shutdown_timeout=1)

    async def start(self) -> Self:
        """Listen, on a port for everybody and on one with small buffers, where whoever doesn't read is noticed soon."""
        await self._runner.setup()
        self._urls = {}
        self.ports: dict[bool, int] = {}
        for is_narrow in (False, True):
            listening = socket.create_server((HOST, 0), backlog=1024)
            if is_narrow:
                listening.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)
            await web.SockSite(self._runner, listening, backlog=1024).start()
            self.ports[is_narrow] = listening.getsockname()[1]
            self._urls[is_narrow] = f"http://{HOST}:{self.ports[is_narrow]}"
        self._url = self._urls[False]
        self._edge.start()
        self._session = aiohttp.ClientSession(headers={"Authorization": f"Bearer {self._key}"})
        wide, narrow = aiohttp.TCPConnector(limit=0), aiohttp.TCPConnector(limit=0, socket_factory=narrow_socket)
        self._sessions = {
            False: aiohttp.ClientSession(connector=wide),
            True: aiohttp.ClientSession(connector=narrow),
        }
        return self

    async def stop(self, whole: bool) -> None:
        """All clients go, then the hub; nothing of them may be left. Not ``whole``: a promise was broken before."""
        for client in list(self.clients):
            await self.leave(client, politely=False)
        registry = self.hub.registry
        if whole:
            await until(lambda: not registry.connections and not registry.topics, lambda: "connections are left over")
        for session in (self._session, *self._sessions.values()):
            await session.close()
        await self._runner.cleanup()
        await self.tasks.close()

    def check(self) -> None:
        """Nothing that arrived anywhere broke a promise."""
        if self.broken:
            raise self.broken[0]

    def place(self, cursor: str) -> int:
        """The position that a cursor stands for; a poll's answer may add its number."""
        place, is_numbered, answer = cursor.removeprefix(self.hub.attendance.cursor(0)[:-1]).partition("~")
        if is_numbered and not answer.isdecimal():
            raise Broken(f"that is no cursor: {cursor}")
        return int(place)

    def _around(self, sequence: int, notification: Notification, on_publication: OnPublication) -> int:
        live = on_publication(sequence, notification)
        mark = orjson.loads(notification.body + b"}")["title"]
        body = self.bodies[mark]
        now = self.hub.clock.monotonic()
        sent = Sent(
            sequence,
            mark,
            notification.id,
            tuple(dict.fromkeys(map(canonical, body["to"]))),
            self.hub.attendance.cursor(sequence),
            live_only=body.get("persistence") == "ephemeral" or body.get("ttl") == 0,
            expires_at=now + 1000,
            published_at=now,
        )
        self.world.now = now
        self.world.publish(sent)
        self.world.observe(rings_of(self.hub))
        for client in self.clients:
            client.ledger.published(sent)
        self._live[mark] = live
        return live

    def _retracted(self, notification: Notification) -> None:
        """The hub takes one back: from now on nobody needs to be told that it is missing."""
        self.world.by_mark[orjson.loads(notification.body + b"}")["title"]].retracted = True
        self._hub_retracts(notification)

    # Clients

    async def connect(
        self,
        user: str,
        wire: str,
        topics: tuple[str, ...],
        cursor: tuple[str | None, int | None, str] = (None, None, ""),
        slow: bool = False,
    ) -> LiveClient:
        """A client connects, and reads."""
        text, position, reason = cursor
        earliest = self.world.latest
        asked = {"user": user, "topics": ",".join(topics)} | ({"cursor": text} if text is not None else {})
        ws = await self._sessions[slow].ws_connect(
            f"{self._urls[slow]}/notifications", params=asked, protocols=PROTOCOLS[wire], max_msg_size=0
        )
        ledger = Ledger(self.world, user, control=wire != "plain", place=self.place, exact=False)
        ledger.attach(topics, position, reason, earliest=earliest)
        client = LiveClient(self, ledger, ws, slow)
        self.clients.append(client)
        return client

    async def leave(self, client: LiveClient, politely: bool) -> None:
        """A client goes."""
        self.clients.remove(client)
        await client.leave(politely)
        self.cursors += client.cursors

    # Publishers

    async def publish(self, *bodies: dict[str, Any]) -> None:
        """Publish one, or several as a batch, by HTTP."""
        for body in bodies:
            body["notification"]["title"] = f"n{len(self.bodies)}"
            self.bodies[body["notification"]["title"]] = body
        path = "/api/notifications" if len(bodies) == 1 else "/api/notifications/batch"
        data = orjson.dumps(bodies[0] if len(bodies) == 1 else bodies)
        async with self._session.post(self._url + path, data=data) as response:
            answers = orjson.loads(await response.read())
        for body, answer in zip(bodies, [answers] if len(bodies) == 1 else answers, strict=True):
            sent = self.world.by_mark[body["notification"]["title"]]
            said = (answer["id"], answer["cursor"], answer["duplicate"], answer["live"])
            if said != (sent.id, sent.cursor, False, self._live[sent.mark]):
                raise Broken(f"{answer} is no answer to the publish of {sent}")

    async def retract(self, sent: Sent) -> None:
        """Take one back by HTTP; it may be gone already."""
        async with self._session.delete(f"{self._url}/api/notifications/{sent.id}") as response:
            if response.status not in (200, 404):
                raise Broken(f"the retraction of {sent} was answered by {response.status}")

    async def rest(self) -> None:
        """Everybody gets everything: a last broadcast has arrived at all who are there, and it was the last of all."""
        await self.publish({"to": ["notifications"], "notification": {"type": "end"}})
        latest = self.world.latest

        def behind() -> list[LiveClient]:
            return [client for client in self.clients if not client.closed and not client.has(latest)]

        await until(lambda: self.broken or not behind(), lambda: f"the last broadcast never came to {behind()}")
        self.check()
        for client in self.clients:
            if not client.closed:
                client.rest()
            elif not client.slow:
                raise Broken(f"a connection ended that nobody ended: {client}")


def narrow_socket(address: Any) -> socket.socket:
    family, kind, protocol, _, _ = address
    made = socket.socket(family, kind, protocol)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
    return made
