"""Jobs, and their parts: what waits is counted, and whatever is empty is gone."""

from hubd.core.milestones import ACKED, PUSHED
from hubd.core.users import UserSet
from hubd.push.jobs import Part, PartKey, Waiting
from tests.push.test_retrying import job


def test_a_part_is_in_its_place_while_something_waits_in_it() -> None:
    one, to = job(1), Waiting()
    part = Part(one, to, PartKey(1, 0))
    place: dict[str, Part] = {}
    part.move_to(place, "here")
    part.put(UserSet((3, 1)))
    part.put_one(2)
    assert (to.waiting, list(one.parts), place) == (3, [part], {"here": part})
    assert part.take_first() == 1
    assert part.take_out(UserSet((3, 7))) == UserSet((3,))
    assert part.take_out(UserSet((3, 7))) == UserSet()
    assert part.take_first() == 2
    assert (to.waiting, one.parts, place) == (0, {}, {})


def test_a_part_that_moves_is_in_one_place_at_a_time() -> None:
    one, to = job(1), Waiting()
    part = Part(one, to, PartKey(1, 0))
    part.put_one(1)
    first: dict[str, Part] = {}
    part.move_to(first, "a")
    part.leave()
    assert first == {} and part in one.parts
    second: dict[str, Part] = {}
    part.move_to(second, "b")
    part.take_first()
    assert second == {}


def test_whom_a_job_is_still_for() -> None:
    one = job(1)
    assert not one.is_for(1) and not one.wants(1) and one.is_over
    one.users = UserSet((1,))
    one.open = UserSet((5,))
    assert one.wants(1) and not one.is_over
    one.record.milestones.move_one(1, PUSHED)
    assert one.wants(1)
    one.record.milestones.move_one(1, ACKED)
    assert one.is_for(1) and not one.wants(1)
    one.users = UserSet((1, 2))
    assert not one.wants(2), "who was taken out of the record is another publication's"
    one.is_through_with(5)
    assert one.is_over and list(one.done) == [5]
