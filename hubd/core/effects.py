"""What decisions about notifications ask for: the only way out of the state machine."""

from typing import Protocol

from hubd.core.record import Record
from hubd.core.stored import Fact
from hubd.core.users import UserSet


class Effects(Protocol):
    """What is to be done about it. Called in the order in which it has to be done."""

    def push(self, record: Record, users: UserSet) -> None:
        """Bring it to these users' devices; ``accepted``, ``not_routed`` or ``given_up`` follow for each of them."""
        ...

    def cancel(self, record: Record, users: UserSet) -> None:
        """What of their pushes hasn't been accepted yet isn't wanted any more."""
        ...

    def keep(self, record: Record) -> None:
        """Something is open about it that shall outlive a crash."""
        ...

    def fact(self, record: Record, fact: Fact) -> None:
        """Something became of a stored one that shall outlive a crash."""
        ...

    def close(self, record: Record) -> None:
        """Nothing is open about a stored one any more."""
        ...
