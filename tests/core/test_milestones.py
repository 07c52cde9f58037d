"""Each user at exactly one milestone; what is counted adds up."""

from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hubd.core.milestones import ACKED, EXPIRED, LIVE_SENT, PENDING, PUSHED, Milestones, Tally, dropped, held
from hubd.core.users import Snapshot, UserSet

SOME = [PENDING, LIVE_SENT, PUSHED, ACKED, EXPIRED, held("quiet"), dropped("away")]
numbers = st.sets(st.integers(1, 8))
changes = st.lists(
    st.one_of(
        st.tuples(st.just("move"), numbers, st.sampled_from(SOME)),
        st.tuples(st.just("move_one"), st.integers(1, 8), st.sampled_from(SOME)),
        st.tuples(st.just("add"), st.integers(1, 12), st.sampled_from(SOME)),
        st.tuples(st.just("add_all"), st.sets(st.integers(9, 14)), st.none()),
        st.tuples(st.just("take_out"), numbers, st.none()),
    ),
    max_size=20,
)


def made(*everybody: int, at: str = PENDING) -> tuple[Milestones, Tally]:
    tally = Tally()
    return Milestones(UserSet(everybody), at, tally), tally


class Plain:
    """The same, as anybody would write it: a dict from user to milestone."""

    def __init__(self, everybody: set[int]) -> None:
        self.at = dict.fromkeys(everybody, PENDING)
        self.rest = PENDING

    def change(self, milestones: Milestones, what: str, who: Any, to: Any) -> None:
        """Change both, in what can be asked for."""
        if what == "add_all":
            new = who - self.at.keys()
            milestones.add_all(UserSet(new))
            self.at |= dict.fromkeys(new, milestones.rest)
        elif what == "add" and who not in self.at:
            milestones.add(who, to)
            self.at[who] = to
        elif what == "move_one" and who in self.at:
            milestones.move_one(who, to)
            self.at[who] = to
        elif what == "move":
            milestones.move(UserSet(who & self.at.keys()), to)
            self.at |= dict.fromkeys(who & self.at.keys(), to)
        elif what == "take_out":
            milestones.take_out(UserSet(who & self.at.keys()))
            self.at = {number: at for number, at in self.at.items() if number not in who}


@given(numbers, changes)
def test_it_is_what_a_dict_from_user_to_milestone_would_be(everybody: set[int], history: list[Any]) -> None:
    milestones, tally = made(*everybody)
    plain = Plain(everybody)
    for what, who, to in history:
        plain.change(milestones, what, who, to)
        assert {number: milestones.of(number) for number in milestones.everybody} == plain.at
        counts = Counter(plain.at.values())
        assert {name: count for name, count in tally.items() if count} == counts
        assert tally.accepted == sum(counts.values())
        assert dict(milestones) == counts
        assert tally.accepted == sum(counts.values()), "what was accepted is counted apart"
        assert {name: set(milestones.at(name)) for name in SOME if milestones.at(name)} == {
            name: {number for number, at in plain.at.items() if at == name} for name in counts
        }
        others = list((milestones.others or {}).values())
        assert all(others) and sum(map(len, others)) == len(UserSet(n for users in others for n in users))
        assert milestones.others is None or milestones.rest not in milestones.others


def test_somebody_for_whom_it_is_not_meant_is_nowhere() -> None:
    milestones, _ = made(1, 2)
    assert milestones.of(3) is None


def test_nobody() -> None:
    milestones, tally = made()
    assert list(milestones) == [] and not any(tally.values()) and not milestones.at(PENDING)
    milestones.move(UserSet(), ACKED)
    assert not any(tally.values())


def test_all_at_once_cost_no_set() -> None:
    milestones, _ = made(*range(1000))
    milestones.move(milestones.everybody, LIVE_SENT)
    assert (milestones.rest, milestones.others) == (LIVE_SENT, None)


def test_sets_that_it_is_given_are_never_changed() -> None:
    everybody, live = Snapshot(UserSet((1, 2, 3))), Snapshot(UserSet((1, 2)))
    milestones = Milestones(everybody, PENDING, Tally())
    milestones.move(live, LIVE_SENT)
    milestones.move_one(1, ACKED)
    milestones.move_one(3, LIVE_SENT)
    milestones.add(4, PENDING)
    milestones.take_out(UserSet((2,)))
    assert (list(everybody), list(live)) == ([1, 2, 3], [1, 2])


@pytest.mark.parametrize(("made", "word"), [(held("dnd"), "held(dnd)"), (dropped("away"), "dropped(away)")])
def test_words(made: str, word: str) -> None:
    assert made == word
