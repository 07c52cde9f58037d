"""What the core knows of a connection."""

import math

import pytest

from hubd.core.connection import ACKS_KEPT, Connection
from hubd.core.errors import SHUTDOWN
from hubd.testing import JSON_FORM, MSGPACK_FORM, identity
from tests.core.made import Idle, joined


def test_a_new_connection_gets_nothing_yet() -> None:
    made = Connection("c1", identity("ada"), JSON_FORM, control=True, acks=False, now=7.0)
    assert (made.id, made.identity.user, made.control, made.acks) == ("c1", "ada", True, False)
    assert (made.live, made.paused, made.user, made.outbox, made.replays) == (False, False, None, [], [])
    assert made.opened_at == made.heard_at == made.input_at == made.pinged_at == 7.0
    assert made.warn_at == math.inf
    assert made.visibility is None


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
    connection.missed = {"a": 6}
    assert [connection.had("a", sequence) for sequence in (5, 6, 7)] == [False, False, True]
    assert connection.had("notifications", 6)


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


def test_the_transport_is_for_others_to_add() -> None:
    made = Connection("c1", identity("ada"), JSON_FORM, control=True, acks=True, now=0.0)
    for use in (lambda: made.write(b""), made.unsent, lambda: made.end(SHUTDOWN), made.abort):
        with pytest.raises(NotImplementedError):
            use()


def test_it_is_slim() -> None:
    made = Connection("c1", identity("ada"), JSON_FORM, control=True, acks=True, now=0.0)
    assert not hasattr(made, "__dict__"), "slots alone: there are very many of these"
