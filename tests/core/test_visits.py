"""What is remembered of connections that are gone: what they were, and no more of them than that."""

from hubd.core.errors import NO_PONG
from hubd.core.visits import Visits, visit_of
from hubd.testing import connect, make_hub


def test_a_visit_is_what_the_connection_was() -> None:
    hub, clock, _ = make_hub()
    ada = connect(hub, "ada", ("t",))
    clock.advance(12)
    hub.end(ada, NO_PONG)
    (visit,) = hub.attendance.visits.of("ada")
    assert (visit.connection, visit.transport, visit.why, visit.topics) == (ada.id, "recording", "no_pong", (("t", 0),))
    assert visit.ended_at == clock.now() and visit.opened_at == clock.now() - 12
    assert visit.topic_since("t") == 0 and visit.topic_since("u") is None
    assert hub.attendance.visits.of("bob") == []


def test_who_is_here_has_no_end() -> None:
    hub, clock, _ = make_hub()
    ada = connect(hub, "ada")
    visit = visit_of(ada, 7, clock.monotonic(), clock.now())
    assert (visit.ended_at, visit.why, visit.through, visit.gone_at) == (0.0, "", 7, 7)


def test_the_oldest_are_forgotten() -> None:
    hub, _, _ = make_hub()
    hub.attendance.visits = visits = Visits(limit=3, topics=10)
    for user in ("ada", "bob", "ada", "eve"):
        connect(hub, user, ("t",)).drop()
    assert len(visits) == 3
    assert [len(visits.of(user)) for user in ("ada", "bob", "eve")] == [1, 1, 1]
    connect(hub, "kim", tuple(f"t{number}" for number in range(9))).drop()
    assert [len(visits.of(user)) for user in ("ada", "bob", "eve", "kim")] == [0, 0, 1, 1]
    connect(hub, "zoe", tuple(f"t{number}" for number in range(20))).drop()
    assert len(visits) == 0 and not visits._of_user
