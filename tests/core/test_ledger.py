"""What became of notifications is kept for a while: bounded in time and bytes, the oldest go first."""

from typing import Any

from hubd.core.ledger import Ledger
from hubd.core.milestones import Tally
from hubd.core.record import Record
from hubd.core.users import NOBODY, UserSet
from tests.core.made import published

SENT = 1_800_000_000.0


class Kept:
    """A ledger, and records for it."""

    def __init__(self, **options: Any) -> None:
        self.ledger = Ledger(**options)
        self.count = 0

    def add(self, id: str = "x", *, age: float = 0.0, is_open: bool = False) -> Record:
        self.count += 1
        made = published("t", id=id, sent_at=int((SENT - age) * 1000))
        made.references = 1
        budget = self.ledger.budget
        record = Record(f"key{self.count}", made, UserSet((1,)), NOBODY, Tally(), budget)
        record.sequence, record.is_open, made.record = 1, is_open, record
        self.ledger.add(record)
        return record

    def ids(self) -> list[str]:
        return [record.id for record in self.ledger._by_age.values()]


def test_records_are_found_by_their_id_the_latest_first() -> None:
    kept = Kept()
    first, other, second = kept.add("x"), kept.add("y"), kept.add("x")
    assert (kept.ledger.find_all("x"), kept.ledger.find_all("y")) == ([second, first], [other])
    assert (kept.ledger.find_all("z"), len(kept.ledger)) == ([], 3)


def test_what_is_dropped_is_gone_and_counts_no_more() -> None:
    kept = Kept()
    first, second = kept.add("x"), kept.add("x")
    used = kept.ledger.budget.used
    first.note(SENT, "acked", None)
    kept.ledger.drop(first)
    assert kept.ledger.find_all("x") == [second] and kept.ledger.budget.used == used / 2
    kept.ledger.drop(second)
    assert (kept.ledger.find_all("x"), kept.ledger.budget.used, len(kept.ledger)) == ([], 0, 0)
    assert kept.ledger._by_id == {}


def test_what_is_too_old_goes() -> None:
    kept = Kept(keep_s=100.0)
    for age in (300, 200, 99):
        kept.add(str(age), age=age)
    kept.ledger.expire(SENT)
    assert kept.ids() == ["99"]
    kept.ledger.expire(SENT + 0.5)
    assert kept.ids() == ["99"]
    kept.ledger.expire(SENT + 1.5)
    assert kept.ids() == []


def test_what_is_too_much_goes_the_oldest_first() -> None:
    kept = Kept()
    for number in range(10):
        kept.add(str(number))
    kept.ledger.max_bytes = kept.ledger.budget.used // 2
    kept.ledger.expire(SENT)
    assert kept.ids() == ["5", "6", "7", "8", "9"]


def test_however_fast_they_come_it_grows_no_further_between_two_looks() -> None:
    kept = Kept(max_bytes=100_000)
    most = 0
    for number in range(5000):
        kept.add(str(number))
        most = max(most, kept.ledger.budget.used)
    assert most < 110_000 and kept.ids()[-1] == "4999"


def test_what_is_open_stays() -> None:
    kept = Kept(keep_s=100.0, max_bytes=5000)
    held = kept.add("open", age=300, is_open=True)
    for number in range(50):
        kept.add(str(number), age=200)
    kept.ledger.expire(SENT)
    assert kept.ids() == ["open"]
    held.is_open = False
    kept.ledger.expire(SENT)
    assert kept.ids() == []


def test_many_that_are_open_cost_each_look_only_so_much() -> None:
    kept = Kept(keep_s=100.0)
    for number in range(2500):
        kept.add(str(number), age=300, is_open=number < 2000)
    for _ in range(3):
        kept.ledger.expire(SENT)
    assert len(kept.ledger) == 2000


def test_a_record_that_is_let_go_of_lets_go_of_its_notification() -> None:
    kept = Kept()
    record = kept.add("x")
    notification = record.notification
    assert notification is not None
    kept.ledger.drop(record)
    assert (record.notification, notification.record) == (None, None), "a circle would wait for the collector"


def test_what_a_device_still_waits_for_stays() -> None:
    kept = Kept(keep_s=100.0)
    waits = kept.add("waits", age=300)
    waits.is_awaited = True
    kept.add("done", age=300)
    kept.ledger.expire(SENT)
    assert kept.ids() == ["waits"]
    waits.is_awaited = False
    kept.ledger.expire(SENT)
    assert kept.ids() == []
