"""Blocks that take turns, because on a machine with neighbours only neighbours in time can be compared.

A round is: baseline, A, B, ..., baseline. A round in which the two runs of the baseline differ by more than a fifth
says nothing about what stood between them, and is thrown out.
"""

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Generic, TypeVar

UNLIKE = 1.20
"""So many times the other, and the two runs of a baseline are too different."""
ROUNDS = 7

Run = TypeVar("Run")


@dataclass
class Round(Generic[Run]):
    """The runs of one round."""

    first: Run
    runs: dict[str, Run]
    last: Run

    def ratio(self, name: str, cost: Callable[[Run], float]) -> float:
        """What the baseline (the mean of its two runs) costs, by what ``name`` does: over 1, ``name`` is cheaper."""
        return (cost(self.first) + cost(self.last)) / 2 / cost(self.runs[name])


@dataclass
class Rounds(Generic[Run]):
    """What was kept, and how many were thrown out."""

    kept: list[Round[Run]] = field(default_factory=list)
    thrown: int = 0

    def ratios(self, name: str, cost: Callable[[Run], float]) -> list[float]:
        """One for each round."""
        return [each.ratio(name, cost) for each in self.kept]

    def baselines(self) -> list[Run]:
        """All runs of the baseline."""
        return [run for each in self.kept for run in (each.first, each.last)]

    def runs(self, name: str) -> list[Run]:
        """All runs of one of the others."""
        return [each.runs[name] for each in self.kept]


def take_turns(
    baseline: Callable[[], Run],
    others: Mapping[str, Callable[[], Run]],
    cost: Callable[[Run], float],
    rounds: int = ROUNDS,
) -> Rounds[Run]:
    """Run rounds until so many were kept; gives up after three times as many, with what it has.

    ``cost`` says by what figure two runs of the baseline are compared: usually seconds. In every other round the
    others run in the opposite order.
    """
    result: Rounds[Run] = Rounds()
    for number in range(3 * rounds):
        names = list(others)[:: (-1) ** number]
        first = baseline()
        runs = {name: others[name]() for name in names}
        last = baseline()
        if max(cost(first), cost(last)) > UNLIKE * min(cost(first), cost(last)):
            result.thrown += 1
        else:
            result.kept.append(Round(first, runs, last))
        if len(result.kept) == rounds:
            return result
    alike = f"only {len(result.kept)} of {3 * rounds} rounds had two baselines alike"
    print(f"{alike}: the machine is busy with something else", file=sys.stderr)
    if not result.kept:
        sys.exit("no round can be used; try again when nothing else runs")
    return result
