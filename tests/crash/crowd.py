"""Publishers and users of a hub that is killed again and again, and what each of them was told."""

import asyncio
import random
import time
from collections.abc import Coroutine
from typing import Any, NamedTuple

import aiohttp

from hubd.testing.webpush_service import WebPushService
from tests.crash.browsers import Browsers
from tests.crash.lives import Lives
from tests.edge.ws_client import CLOSE, JSON, TEXT, Client, Refused
from tests.restart.daemon import HOST

TOPIC = "team"
AGAIN_S = 0.02
"""How soon somebody whose call wasn't answered tries again."""
LATE_S = 1.2
"""Until then late acks come: some in time, some after the push."""
MANNERS = ("at_once", "at_once", "at_once", "flapping", "late", "late", "by_http", "never", "never", "away", "away")
"""How each user acks, if at all; ``flapping`` is gone every now and then, ``away`` always."""
KINDS = (
    {"priority": "critical"},
    {"priority": "critical", "persistence": "persistent"},
    {"priority": "important", "persistence": "persistent"},
    {"priority": "important", "persistence": "persistent"},
    {"priority": "important"},
    {"priority": "informational", "persistence": "persistent"},
)


class Accepted(NamedTuple):
    """A notification about which a publisher was told 202."""

    call: dict[str, Any]
    users: frozenset[str]
    at: float
    """When he was told (monotonic seconds)."""

    @property
    def is_durable(self) -> bool:
        """Whether the hub must never lose it."""
        return self.call["priority"] == "critical" or self.call.get("persistence") == "persistent"

    @property
    def is_pushed(self) -> bool:
        """Whether whoever doesn't ack it must have got it on a device in the end."""
        return self.is_durable and self.call["priority"] != "informational"


class Diary:
    """What the hub has answered, and when (monotonic seconds)."""

    def __init__(self) -> None:
        self.accepted: dict[str, Accepted] = {}
        self.acked: dict[tuple[str, str], float] = {}
        """Id and user: when an ack's answer was here."""
        self.tried: set[tuple[str, str]] = set()
        """Id and user of all acks that may have arrived."""
        self.faults: list[str] = []
        self.repeats = 0


class Crowd:
    """All of them; they go on, whatever happens, until ``calm`` or ``end``."""

    def __init__(
        self, lives: Lives, dice: random.Random, service: WebPushService, publishers: int, pause_s: float
    ) -> None:
        self.diary = Diary()
        self._lives = lives
        self._dice = dice
        self._pause_s = pause_s
        self._is_publishing = True
        self._is_over = False
        self._session = aiohttp.ClientSession(
            headers={"Authorization": f"Bearer {lives.key}"}, timeout=aiohttp.ClientTimeout(total=10)
        )
        self.browsers = Browsers(lives, dice, service, self._session)
        self.users = {f"u{place}-{manners}": manners for place, manners in enumerate(MANNERS)}
        self._going: list[asyncio.Task[None]] = []
        self._publishers: list[asyncio.Task[None]] = []
        self._count = publishers

    def _start(self, work: Coroutine[Any, Any, None]) -> "asyncio.Task[None]":
        async def run() -> None:
            try:
                await work
            except Exception as error:
                self.diary.faults.append(repr(error))
                raise

        return asyncio.ensure_future(run())

    async def begin(self) -> None:
        """Everybody has a browser, and is subscribed to the topic for good; then they come, and publishing begins."""
        await self.browsers.begin([*self.users])
        for user in self.users:
            url = f"{self._lives.address}/api/users/{user}/subscriptions/{TOPIC}"
            async with self._session.put(url) as answer:
                assert answer.status in (200, 201, 204), await answer.text()
        for user, manners in self.users.items():
            if manners != "away":
                self._going.append(self._start(self._visit(user, manners)))
        self._going.append(self._start(self.browsers.go_on([*self.users])))
        self._publishers = [self._start(self._publish(number)) for number in range(self._count)]

    # Publishing

    async def _publish(self, publisher: int) -> None:
        count = 0
        while self._is_publishing:
            count += 1
            call, users = self._call(f"p{publisher}-{count}")
            await self._post(call, users)
            if self.diary.accepted and self._dice.random() < 0.15:
                await self.repeat(self._dice.choice([*self.diary.accepted]))
            await asyncio.sleep(self._pause_s * self._dice.uniform(0.5, 1.5))

    def _call(self, id: str) -> tuple[dict[str, Any], frozenset[str]]:
        dice = self._dice
        call: dict[str, Any] = {"notification": {"type": "alert", "title": id}} | dice.choice(KINDS)
        if dice.random() < 0.8:
            call["id"] = id
        if dice.random() < 0.15 and Accepted(call, frozenset(), 0).is_pushed:
            call["deliver_at"] = int((time.time() + dice.uniform(0.05, 1.5)) * 1000)
        if dice.random() < 0.15:
            call["to"] = TOPIC
            return call, frozenset(self.users)
        users = dice.sample([*self.users], dice.choice((1, 1, 1, 2, 3)))
        call["to"] = [f"user:{user}" for user in users]
        return call, frozenset(users)

    async def _post(self, call: dict[str, Any], users: frozenset[str]) -> None:
        """Publish until it is accepted; one without an id of its own only once, because it would be another one."""
        while True:
            answer = await self._ask(call)
            if answer is not None:
                self.diary.accepted[answer["id"]] = Accepted(call, users, time.monotonic())
                return
            if "id" not in call:
                return
            await asyncio.sleep(AGAIN_S)

    async def repeat(self, id: str) -> None:
        """Publish a durable one again: the answer must be the one from before."""
        accepted = self.diary.accepted[id]
        if "id" not in accepted.call or not accepted.is_durable:
            return
        while (answer := await self._ask(accepted.call)) is None:
            await asyncio.sleep(AGAIN_S)
        self.diary.repeats += 1
        if (answer["id"], answer["duplicate"]) != (id, True):
            self.diary.faults.append(f"a repeat of {id} was answered {answer}")

    async def _ask(self, call: dict[str, Any]) -> dict[str, Any] | None:
        """What the hub answers; None: nothing, or that it can't take it now."""
        try:
            async with self._session.post(f"{self._lives.address}/api/notifications", json=call) as answer:
                body: dict[str, Any] = await answer.json(content_type=None)
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError):
            return None
        if answer.status == 503:
            return None
        if answer.status != (200 if body.get("duplicate") else 202):
            self.diary.faults.append(f"{call} was answered {answer.status} {body}")
            raise AssertionError(body)
        return body

    # Users

    async def _visit(self, user: str, manners: str) -> None:
        """Come, and come back."""
        headers = {"Authorization": f"Bearer {self._lives.token(user)}"}
        cursor = ""
        while True:
            query = {"cursor": cursor} if cursor else {}
            try:
                client = await Client.open(HOST, self._lives.port, headers=headers, query=query, subprotocol=JSON)
            except (OSError, EOFError, TimeoutError, Refused):
                await asyncio.sleep(AGAIN_S)
                continue
            try:
                cursor = await self._read(client, user, manners, cursor)
            finally:
                client.writer.transport.abort()
            await asyncio.sleep(self._dice.uniform(0, 0.5) if manners == "flapping" else 0)

    async def _read(self, client: Client, user: str, manners: str, cursor: str) -> str:
        """Take what comes, until the connection ends; gives where to go on."""
        while True:
            try:
                frame = await client.frame()
            except TimeoutError:
                continue
            if frame is None or frame.opcode == CLOSE:
                return cursor
            if frame.opcode != TEXT:
                continue
            message = client.decode(frame)
            cursor = message.get("cursor") or cursor
            kind = message.get("hub")
            if kind is None:
                self._ack(client, user, manners, message["id"])
            elif kind == "reply":
                self._answered(user, message)
            elif kind == "ping":
                client.send(action="pong")
            elif kind == "error":
                self.diary.faults.append(f"{user}: {message}")
            if manners == "flapping" and self._dice.random() < 0.02:
                return cursor

    def _ack(self, client: Client, user: str, manners: str, id: str) -> None:
        loop = asyncio.get_running_loop()
        if manners in ("at_once", "flapping"):
            self._send_ack(client, user, id)
        elif manners == "late":
            loop.call_later(self._dice.uniform(0, LATE_S), self._send_ack, client, user, id)
        elif manners == "by_http" and not self._is_over:
            task = self._start(self._post_ack(user, id))
            self._going.append(task)

    def _send_ack(self, client: Client, user: str, id: str) -> None:
        if not client.writer.is_closing():
            self.diary.tried.add((id, user))
            client.send(action="ack", id=id, ref=id)

    def _answered(self, user: str, reply: dict[str, Any]) -> None:
        if reply["ok"]:
            self.diary.acked.setdefault((reply["ref"], user), time.monotonic())
        elif reply["error"]["code"] != "unavailable":
            self.diary.faults.append(f"{user}: {reply}")

    async def _post_ack(self, user: str, id: str) -> None:
        self.diary.tried.add((id, user))
        headers = {"Authorization": f"Bearer {self._lives.token(user)}"}
        try:
            async with self._session.post(
                f"{self._lives.address}/api/acks", json={"ids": [id]}, headers=headers
            ) as answer:
                body = await answer.json(content_type=None)
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError):
            return
        if answer.status == 200:
            self.diary.acked.setdefault((id, user), time.monotonic())
        elif answer.status != 503:
            self.diary.faults.append(f"{user}: {answer.status} {body}")

    # The end

    async def calm(self) -> None:
        """What is begun is brought to its end; nothing more is published."""
        self._is_publishing = False
        await asyncio.gather(*self._publishers)

    async def rest(self) -> None:
        """Nobody does anything more, but may still be asked."""
        self._is_over = True
        everything = [*self._publishers, *self._going]
        for task in everything:
            task.cancel()
        await asyncio.gather(*everything, return_exceptions=True)

    async def end(self) -> None:
        """All go."""
        await self.rest()
        await self._session.close()
