"""What Prometheus is told of the store."""

from pathlib import Path

from hubd.clock import SystemClock
from hubd.core.stored import Lane, Revoke
from hubd.core.users import UserNumbers
from hubd.counts import Histogram
from hubd.metric_kinds import EdgeSizes, Readings, Value
from hubd.metric_store import STORE
from hubd.store.opening import open_store
from hubd.storing import Store
from hubd.survey import Survey
from hubd.tasks import Tasks
from hubd.testing import make_hub
from tests.steered_store import SteeredStore


def shown(store: Store | None) -> dict[str, Value]:
    hub, _, _ = make_hub(store=store)
    return {metric.name: metric.read(Readings(hub, Survey(), EdgeSizes())) for metric in STORE}


async def test_what_a_store_counts(tmp_path: Path) -> None:
    tasks = Tasks()
    store = await open_store(f"sqlite:///{tmp_path}/hub.db", SystemClock(), UserNumbers(), tasks)
    try:
        for since in range(3):
            await store.write(Revoke("ada", float(since)), Lane.ACK)
        waiting = store.write(Revoke("ada", 9.0), Lane.ACK)
        found = shown(store)
        assert (found["hubd_store_commits_total"], found["hubd_store_writes_total"]) == (3, 3)
        seconds = found["hubd_store_commit_seconds"]
        assert isinstance(seconds, Histogram) and sum(seconds.counts) == 3 and seconds.sum > 0
        assert found["hubd_store_waiting"] == {("publish",): 0, ("ack",): 1, ("bookkeeping",): 0}
        assert found["hubd_store_waiting_bytes"] != 0
        names = ("trouble", "failures_total", "refused_total", "lost_total", "withdrawn_total")
        assert [found[f"hubd_store_{name}"] for name in names] == [0] * 5
        await waiting
    finally:
        await store.close(5)
        await tasks.close()


async def test_trouble_shows() -> None:
    store = SteeredStore()
    store.trouble = "the disk is full"
    assert shown(store)["hubd_store_trouble"] == 1


async def test_without_a_store_nothing_is_shown() -> None:
    assert shown(None) == {metric.name: {} for metric in STORE}
