"""What a hub remembers that isn't a connection's: it can outlive the process."""

from typing import NamedTuple

from hubd.clock import Clock
from hubd.config import Config
from hubd.core.ring import Rings
from hubd.core.subscriptions import MemorySubscriptions
from hubd.core.users import UserNumbers
from hubd.idempotency import Idempotency


class Receipt(NamedTuple):
    """What a publisher is told: ``live`` is for how many connections the notification was queued."""

    id: str
    cursor: str
    live: int


class Memory:
    """Empty to begin with; or what a clean stop saved (``hubd.saved``), bounded by the config that holds now.

    ``sequence`` is the number of the last publication in this ``epoch``. ``revoked`` says for each user since when
    (Unix seconds) his older tokens don't count any more.
    """

    def __init__(self, config: Config, clock: Clock, epoch: str) -> None:
        limits, replay = config.limits, config.replay
        self.epoch = epoch
        self.sequence = 0
        self.numbers = UserNumbers()
        self.rings = Rings(replay.per_channel, replay.ttl_s, replay.max_bytes)
        self.durables = MemorySubscriptions(self.numbers, config.auth.durable_grant_s)
        self.answers: Idempotency[Receipt] = Idempotency(clock, limits.id_window_s, limits.id_entries)
        self.revoked: dict[str, float] = {}

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing in it that anybody would miss."""
        return not (self.sequence or self.revoked or len(self.answers) or any(self.durables.all()))
