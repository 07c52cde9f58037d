"""What a hub remembers that isn't a connection's: it can outlive the process."""

from typing import NamedTuple

from hubd.clock import Clock
from hubd.config import Config
from hubd.core.ring import Rings
from hubd.core.stored import Scheduled, Write
from hubd.core.subscriptions import MemorySubscriptions
from hubd.core.users import UserNumbers
from hubd.idempotency import Idempotency
from hubd.push.devices import Devices
from hubd.stored_subscriptions import StoredSubscriptions
from hubd.storing import Store


class Receipt(NamedTuple):
    """What a publisher is told: ``live`` is for how many connections the notification was queued."""

    id: str
    cursor: str
    live: int


class Memory:
    """Empty to begin with; or what a clean stop saved (``hubd.saved``), bounded by the config that holds now.

    ``sequence`` is the number of the last publication in this ``epoch``. ``revoked`` says for each user since when
    (Unix seconds) his older tokens don't count any more; ``scheduled`` are publish calls that are to be carried out
    later. With a ``store``, whose ``numbers`` these are, that keeps all but the rings.
    """

    def __init__(
        self,
        config: Config,
        clock: Clock,
        epoch: str,
        *,
        numbers: UserNumbers | None = None,
        store: Store | None = None,
    ) -> None:
        limits, replay = config.limits, config.replay
        self.epoch = epoch
        self.sequence = 0
        self.store = store
        self.numbers = UserNumbers() if numbers is None else numbers
        self.rings = Rings(replay.per_channel, replay.ttl_s, replay.max_bytes)
        grant_s = config.auth.durable_grant_s
        self.durables: MemorySubscriptions
        if store is None:
            self.durables = MemorySubscriptions(self.numbers, grant_s)
        else:
            self.durables = StoredSubscriptions(self.numbers, grant_s, store)
        self.devices = Devices(config, clock, self.numbers, store)
        self.secrets: dict[str, bytes] = {}
        """What the hub signs with, by its name."""
        self.answers: Idempotency[Receipt] = Idempotency(clock, limits.id_window_s, limits.id_entries)
        self.revoked: dict[str, float] = {}
        self.scheduled: tuple[Scheduled, ...] = ()
        self.unstored: tuple[Write, ...] = ()
        """What a file brought from before there was a store."""

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing in it that anybody would miss and that no store has."""
        if self.store is not None:
            return not (self.sequence or self.unstored)
        return not (self.sequence or self.revoked or len(self.answers) or any(self.durables.all()))
