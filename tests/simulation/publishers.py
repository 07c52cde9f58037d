"""The application's server: it publishes by HTTP until it is told what became of it, and does the rest of its calls."""

from typing import Any

from tests.simulation.calls import Caller
from tests.simulation.hub_process import KEY
from tests.simulation.network import Network
from tests.simulation.observer import Broken, Observer, Publication
from tests.simulation.wire import Answer

TRIES = 12
AGAIN_S = 0.7


class Publisher:
    """One of the server's processes, with a connection of its own."""

    def __init__(self, network: Network, observer: Observer, name: str) -> None:
        self._loop = network.loop
        self._observer = observer
        self.caller = Caller(network, "10.9.0.1")
        self.name = name

    def publish(self, publication: Publication, wall: float) -> None:
        """Publish it, with the same id again when nobody knows whether it was, or when it can't be now."""
        body: dict[str, Any] = {
            "to": list(publication.to),
            "notification": {"type": "sim", "title": publication.id},
            "id": publication.id,
            "priority": publication.priority,
            "persistence": publication.persistence,
        }
        if publication.ttl < 1e9:
            body["ttl"] = publication.ttl
        if publication.collapse_key is not None:
            body["collapse_key"] = publication.collapse_key
        if publication.deliver_at is not None:
            body["deliver_at"] = int((wall + publication.deliver_at) * 1000)
        self._observer.publications[publication.id] = publication
        self._try(publication, body, TRIES)

    def _try(self, publication: Publication, body: dict[str, Any], tries: int) -> None:
        def answered(answer: Answer | None, at: float) -> None:
            self._observer.note(f"{self.name} {publication.id} {answer.status if answer else 'cut'}")
            if answer is None:
                publication.is_in_doubt = True
            elif answer.status in (200, 202):
                self._accepted(publication, answer.json(), at)
                return
            elif answer.status != 503:
                raise Broken(f"publish: {answer.status} {answer.body!r}")
            if tries > 1:
                wait_s = AGAIN_S * (0.5 + self._loop.random.random())
                self._loop.call_later(wait_s, self._try, publication, body, tries - 1)

        arrived = lambda: publication.arrivals.append(self._loop.now)  # noqa: E731
        self.caller.call("POST", "/api/notifications", KEY, body, answered, arrived)

    def _accepted(self, publication: Publication, fields: dict[str, Any], at: float) -> None:
        observer = self._observer
        publication.is_known = True
        publication.cursor = fields.get("cursor", "")
        if not fields["duplicate"]:
            publication.accepted_at = at
        if publication.is_durable and publication.deliver_at is None and not observer.disk.kept.get(publication.id):
            raise Broken(f"durable: {publication.id} was accepted and isn't on the disk")

    def retract(self, publication: Publication) -> None:
        def arrived() -> None:
            publication.retract_asked_at = min(publication.retract_asked_at, self._loop.now)

        def answered(answer: Answer | None, at: float) -> None:
            if answer is not None and answer.status == 200:
                self._observer.note(f"retracted {publication.id}")
                publication.retracted_at = at

        self.caller.call("DELETE", f"/api/notifications/{publication.id}", KEY, None, answered, arrived)

    def revoke(self, user: str) -> None:
        def answered(answer: Answer | None, at: float) -> None:
            if answer is not None and answer.status == 200:
                self._observer.note(f"revoked {user}")
                self._observer.revoked[user] = at

        self.caller.call("POST", f"/api/users/{user}/revoke", KEY, None, answered)

    def subscribe(self, user: str, topic: str, *, wanted: bool) -> None:
        """Give a user a durable subscription, or take it from him."""
        observer = self._observer
        known = observer.durables[user, topic]
        arrivals: list[float] = []

        def arrived() -> None:
            known.append((self._loop.now, None))
            arrivals.append(self._loop.now)

        def answered(answer: Answer | None, at: float) -> None:
            observer.note(f"durable {user} {topic} {wanted} {answer.status if answer else 'cut'}")
            if not wanted and arrivals and (answer is None or answer.status != 404):  # his connections leave it, too
                for seen in observer.by_user[user]:
                    if seen.opened_at < arrivals[0]:
                        seen.left(topic, arrivals[0])
            if answer is None or answer.status >= 500:
                observer.in_doubt[user, topic] = None
                return
            known.append((at, wanted))
            if wanted:
                for seen in observer.by_user[user]:
                    if seen.opened_at < at < seen.closed_at:
                        seen.joined(topic, at)

        method = "PUT" if wanted else "DELETE"
        self.caller.call(method, f"/api/users/{user}/subscriptions/{topic}", KEY, None, answered, arrived)
