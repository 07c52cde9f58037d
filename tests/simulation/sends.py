"""What a push service was asked to bring to a phone, and how that went."""

from math import inf
from typing import TYPE_CHECKING

from hubd.plugin import Push, PushResult

if TYPE_CHECKING:
    from tests.simulation.phones import Phone

NOBODY = ""
"""Whose a phone is that isn't registered."""


class Send:
    """One call of a push service: a notification on its way to a phone of ``user``.

    ``how`` it ended: an outcome, "failed", "cancelled", or nothing while it goes on.
    """

    __slots__ = ("at", "ended_at", "how", "id", "life", "phone", "push", "result", "user")

    def __init__(self, at: float, life: int, user: str, phone: "Phone", push: Push) -> None:
        self.at = at
        self.life = life
        self.id = push.id
        self.user = user
        self.phone = phone
        self.push = push
        self.ended_at = inf
        self.how = ""
        self.result: PushResult | None = None
