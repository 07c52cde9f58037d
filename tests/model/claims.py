"""A connection's rights to channels, as the model keeps them."""

from dataclasses import dataclass, field
from typing import Any

from tests.model.world import Sent

NEVER = 1 << 62
Frame = dict[str, Any]
Ref = str | int


@dataclass(slots=True, eq=False)
class Claim:
    """A connection's right to a channel.

    Everything after ``after`` must come, nothing through ``after_low`` may: two numbers where the model can't know when
    exactly the hub joined it. ``ending``: the connection asked to leave, and may or may not have left. ``covered``:
    what was evicted through this number, the connection has been told of.
    """

    channel: str
    after_low: int
    after: int
    joining: "Joining | None" = None
    by_cursor: bool = False
    ending: bool = False
    covered: int = 0
    told: int = 0


@dataclass(slots=True, eq=False)
class Joining:
    """A ``subscribe`` with a cursor that hasn't been answered: its frames come first, by themselves in sequence."""

    claims: list[Claim]
    reason: str
    last: int = 0
    count: int = 0
    gapped: bool = False
    outstanding: dict[int, Sent] = field(default_factory=dict)
