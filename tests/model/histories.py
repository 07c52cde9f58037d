"""Runs machines: so many histories, from a seed that is told when something is found."""

import os
from random import SystemRandom

from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.model.machine import HubMachine
from tests.model.surroundings import Loop


def _seed() -> int:
    """The same histories every time, so that a red test is the doing of whoever changed something; others on demand."""
    given = os.environ.get("HUBD_SEED") or "1"
    return SystemRandom().randrange(1_000_000_000) if given == "random" else int(given)


SEED = _seed()
HOW_TO_REPEAT = f"HUBD_SEED={SEED} in the environment repeats exactly these histories"


def run_histories(
    machine: type[HubMachine], histories: int, *, seed_: int = SEED, steps: int = 40, shrink: bool = True
) -> int:
    """Run so many histories; gives how many it were. A broken promise is shown with the shortest way to it."""
    phases = (Phase.generate, Phase.shrink) if shrink else (Phase.generate,)
    options = settings(
        max_examples=histories,
        stateful_step_count=steps,
        phases=phases,
        derandomize=False,
        database=None,
        deadline=None,
        print_blob=True,
        report_multiple_bugs=False,
        suppress_health_check=list(HealthCheck),
    )
    loop = Loop()
    mine: type[HubMachine] = type(machine.__name__, (machine,), {"loop": loop, "histories": 0})
    try:
        run_state_machine_as_test(seed(seed_)(mine), settings=options)
    except BaseException as error:
        error.add_note(HOW_TO_REPEAT)
        raise
    finally:
        loop.close()
    return mine.histories
