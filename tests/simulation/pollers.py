"""A client that polls. It can't ack; coming back with a later cursor shows that it got what lies before."""

from collections.abc import Callable

from tests.simulation.calls import Caller
from tests.simulation.clients import position
from tests.simulation.network import Network
from tests.simulation.observer import Broken, Got, Observer, Seen
from tests.simulation.wire import Answer

AT_ONCE_S = 0.01


class Poller:
    """``wait_s``: for how long it lets a poll wait; ``pause_s``: and how long it does something else then."""

    def __init__(
        self,
        network: Network,
        observer: Observer,
        user: str,
        name: str,
        *,
        topics: tuple[str, ...],
        token: Callable[[], str],
        wait_s: int,
        pause_s: float,
    ) -> None:
        self._loop = network.loop
        self._observer = observer
        self.user = user
        self.name = name
        self.topics = topics
        self._token = token
        self._wait_s = wait_s
        self._pause_s = pause_s
        self.caller = Caller(network, "10.2.0.1")
        self.is_wanted = False
        self.cursor = ""
        self._unproved: list[Got] = []

    def open(self) -> None:
        if not self.is_wanted:
            self.is_wanted = True
            self._poll()

    def shut(self) -> None:
        self.is_wanted = False

    def _poll(self) -> None:
        if not self.is_wanted:
            return
        target = f"/notifications?wait={self._wait_s}&topics={','.join(self.topics)}"
        if self.cursor:
            target += f"&cursor={self.cursor}"
        seen: list[Seen] = []
        unproved, self._unproved = self._unproved, []

        def arrived() -> None:
            opened = self._observer.opened(self.user, self.name, acks=False, is_poll=True)
            if self.cursor:
                opened.resume(*position(self.cursor))
            for topic in self.topics:
                opened.joined(topic, opened.opened_at)
            seen.append(opened)
            self._observer.doubt(self.user, unproved)
            link = self.caller.link
            if link is not None:
                link.on_server_end = lambda: self._observer.closed(opened, self._loop.now)

        def answered(answer: Answer | None, at: float) -> None:
            if seen and answer is not None:
                self._observer.closed(seen[0], at)
                if answer.status == 200:
                    self._observer.proved(self.user, unproved, seen[0].opened_at)
                    self._got(seen[0], answer, at)
                else:
                    seen[0].is_none = at < seen[0].opened_at + AT_ONCE_S  # else it was here until then
                    if answer.status == 401:
                        self.is_wanted = False
            wait_s = self._pause_s if answer is not None and answer.status == 200 else 0.5
            self._loop.call_later(wait_s * (0.5 + self._loop.random.random()), self._poll)

        self.caller.call("GET", target, self._token(), None, answered, arrived)

    def _got(self, seen: Seen, answer: Answer, at: float) -> None:
        fields = answer.json()
        epoch, _ = position(fields["cursor"])
        if fields["gap"] is not None:
            seen.missed(seen.opened_at)
        seen.epoch = epoch
        for one in fields["notifications"]:
            _, sequence = position(one["cursor"])
            if seen.got and sequence <= seen.got[-1].sequence:
                raise Broken(f"order: {self.name} got {sequence} behind {seen.got[-1].sequence}")
            got = Got(one["id"], one["channel"], sequence, at, self._loop.now)
            self._observer.note(f"{self.name} got {got.id} {one['cursor']}")
            seen.got.append(got)
            self._unproved.append(got)
        self.cursor = fields["cursor"]
