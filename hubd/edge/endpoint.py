"""`/notifications`: what its connections share whatever their transport, and who is on the way in or out."""

import asyncio
import math
from contextlib import suppress
from random import Random
from typing import TYPE_CHECKING, Protocol

from aiohttp import web

from hubd.config import Config
from hubd.core.connection import Connection
from hubd.core.errors import Problem
from hubd.core.identity import Identity, warn_at
from hubd.edge import frames
from hubd.edge.actions import Actions
from hubd.edge.credentials import Authenticator
from hubd.edge.limits import PerAddress
from hubd.edge.origin import Headers, Origins
from hubd.edge.permissions import topics_at_connect, without_denied
from hubd.edge.proxies import Proxies
from hubd.edge.tickets import Tickets
from hubd.edge.tokens import TokenRefused, Tokens
from hubd.hub import Hub
from hubd.tasks import Tasks

if TYPE_CHECKING:
    from hubd.edge.websocket import Unauthenticated

CLOSE_S = 5.0
"""How long the other side has to answer a close frame, or to take what it is still owed."""
FRAME_UNIT = 4096
"""How many bytes of a frame count as one of `frames_per_s`."""
LARGEST_A_SECOND = 4
"""But so many frames of the maximal size are always within it."""


class Leaving(Protocol):
    """What holds a transport that was told to go."""

    address: str
    transport: asyncio.Transport


class Endpoint:
    """What all connections share: limits, counts by address, the way in through authentication and attachment."""

    def __init__(
        self,
        hub: Hub,
        *,
        authenticator: Authenticator,
        tokens: Tokens,
        tickets: Tickets,
        origins: Origins,
        actions: Actions,
        tasks: Tasks,
        random: Random,
    ) -> None:
        self.hub = hub
        self.clock = hub.clock
        self.authenticator = authenticator
        self.tokens = tokens
        self.tickets = tickets
        self.origins = origins
        self.actions = actions
        self.tasks = tasks
        self.random = random
        self.unauthenticated: dict[Unauthenticated, None] = {}
        self.leaving: dict[Leaving, float] = {}  # told to go, and until when it may take its time
        self.addresses = PerAddress()
        self._none_leaving: asyncio.Event | None = None
        self.apply(hub.config)

    def apply(self, config: Config) -> None:
        """Take over what the config says."""
        limits = config.limits
        self.proxies = Proxies(config.server.trusted_proxies)
        self.frames_per_s = limits.frames_per_s or math.inf
        self._frame_unit = max(FRAME_UNIT, math.ceil(LARGEST_A_SECOND * limits.frame_bytes / self.frames_per_s))
        self._frame_bytes = limits.frame_bytes
        self.json_depth = limits.json_depth
        self.json_keys = limits.json_keys
        self.queue_bytes = limits.queue_bytes
        self.spare_reader = self.new_reader()

    def new_reader(self) -> frames.FrameReader:
        """A reader of inbound frames, with the limits of this hub."""
        return frames.FrameReader(self._frame_bytes, self._frame_unit)

    def retry_after(self) -> float:
        """When a connection that is too many should try again (seconds): not all at once."""
        return round(5 + 10 * self.random.random(), 1)

    # In

    def refused(self, reason: str, problem: Problem) -> Problem:
        """Count somebody who isn't taken in, because of what the problem says."""
        self.hub.counts.refused[reason] += 1
        return problem

    def has_room(self, headers: Headers, address: str) -> bool:
        """Whether ``check_room`` has nothing against it."""
        return not self._objection(headers, address)

    def _objection(self, headers: Headers, address: str) -> str:
        """Why a connection can't come in, in a word; empty: it can."""
        per_ip = self.hub.config.limits.per_ip
        if not self.origins.allowed(headers):
            return "origin"
        if self.hub.stopping:
            return "stopping"
        if per_ip and self.addresses.of(address) >= per_ip:
            return "per_ip"
        return "connections" if self.hub.is_full(strangers=len(self.unauthenticated)) else ""

    def check_room(self, request: web.Request, address: str) -> None:
        """Refuse before anything else what a browser's page must not or the hub can't take."""
        match self._objection(request.headers, address):
            case "":
                return
            case "origin":
                raise Problem("forbidden", "pages of this origin may not connect (see [auth] origins)")
            case "stopping":
                problem = Problem("unavailable", "the hub is stopping", retry_after=self.retry_after())
                raise self.refused("stopping", problem)
            case "per_ip":
                message = "too many connections from this address"
                raise self.refused("per_ip", Problem("rate_limited", message, retry_after=self.retry_after()))
            case _:
                message = "the hub has no room for another connection"
                raise self.refused("connections", Problem("unavailable", message, retry_after=self.retry_after()))

    async def identify(self, request: web.Request, address: str) -> Identity:
        """Who opens a stream or a poll; a ``Problem`` for whoever can't. Nothing waits from its end to the handover."""
        self.check_room(request, address)
        if request.body_exists:
            raise Problem("invalid_body", "this is asked for without a body")
        try:
            identity = await self.permit(request, await self.authenticator.streaming(request))
        except TokenRefused as refused:
            raise self.refused("unauthorized", Problem("unauthorized", refused.reason)) from None
        except Problem as problem:
            raise self.refused(problem.code, problem) from None
        self.check_room(request, address)
        self.make_way(request, identity)
        if self.hub.refusal(identity) is not None:
            message = "this user has too many connections"
            raise self.refused("per_user", Problem("rate_limited", message, retry_after=self.retry_after()))
        return identity

    async def permit(self, request: web.Request, identity: Identity) -> Identity:
        """Whom the request is from, without the topics that plugins object to.

        ``Problem`` when a plugin failed, ``TokenRefused`` when he was revoked while they were asked.
        """
        topics = topics_at_connect(self.hub, identity, request.query.get("topics", ""))
        identity = await without_denied(self.hub, identity, topics)
        self.authenticator.check_revoked(identity)
        return identity

    def attach(self, request: web.Request, connection: Connection, cursor: str | None) -> None:
        """Take a connection in, with the topics that its address names, resuming at the cursor if there is one."""
        connection.warn_at = warn_at(connection.identity, self.clock.now())
        topics = [topic for topic in request.query.get("topics", "").split(",") if topic]
        self.hub.attendance.attach(connection, topics, cursor)
        self.bind_ticket(request, connection.identity, connection.id)

    def make_way(self, request: web.Request, identity: Identity) -> None:
        """End what the same ticket opened before: it is one stream, opened anew before its end was seen."""
        before = self.tickets.stream(request.query.get("ticket", ""), identity)
        for connection in self.hub.registry.connections_of(identity.user) if before else ():
            if connection.id == before:
                self.hub.lost(connection, "replaced")
                connection.abort()

    def bind_ticket(self, request: web.Request, identity: Identity, stream: str = "") -> None:
        """The ticket that the request brings, if it counted, is the one of this stream from now on."""
        self.tickets.bind(request.query.get("ticket", ""), identity, stream)

    # Out

    def await_close(self, connection: Leaving) -> None:
        """A connection was told to go."""
        self.leaving[connection] = self.clock.monotonic() + CLOSE_S

    def closed(self, connection: Leaving) -> None:
        """A transport is gone, or isn't the connection's any more."""
        self.leaving.pop(connection, None)
        self.addresses.discard(connection.address)
        if not self.leaving and self._none_leaving is not None:
            self._none_leaving.set()

    async def all_gone(self, timeout_s: float) -> None:
        """Wait until every connection that was told to go has gone, but not longer than that."""
        self._none_leaving = asyncio.Event()
        if self.leaving:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._none_leaving.wait(), timeout_s)
