"""What the core knows of a connection."""

import math

import pytest

from hubd.core.connection import ACKS_KEPT, STRETCHES_KEPT, Connection
from hubd.core.errors import SHUTDOWN
from hubd.testing import JSON_FORM, MSGPACK_FORM, identity
from tests.core.made import Idle, joined


def test_a_new_connection_gets_nothing_yet() -> None:
    made = Connection("c1", identity("ada"), JSON_FORM, control=True, acks=False, now=7.0)
    assert (made.id, made.identity.user, made.control, made.acks) == ("c1", "ada", True, False)
    assert (made.live, made.paused, made.user, made.outbox, made.replays) == (False, False, None, [], [])
    assert made.opened_at == made.heard_at == made.input_at == made.pinged_at == 7.0
    assert made.warn_at == math.inf
    assert (made.visibility, made.missed, made.watching, made.gap_told) == (None, None, None, False)
    assert (made.since, made.queued, made.counted, made.topics, made.address) == (0, 0, 0, {}, "")


def test_its_channels_are_the_broadcast_its_users_own_and_its_topics() -> None:
    connection = joined("b", "a", user="ada")
    assert connection.names() == ("notifications", "user:ada:notifications", "b", "a")


def test_from_where_it_gets_each_of_its_channels() -> None:
    connection = joined("a", user="ada", since=5)
    connection.topics["b"] = 9
    assert [connection.since_of(name) for name in connection.names()] == [5, 5, 5, 9]


def test_what_has_surely_reached_it_by_a_channel() -> None:
    connection = joined("a", user="ada", since=5)
    assert [connection.had("a", sequence) for sequence in (5, 6, 7)] == [False, True, True]
    connection.miss("a", 7, 9)
    assert [sequence for sequence in range(12) if connection.had("a", sequence)] == [6, 7, 10, 11]
    assert connection.had("notifications", 8)
    connection.miss("a", 8, 10)
    connection.miss("a", 20, 22)
    assert [sequence for sequence in range(25) if not connection.had("a", sequence)] == [
        0,
        1,
        2,
        3,
        4,
        5,
        8,
        9,
        10,
        21,
        22,
    ]
    assert connection.missed == {"a": [(7, 10), (20, 22)]}


def test_what_it_missed_is_remembered_in_bounds_and_rather_too_much_than_too_little() -> None:
    connection = joined("a", user="ada")
    missed = [sequence for start in range(0, 1000, 10) for sequence in (start + 1, start + 2)]
    for start in range(0, 1000, 10):
        connection.miss("a", start, start + 2)
    assert connection.missed is not None and len(connection.missed["a"]) == STRETCHES_KEPT
    assert not any(connection.had("a", sequence) for sequence in missed)
    assert connection.had("a", 985)


def test_control_frames_wait_in_its_form() -> None:
    connection = Idle(form=MSGPACK_FORM)
    connection.put_control({"hub": "ping"})
    connection.put_control({"hub": "pong"})
    assert connection.outbox == [MSGPACK_FORM.control({"hub": "ping"}), MSGPACK_FORM.control({"hub": "pong"})]


def test_the_last_acks_can_be_read_back() -> None:
    connection = Idle()
    assert connection.acked is None
    connection.record_acks([])
    connection.record_acks([f"n{number}" for number in range(ACKS_KEPT)])
    connection.record_acks(["x", "y"])
    assert list(connection.acked or ()) == [*(f"n{number}" for number in range(2, ACKS_KEPT)), "x", "y"]
    connection.record_acks(["n50", "y", "z"])  # those it had pushes nothing out
    assert list(connection.acked or ()) == [*(f"n{number}" for number in range(3, ACKS_KEPT)), "x", "y", "z"]


def test_the_transport_is_for_others_to_add() -> None:
    made = Connection("c1", identity("ada"), JSON_FORM, control=True, acks=True, now=0.0)
    for use in (lambda: made.write(b""), made.unsent, lambda: made.end(SHUTDOWN), made.abort):
        with pytest.raises(NotImplementedError):
            use()


def test_it_is_slim() -> None:
    made = Connection("c1", identity("ada"), JSON_FORM, control=True, acks=True, now=0.0)
    assert not hasattr(made, "__dict__"), "slots alone: there are very many of these"


def test_what_was_evicted_and_came_by_another_ring_counts_as_had() -> None:
    connection = Idle("ada")
    connection.topics["a"] = 0
    connection.miss("a", 10, 20)
    assert not connection.had("a", 15)
    connection.found("a", 15)
    assert connection.had("a", 15)
    assert [sequence for sequence in range(9, 23) if not connection.had("a", sequence)] == [
        sequence for sequence in range(11, 21) if sequence != 15
    ]
    connection.found("b", 15)  # nothing is missing there
