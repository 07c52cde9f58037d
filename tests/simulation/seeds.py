"""Which histories are run: the same ones every time, or others on demand."""

import gc
import os
from collections.abc import Iterable
from random import SystemRandom

from tests.simulation.history import run_history


def _seed() -> int:
    given = os.environ.get("HUBD_SEED") or "1"
    return SystemRandom().randrange(1_000_000) if given == "random" else int(given)


SEED = _seed()
HOW_TO_REPEAT = f"HUBD_SEED={SEED} in the environment repeats exactly these histories"
APART = 1_000_000
"""So far lie the histories of one HUBD_SEED from those of the next."""


def run_histories(numbers: Iterable[int], trouble: frozenset[str] | None = None) -> int:
    """Run these, counted from the seed; gives how many there were. Garbage is looked for between them."""
    count = 0
    gc.disable()
    try:
        for number in numbers:
            run_history(SEED * APART + number, trouble)
            count += 1
            if count % 25 == 0:
                gc.collect()
    finally:
        gc.enable()
    return count
