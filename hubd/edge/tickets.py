"""Tickets: for those who can put a proof into an address only, such as a browser's EventSource."""

from collections import Counter, OrderedDict

from hubd.clock import Clock
from hubd.core.errors import BAD_TOKEN, EXPIRED, Problem
from hubd.core.identity import Identity
from hubd.edge.tokens import LEEWAY_S, TokenRefused
from hubd.ids import Ids

UNUSED_S = 60
"""How long a ticket may wait for its first use (seconds)."""
ENDLESS_S = 86400.0
"""How long one lasts whose user has no token that runs out, as in dev mode."""
PER_USER = 100
"""How many tickets of one user may wait for their first use."""
WAITING = BOUND = 100_000
"""How many are remembered before their first use, and after it; over that the oldest are forgotten first."""


class _Ticket:
    """One ticket, good until ``ends_at`` (Unix seconds); ``stream``: the id of the connection that it opened last."""

    __slots__ = ("ends_at", "identity", "stream")

    def __init__(self, identity: Identity, ends_at: float) -> None:
        self.identity = identity
        self.ends_at = ends_at
        self.stream = ""

    def is_over(self, now: float) -> bool:
        """Whether its time is over, or its token's, which may be sooner."""
        expires_at = self.identity.expires_at
        return now >= self.ends_at or (expires_at is not None and now > expires_at + LEEWAY_S)


class Tickets:
    """A ticket opens one stream in its user's name: first within a minute, then again until his token expires."""

    def __init__(self, clock: Clock, ids: Ids) -> None:
        self._clock = clock
        self._ids = ids
        self._waiting: OrderedDict[str, _Ticket] = OrderedDict()  # all wait equally long: the first ends first
        self._waiting_of: Counter[str] = Counter()
        self._bound: OrderedDict[str, _Ticket] = OrderedDict()  # the one used last is the last

    def issue(self, identity: Identity) -> str:
        """A new ticket; ``Problem`` ('rate_limited') when too many of the user's wait for their first use."""
        self.expire()
        if self._waiting_of[identity.user] >= PER_USER:
            message = f"{PER_USER} of your tickets wait for their first use: use them"
            raise Problem("rate_limited", message, retry_after=float(UNUSED_S))
        ticket = self._ids.ticket()
        self._waiting[ticket] = _Ticket(identity, self._clock.now() + UNUSED_S)
        self._waiting_of[identity.user] += 1
        if len(self._waiting) > WAITING:
            self._take_waiting(next(iter(self._waiting)))
        return ticket

    def identity(self, ticket: str) -> Identity:
        """Whose it is; ``TokenRefused`` when it isn't good (any more)."""
        found = self._find(ticket)
        if found is None:
            raise TokenRefused(BAD_TOKEN, "this ticket is unknown, or was not used in time: get another one")
        if found.is_over(self._clock.now()):
            raise TokenRefused(EXPIRED, "this ticket is too old: get another one")
        return found.identity

    def stream(self, ticket: str, identity: Identity) -> str:
        """The id of the connection that it opened last; empty without one, and where another proof counted."""
        found = self._find(ticket)
        return found.stream if found is not None and found.identity is identity else ""

    def bind(self, ticket: str, identity: Identity, stream: str = "") -> None:
        """It was used, if it was what proved this identity: to open the connection with this id, or for one answer."""
        found = self._find(ticket)
        if found is None or found.identity is not identity:
            return  # another proof came with it, and that counted
        if ticket in self._waiting:
            self._take_waiting(ticket)
            expires_at = identity.expires_at
            found.ends_at = self._clock.now() + ENDLESS_S if expires_at is None else expires_at + LEEWAY_S
            self._bound[ticket] = found
            if len(self._bound) > BOUND:
                self._bound.popitem(last=False)
        self._bound.move_to_end(ticket)
        found.stream = stream

    def expire(self) -> None:
        """Forget those that weren't used in time, and of the others those in front that are over."""
        now = self._clock.now()
        while self._waiting and now >= next(iter(self._waiting.values())).ends_at:
            self._take_waiting(next(iter(self._waiting)))
        while self._bound and now >= next(iter(self._bound.values())).ends_at:
            self._bound.popitem(last=False)

    def _find(self, ticket: str) -> _Ticket | None:
        return self._waiting.get(ticket) or self._bound.get(ticket)

    def _take_waiting(self, ticket: str) -> None:
        user = self._waiting.pop(ticket).identity.user
        self._waiting_of[user] -= 1
        if not self._waiting_of[user]:
            del self._waiting_of[user]
