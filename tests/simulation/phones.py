"""Phones and those who have them: registered over HTTP, handed on, thrown away; and they ack what they show."""

import json
from collections.abc import Callable
from math import inf

from hubd.plugin import Push
from tests.simulation.calls import Caller
from tests.simulation.network import Network
from tests.simulation.observer import Ack, Broken, Observer
from tests.simulation.sends import NOBODY, Send
from tests.simulation.wire import Answer

PLATFORM = "toy"
TRIES = 8
AGAIN_S = 0.6


class Phone:
    """One device, and whose it may be. ``is_dead``: its push service doesn't know it any more.

    ``owners`` says from when on whose it was: one user, or several where nobody can tell; ``NOBODY`` is one of them.
    """

    def __init__(
        self, network: Network, observer: Observer, token: str, host: str, bearer: Callable[[str], str]
    ) -> None:
        self._loop = network.loop
        self._observer = observer
        self._bearer = bearer
        self.token = token
        self.host = host
        self.is_dead = False
        self.wanted_by = ""
        self.ack_chance = 0.0
        self.id = ""
        self.owners: list[tuple[float, frozenset[str]]] = [(-inf, frozenset((NOBODY,)))]
        self.registered_at: list[float] = []
        """When a registration was confirmed."""
        self._settled = frozenset((NOBODY,))
        self._flying: dict[int, str] = {}
        self._died_at = -inf
        self._was_of = frozenset[str]()
        self._count = 0
        self.caller = Caller(network, "10.3.0.1")
        self._worker = Caller(network, "10.3.0.2")
        observer.phones[token] = self

    # Whose it is

    def may_be_of(self, at: float) -> frozenset[str]:
        """Whose it may be at a moment."""
        found = frozenset[str]()
        for place, (since, users) in enumerate(self.owners):
            until = self.owners[place + 1][0] if place + 1 < len(self.owners) else inf
            if since <= at <= until:
                found |= users
        return found

    def _say(self, at: float) -> None:
        self.owners.append((max(at, self.owners[-1][0]), self._settled | frozenset(self._flying.values())))

    def _begin(self, user: str) -> int:
        self._count += 1
        self._flying[self._count] = user
        self._say(self._loop.now)
        return self._count

    def _end(self, number: int, at: float, is_done: bool | None) -> None:
        """A change is done, or not, or nobody knows (None). Beside another one nobody knows which was the last."""
        user = self._flying.pop(number, None)
        if user is None:
            return
        if is_done and not self._flying:
            self._settled = frozenset((user,)) if at > self._died_at else frozenset((user, NOBODY))
        elif is_done is not False:
            self._settled |= {user}
            for other in list(self._flying):  # it may have been done before this one
                self._settled |= {self._flying[other]}
        self._say(at)

    def died(self, at: float, since: float) -> None:
        """The hub was told that it is gone, in answer to what began at ``since``."""
        self._died_at, self._was_of = at, self._settled
        is_sure = not self._flying and not any(registered >= since for registered in self.registered_at)
        self._settled = frozenset((NOBODY,)) if is_sure else self._settled | {NOBODY}
        self._say(at)

    def crashed(self, at: float) -> None:
        """The hub has crashed: nobody waited for it to store that this phone is gone."""
        self._settled |= self._was_of
        self._was_of = frozenset()
        self._say(at)

    # What its owner does

    def register(self, user: str) -> None:
        """From now on it is this user's."""
        self.wanted_by = user
        self._register(user, TRIES)

    def _register(self, user: str, tries: int) -> None:
        if self.wanted_by != user:
            return
        flights: list[int] = []

        def answered(answer: Answer | None, at: float) -> None:
            self._observer.note(f"{self.token} of {user}: {answer.status if answer else 'cut'}")
            is_done = None if answer is None else answer.status in (200, 201)
            for number in flights:
                self._end(number, at, is_done)
            if answer is not None and is_done:
                self.id = answer.json()["id"]
                self.registered_at.append(at)
            elif answer is not None and answer.status not in (401, 503):
                raise Broken(f"devices: {answer.status} {answer.body!r}")
            elif tries > 1 and (answer is None or answer.status == 503):
                self._loop.call_later(AGAIN_S * (0.5 + self._loop.random.random()), self._register, user, tries - 1)

        body = {"platform": PLATFORM, "token": self.token, "host": self.host}
        arrived = lambda: flights.append(self._begin(user))  # noqa: E731
        self.caller.call("POST", "/api/devices", self._bearer(user), body, answered, arrived)

    def unregister(self) -> None:
        """Its owner doesn't want it to ring any more."""
        user, self.wanted_by = self.wanted_by, ""
        if not self.id or not user:
            return
        flights: list[int] = []

        def answered(answer: Answer | None, at: float) -> None:
            self._observer.note(f"{self.token} thrown away by {user}: {answer.status if answer else 'cut'}")
            for number in flights:
                self._end(number, at, None if answer is None else answer.status in (200, 204))

        arrived = lambda: flights.append(self._begin(NOBODY))  # noqa: E731
        self.caller.call("DELETE", f"/api/devices/{self.id}", self._bearer(user), None, answered, arrived)

    # What is on it

    def show(self, send: Send) -> None:
        """A push has come. Somebody may look at it: then its worker says so, by what came with it."""
        random = self._loop.random
        if random.random() < self.ack_chance:
            wait_s = random.choice((0.05, 0.5, 3.0)) * (0.8 + 0.4 * random.random())
            self._loop.call_later(wait_s, self._ack, send.push, send.user)

    def _ack(self, push: Push, user: str) -> None:
        ack = Ack()
        observer = self._observer
        publication = observer.publications[push.id]
        revoked = observer.revoked.get(user, inf)

        def arrived() -> None:
            observer.note(f"{self.token} acks {push.id} of {user}")
            observer.acked(push.id, user, ack)

        def answered(answer: Answer | None, at: float) -> None:
            ack.is_refused = answer is not None and answer.status != 200
            if answer is not None and answer.status == 200:
                ack.answered_at = at
                observer.ack_answered(push.id, user, at)
            elif answer is not None and answer.status not in (401, 503):
                raise Broken(f"devices: an ack was answered {answer.status} {answer.body!r}")

        capability = json.loads(push.data(2000))["hub_capability"]
        if revoked < inf or publication.ttl < 1e9:
            return
        self._worker.call("POST", "/api/acks", capability, {"ids": [push.id]}, answered, arrived)
