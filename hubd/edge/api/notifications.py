"""Publishing, and what becomes of a single notification: `/api/notifications`."""

import asyncio
from collections.abc import Callable, Coroutine, Iterable
from typing import Any

from aiohttp import web
from multidict import CIMultiDictProxy

from hubd.core.codec import notification_json
from hubd.core.errors import FieldError, Problem, invalid
from hubd.core.identity import ApiKey
from hubd.core.notification import Notification
from hubd.core.publish import Draft
from hubd.edge.credentials import Authenticator
from hubd.edge.http import answer, problem_item, read_body
from hubd.edge.limits import Pace
from hubd.hub import Hub
from hubd.looking_up import LookUp
from hubd.scheduled_call import ScheduledCall

BATCH = 1000
BATCH_SLICE = 20
"""How many notifications of a batch are published before the loop gets its turn: sockets drain, others are served."""
BATCH_SLICE_CHANNELS = 1000
"""How many channels they name together, for it is these that cost."""


class Notifications:
    """The calls about notifications."""

    def __init__(self, hub: Hub, authenticator: Authenticator, pace: Pace) -> None:
        self._hub = hub
        self._authenticator = authenticator
        self._pace = pace
        self._look_up = LookUp(hub)

    def routes(self) -> list[web.RouteDef]:
        """Where they are."""
        return [
            web.post("/api/notifications", self.publish),
            web.post("/api/notifications/batch", self.publish_batch),
            web.get("/api/notifications/{id}", self.read),
            web.delete("/api/notifications/{id}", self.retract),
        ]

    async def publish(self, request: web.Request) -> web.Response:
        """Publish one: 202, or 200 with the first answer when this id was published before."""
        key = self._authenticator.server(request, "publish")
        fields = await self._publish(await read_body(request), key)
        return answer(fields, fields.pop("status"))

    def begin(self, headers: CIMultiDictProxy[str], read: Callable[[], Any]) -> Coroutine[Any, Any, dict[str, Any]]:
        """The same for whoever has no request: what is still to be run, for the answer's fields and its ``status``.

        It waits for the store alone, where no plugin has a say.
        """
        key = self._authenticator.server_by(headers, "publish")
        return self._publish(read(), key)

    async def publish_batch(self, request: web.Request) -> web.Response:
        """Publish many, in order; each has its own answer."""
        key = self._authenticator.server(request, "publish")
        bodies = await read_body(request)
        if not isinstance(bodies, list) or len(bodies) > BATCH:
            raise invalid([FieldError("", f"a batch is an array of up to {BATCH} publish bodies")])
        answers: list[dict[str, Any]] = []
        items = channels = 0
        for body in bodies:
            if items == BATCH_SLICE or channels >= BATCH_SLICE_CHANNELS:
                await asyncio.sleep(0)
                items = channels = 0
            items += 1
            channels += _channels_named(body)
            try:
                answers.append(await self._publish(body, key))
            except Problem as problem:
                self._hub.counts.problems[problem.code] += 1
                answers.append(problem_item(problem))
        return answer(answers)

    async def _publish(self, body: Any, key: ApiKey) -> dict[str, Any]:
        return await self._publish_draft(self._hub.prepare(body), key)

    async def _publish_draft(self, draft: Draft, key: ApiKey) -> dict[str, Any]:
        _check_channels(draft, key)
        self._pace.take(key.id)
        receipt, duplicate = await self._hub.publish(draft, f"key:{key.id}", allowed=key.channels)
        return {
            "status": 200 if duplicate else 202,
            "id": receipt.id,
            "cursor": receipt.cursor,
            "live": receipt.live,
            "duplicate": duplicate,
        }

    async def read(self, request: web.Request) -> web.Response:
        """The notification, while anything knows it: for servers, and for users whom it was sent to."""
        id = request.match_info["id"]
        caller = await self._authenticator.reader(request, id)
        if isinstance(caller, ApiKey):
            if (scheduled := self._scheduled(id, caller)) is not None:
                matching = next(filter(caller.channels.match, scheduled.channels), None)
                return answer(scheduled.fields | ({} if matching is None else {"channel": matching}))
            notification = await self._of_key(id, caller)
            channel = next(filter(caller.channels.match, notification.channels))
        else:
            found = await self._look_up.for_user(id, caller)
            if found is None:
                raise _not_found()
            notification, channel = found
        return web.Response(body=_as_json(notification, channel), content_type="application/json")

    async def retract(self, request: web.Request) -> web.Response:
        """Take it back; or see to it that it doesn't go out."""
        key = self._authenticator.server(request, "publish")
        id = request.match_info["id"]
        scheduled = self._scheduled(id, key)
        if scheduled is not None:
            _check_all(scheduled.channels, key)
            if await self._hub.scheduling.cancel(scheduled):
                return answer({"id": id, "retracted": True})
        notification = await self._of_key(id, key)
        _check_all(notification.channels, key)
        await self._look_up.retract(notification)
        return answer({"id": id, "retracted": True})

    def _scheduled(self, id: str, key: ApiKey) -> ScheduledCall | None:
        """The one with this id that is still to go out, and that this key has to do with."""
        for call in self._hub.scheduling.find(id):
            names = call.channels
            if any(map(key.channels.match, names)) or (not names and call.asked.publisher == f"key:{key.id}"):
                return call
        return None

    async def _of_key(self, id: str, key: ApiKey) -> Notification:
        found = await self._look_up.for_server(id, key.channels.match)
        if found is None:
            raise _not_found()
        return found


def _as_json(notification: Notification, channel: str) -> bytes:
    if notification.cursor:
        return notification_json(notification, channel)
    return b'%b,"channel":"%b"}' % (notification.body, channel.encode())  # read out of the store


def _not_found() -> Problem:
    return Problem("not_found", "no such notification, or it isn't kept any more")


def _check_all(channels: Iterable[str], key: ApiKey) -> None:
    if not all(map(key.channels.match, channels)):
        raise Problem("forbidden", "this key may not publish to all channels of this notification")


def _channels_named(body: Any) -> int:
    """How many channels a publish body names, whether it is a good one or not."""
    to = body.get("to") if isinstance(body, dict) else None
    return len(to) if isinstance(to, list) else 1


def _check_channels(draft: Draft, key: ApiKey) -> None:
    refused = [channel.name for channel in draft.channels if not key.channels.match(channel.name)]
    if refused:
        raise Problem("forbidden", f"this key may not publish to {', '.join(map(repr, refused[:10]))}")
