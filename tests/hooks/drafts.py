"""Small drafts of the features that are to be built on the hooks: each shows that what it needs is there."""

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

from aiohttp import web

from hubd.plugin import (
    Action,
    ApiKey,
    Device,
    Draft,
    Identity,
    Notification,
    Outcome,
    PluginConfig,
    PluginHub,
    Priority,
    PushBackend,
    PushResult,
    Routes,
    State,
    UserSet,
    Verdict,
    digest,
    drop,
    hold,
    hookimpl,
    json_answer,
    read_body,
)
from hubd.testing import RecordingBackend


class Preferences:
    """What users don't want to see, by type: a set of users for each, so that a publish costs one operation."""

    def __init__(self, config: PluginConfig) -> None:
        self.muted: dict[str, UserSet] = {}

    @hookimpl
    def hubd_startup(self, hub: PluginHub) -> None:
        self.hub = hub

    @hookimpl
    def hubd_register_routes(self, routes: Routes) -> None:
        routes.user("PUT", "/api/preferences", self.put)

    async def put(self, request: web.Request, identity: Identity) -> web.Response:
        muted = (await read_body(request))["muted"]
        number = self.hub.number_of(identity.user)
        for type_ in muted:
            self.muted.setdefault(type_, UserSet()).add(number)
        return json_answer({"muted": muted})

    @hookimpl
    def hubd_filter_recipients(self, notification: Notification) -> Verdict | None:
        muted = self.muted.get(notification.type)
        return drop(muted, "muted") if muted and notification.priority < Priority.CRITICAL else None


class DoNotDisturb:
    """Holds what would interrupt, and brings it when that is over: critical ones one by one, the rest as a summary."""

    def __init__(self, config: PluginConfig) -> None:
        self.on = UserSet()
        self.held: dict[int, list[Notification]] = defaultdict(list)

    @hookimpl
    def hubd_startup(self, hub: PluginHub) -> None:
        self.hub = hub

    @hookimpl
    def hubd_filter_recipients(self, notification: Notification, recipients: UserSet) -> Verdict | None:
        return hold(held, "dnd") if (held := recipients & self.on) else None

    @hookimpl
    def hubd_filtered(self, notification: Notification, verdicts: Iterable[tuple[str, Verdict]]) -> None:
        for plugin, verdict in verdicts:
            if plugin == self.hub.name:
                for number in verdict.users:
                    self.held[number].append(notification)

    def switch(self, user: str, on: bool) -> None:
        number = self.hub.number_of(user)
        if on:
            self.on.add(number)
            return
        self.on.discard(number)
        self.hub.start(self.bring(user, self.held.pop(number, [])), "bring")

    async def bring(self, user: str, held: list[Notification]) -> None:
        critical = [one for one in held if one.priority is Priority.CRITICAL]
        for one in critical:
            await self.hub.release(one, self.hub.users([user]))
        if rest := len(held) - len(critical):
            await self.hub.publish(f"user:{user}", {"type": "summary", "count": rest})


class Batching:
    """The first of a group at once, what follows within a minute as one with a count."""

    def __init__(self, config: PluginConfig) -> None:
        self.seen: dict[str, UserSet] = {}
        self.counts: dict[tuple[str, int], int] = defaultdict(int)

    @hookimpl
    def hubd_startup(self, hub: PluginHub) -> None:
        self.hub = hub

    @hookimpl
    def hubd_filter_recipients(self, notification: Notification, recipients: UserSet) -> Verdict | None:
        if (group := notification.group) is None:
            return None
        if group not in self.seen:
            self.seen[group] = UserSet()
            self.hub.start(self.close(group), f"window of {group}")
        later = recipients & self.seen[group]
        self.seen[group] = self.seen[group] | recipients
        for number in later:
            self.counts[group, number] += 1
        return digest(later, "batch") if later else None

    async def close(self, group: str) -> None:
        await self.hub.sleep(60)
        for number in self.seen.pop(group):
            if count := self.counts.pop((group, number), 0):
                await self.hub.publish(f"user:{self.hub.user_of(number)}", {"type": "batch", "count": count})


class Caps:
    """So many of a type an hour for each user; the others go to the digest."""

    LIMIT = 2

    def __init__(self, config: PluginConfig) -> None:
        self.had: dict[str, list[UserSet]] = {}

    @hookimpl
    def hubd_startup(self, hub: PluginHub) -> None:
        self.clock = hub.clock
        self.since = self.clock.monotonic()

    @hookimpl
    def hubd_filter_recipients(self, notification: Notification, recipients: UserSet) -> Verdict | None:
        if self.clock.monotonic() - self.since >= 3600:
            self.since = self.clock.monotonic()
            self.had.clear()
        levels = self.had.setdefault(notification.type, [UserSet() for _ in range(self.LIMIT)])
        left = recipients
        for place, level in enumerate(levels):
            levels[place], left = level | left, level & left
        return digest(left, "cap") if left else None


class Inbox:
    """Keeps persistent notifications with the set of users they are for: one row, however many they are."""

    def __init__(self, config: PluginConfig) -> None:
        self.rows: dict[str, tuple[Notification, UserSet]] = {}
        self.seen: set[tuple[str, str]] = set()

    @hookimpl
    def hubd_startup(self, hub: PluginHub) -> None:
        self.hub = hub

    @hookimpl
    async def hubd_store_notification(self, notification: Notification, recipients: UserSet) -> None:
        for _, verdict in notification.verdicts:
            if verdict.action is Action.DROP:
                recipients = recipients - verdict.users
        self.rows[notification.id] = notification, recipients

    @hookimpl
    def hubd_acked(self, user: str, ids: tuple[str, ...]) -> None:
        self.seen.update((user, id) for id in ids)

    @hookimpl
    def hubd_retracted(self, notification: Notification) -> None:
        self.rows.pop(notification.id, None)

    @hookimpl
    def hubd_register_routes(self, routes: Routes) -> None:
        routes.user("GET", "/api/inbox", self.read)
        routes.server("GET", "/api/inbox/{user}", self.read_of, right="admin")

    async def read(self, request: web.Request, identity: Identity) -> web.Response:
        return json_answer(self.of(identity.user))

    async def read_of(self, request: web.Request, key: ApiKey) -> web.Response:
        return json_answer(self.of(request.match_info["user"]))

    def of(self, user: str) -> list[dict[str, Any]]:
        number = self.hub.number_of(user)
        mine = [one for one, users in self.rows.values() if number in users]
        return [{"id": one.id, **one.payload, "seen": (user, one.id) in self.seen} for one in mine]


class Pager:
    """Calls out those who are away."""

    def __init__(self, config: PluginConfig) -> None:
        self.backend = RecordingBackend("pager")
        self.backend.answer = lambda device, push: PushResult(_OUTCOMES[device.address["token"][-1]], "unknown number")
        self.gone: list[tuple[str, str, str]] = []
        self.edges: list[tuple[str, State]] = []

    @hookimpl
    def hubd_push_backends(self) -> list[PushBackend]:
        return [self.backend]

    @hookimpl
    def hubd_devices_gone(self, user: str, devices: tuple[Device, ...], reason: str) -> None:
        self.gone += [(user, device.address["token"], reason) for device in devices]

    @hookimpl
    def hubd_presence_changed(self, user: str, after: State) -> None:
        self.edges.append((user, after))


_OUTCOMES = {"5": Outcome.ACCEPTED, "0": Outcome.GONE}


class Segments:
    """Knows who is on call."""

    def __init__(self, config: PluginConfig) -> None:
        self.on_call = ["ada", "bob"]

    @hookimpl
    def hubd_startup(self, hub: PluginHub) -> None:
        self.hub = hub

    @hookimpl
    def hubd_resolve_audience(self, segment: Any) -> UserSet | None:
        return self.hub.users(self.on_call) if segment == "on-call" else None

    @hookimpl
    def hubd_prepare_notification(self, draft: Draft) -> dict[str, Any] | None:
        return {"priority": "critical"} if draft.segment == "on-call" else None
