"""Whose turn it is: critical ones first, nobody starves, and one with much doesn't hold up those with little."""

from collections import Counter

from hubd.core.notification import Priority
from hubd.push.lanes import QUANTUM, Lanes


def test_turns_are_shared_by_priority() -> None:
    lanes: Lanes[str, str] = Lanes()
    for priority in Priority:
        lanes.lane(priority)[priority.word] = priority.word
    found = Counter(lanes.next() for _ in range(900))
    assert found == {"critical": 600, "important": 200, "informational": 100}


def test_a_lane_alone_has_all_turns() -> None:
    lanes: Lanes[str, str] = Lanes()
    assert lanes.next() is None and not lanes
    lanes.lane(Priority.INFORMATIONAL)["a"] = "a"
    assert [lanes.next() for _ in range(50)] == ["a"] * 50
    assert lanes and len(lanes) == 1


def test_those_of_a_lane_take_turns() -> None:
    lanes: Lanes[int, int] = Lanes()
    for number in range(3):
        lanes.lane(Priority.CRITICAL)[number] = number
    assert [lanes.next() for _ in range(3 * QUANTUM)] == [0] * QUANTUM + [1] * QUANTUM + [2] * QUANTUM
    del lanes.lane(Priority.CRITICAL)[0]
    assert lanes.next() == 1
