from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test
from tests.model.machine import HubMachine
from tests.model.surroundings import Loop
import os, time

def test_histories():
    HubMachine.loop = Loop()
    t = time.perf_counter()
    n = int(os.environ.get("N", "300"))
    try:
        run_state_machine_as_test(HubMachine, settings=settings(max_examples=n, stateful_step_count=40, deadline=None, database=None, print_blob=True,
            suppress_health_check=list(HealthCheck)))
    finally:
        print(HubMachine.histories, (time.perf_counter()-t)/HubMachine.histories*1000, "ms")
        HubMachine.loop.close()
