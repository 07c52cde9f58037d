"""Lines: first in, first out; one at a time; and those who were called off leave nothing behind."""

from math import inf

from hubd.core.users import UserSet
from hubd.push.jobs import Part, PartKey, Waiting
from hubd.push.lines import Lines
from tests.push.test_retrying import job


def part(number: int, *devices: int) -> Part:
    made = Part(job(number), Waiting(), PartKey(number, 0, "plain"))
    made.put(UserSet(devices))
    return made


def test_first_in_first_out_one_at_a_time() -> None:
    lines = Lines()
    parts = [part(number, 7) for number in range(3)]
    for number, one in enumerate(parts):
        lines.join(7, "plain", one, 10.0 + number)
    assert lines.due(9.9, 9) == [] and lines.next_moment() == 10.0
    for place, at in enumerate((10.0, 20.0, 30.0)):
        (turn,) = lines.due(at, 9)
        assert turn.part is parts[place]
        assert lines.due(99.0, 9) == [], "it is on its way"
        lines.went(7, "plain", at + 10)
    assert (len(lines), lines.is_there(7, "plain"), lines.next_moment()) == (0, False, inf)


def test_who_could_not_go_is_the_first_again() -> None:
    lines = Lines()
    first, second = part(1, 7), part(2, 7)
    lines.join(7, "plain", first, 10.0)
    lines.join(7, "plain", second, 10.0)
    lines.due(10.0, 9)
    lines.back(7, "plain", first, 12.0)
    assert lines.due(11.0, 9) == []
    (turn,) = lines.due(12.0, 9)
    assert turn.part is first


def test_devices_and_names_have_lines_of_their_own() -> None:
    lines = Lines(most=3)
    one = part(1, 7, 8)
    lines.join(7, "plain", one, 10.0)
    lines.join(8, "plain", one, 10.0)
    assert not lines.is_full
    lines.join(7, "urgent", one, 5.0)
    assert lines.is_full
    assert [(turn.device, turn.name) for turn in lines.due(50.0, 2)] == [(7, "urgent"), (7, "plain")]
    assert [(turn.device, turn.name) for turn in lines.due(50.0, 2)] == [(8, "plain")]


def test_who_was_called_off_is_passed_over() -> None:
    lines = Lines()
    parts = [part(number, 7) for number in range(3)]
    for one in parts:
        lines.join(7, "plain", one, 10.0)
    parts[0].take_out(UserSet((7,)))
    (turn,) = lines.due(10.0, 9)
    assert turn.part is parts[1]
    parts[2].take_out(UserSet((7,)))
    lines.went(7, "plain", 20.0)
    assert lines.due(20.0, 9) == []
    assert len(lines) == 0
    lines.went(7, "plain", 20.0)


def test_very_many_that_were_called_off_take_no_room() -> None:
    lines = Lines()
    stays = part(1, 7)
    lines.join(7, "plain", stays, 1000.0)
    for number in range(2000):
        one = part(number, 7)
        lines.join(7, "plain", one, 1000.0)
        one.take_out(UserSet((7,)))
    (line,) = lines._lines.values()
    assert len(line.parts) < 50
    (turn,) = lines.due(1000.0, 9)
    assert turn.part is stays
