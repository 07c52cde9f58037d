"""What a store is told: each write says all that belongs together, and which go first."""

from hubd.core import stored
from hubd.core.stored import Close, Fact, Keep, Lane, Note, Row
from hubd.core.users import UserSet

ROW = Row("k", "x", b"{", ("t",), "persistent", 1, 2, None, None, (), UserSet((1,)), UserSet((1,)), 0)


def test_publishers_go_before_users_and_those_before_what_nobody_waits_for() -> None:
    assert sorted(Lane, reverse=True)[::-1] == [Lane.PUBLISH, Lane.ACK, Lane.BOOKKEEPING]


def test_a_row_may_be_kept_with_nothing_besides() -> None:
    keep = Keep(ROW)
    assert (keep.facts, keep.answer, keep.instead_of, keep.released) == ((), None, None, None)


def test_a_fact_needs_no_detail_and_a_closed_row_goes_unless_told_otherwise() -> None:
    fact = Fact("k", "acked", UserSet((1,)), 5)
    assert (fact.detail, Note(fact).fact, Close("k").keep_until) == ("", fact, 0)


def test_writes_are_told_apart_by_their_type() -> None:
    """All are tuples, and two of different kinds with the same fields would be equal."""
    kinds = stored.Write.__args__
    assert len(set(kinds)) == len(kinds) >= 9
    assert all(issubclass(kind, tuple) for kind in kinds)
