"""Bugs planted in the transports, one at a time: the histories of clients that move find each of them."""

import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from hubd.attendance import Attendance
from hubd.core.connection import Connection
from hubd.core.replay import Replay
from hubd.edge import polling, sse
from hubd.edge.polling import PollConnection
from hubd.edge.sse import SseConnection
from tests.model.test_transports import Stage, stage
from tests.model.world import Broken

Patch = pytest.MonkeyPatch
ENOUGH = 200
FIRST = 10_000

__all__ = ["stage"]


def _moved(cursor: str, by: int) -> str:
    epoch, _, sequence = cursor.rpartition("-")
    return f"{epoch}-{int(sequence) + by}"


def _event_id(patch: Patch, by: int) -> None:
    wrap = sse.FORM.wrap
    patch.setattr(sse.FORM, "wrap", lambda data, cursor: wrap(data, cursor and _moved(cursor, by)))


def an_event_s_id_is_one_too_low(patch: Patch) -> None:
    _event_id(patch, -1)


def an_event_s_id_is_one_too_high(patch: Patch) -> None:
    _event_id(patch, 1)


def a_stream_begins_at_the_present_cursor(patch: Patch) -> None:
    head = sse._head

    def ahead(endpoint: Any, *more: Any) -> bytes:
        present = endpoint.hub.attendance.cursor().encode()
        return re.sub(rb"(?m)^id: .*$", b"id: " + present, head(endpoint, *more))

    patch.setattr(sse, "_head", ahead)


def a_stream_begins_as_if_its_cursor_were_good(patch: Patch) -> None:
    head = sse._head
    patch.setattr(sse, "_head", lambda endpoint, request, connection, cursor: head(endpoint, request, connection, None))


def a_heartbeat_is_ahead_of_what_is_undelivered(patch: Patch) -> None:
    ping = SseConnection.ping
    patch.setattr(SseConnection, "ping", lambda self, cursor: ping(self, self.endpoint.hub.attendance.cursor()))


def the_last_event_id_doesn_t_beat_the_query(patch: Patch) -> None:
    attach = Attendance.attach

    def by_query(self: Attendance, connection: Connection, topics: Any, cursor: str | None) -> None:
        attach(self, connection, topics, "nonsense" if connection.transport_name == "sse" and cursor else cursor)

    patch.setattr(Attendance, "attach", by_query)


def _with_cursor(patch: Patch, cursor_of: Callable[[PollConnection], str]) -> None:
    body = PollConnection.body

    def other(self: PollConnection) -> bytes:
        return re.sub(rb'^{"cursor":"[^"]*"', b'{"cursor":"%b"' % cursor_of(self).encode(), body(self))

    patch.setattr(PollConnection, "body", other)


def a_poll_s_cursor_is_from_before_its_batch(patch: Patch) -> None:
    _with_cursor(patch, lambda poll: poll._polls.endpoint.hub.attendance.cursor(poll.since))


def a_poll_s_cursor_is_ahead_of_what_didn_t_fit(patch: Patch) -> None:
    _with_cursor(patch, lambda poll: poll._polls.endpoint.hub.attendance.cursor())


def a_poll_drops_what_came_in_the_same_step(patch: Patch) -> None:
    write = PollConnection.write
    patch.setattr(PollConnection, "write", lambda self, data: None if self._got else write(self, data))


def a_poll_swallows_its_gap(patch: Patch) -> None:
    poll_body = polling.poll_body
    patch.setattr(polling, "poll_body", lambda cursor, notifications, gap: poll_body(cursor, notifications, None))


def a_poll_tells_of_one_channel_s_gap_only(patch: Patch) -> None:
    def first(self: PollConnection, fields: dict[str, Any]) -> None:
        assert self.user is not None
        own = self.user.channel if fields["reason"] == "evicted" else None
        self._gap = self._gap or {"channel": fields["channel"] or own, "reason": fields["reason"]}

    patch.setattr(PollConnection, "put_gap", first)


def whoever_moves_gets_the_last_one_again(patch: Patch) -> None:
    read, since_of = Replay.read, Connection.since_of

    def inclusive(self: Replay, connection: Connection, *args: Any) -> bool:
        self.position -= self.count == 0 and connection.transport_name != "websocket"
        return read(self, connection, *args)

    patch.setattr(Replay, "read", inclusive)
    patch.setattr(Connection, "since_of", lambda self, name: since_of(self, name) - 1)


def a_stream_that_can_t_go_on_is_sent_on_in_silence(patch: Patch) -> None:
    put_gap = Connection.put_gap

    def silent(self: Connection, fields: dict[str, Any]) -> None:
        if self.transport_name != "sse":
            put_gap(self, fields)

    patch.setattr(Connection, "put_gap", silent)


def an_ack_by_http_is_one_of_everybody(patch: Patch) -> None:
    from hubd.hub import Hub

    ack = Hub.ack

    def to_all(self: Hub, user: str, ids: list[str], by: Any) -> list[Any]:
        return [
            waiting for other in ("ann", "bob", "cem") for waiting in ack(self, other, ids, by if user == other else [])
        ]

    patch.setattr(Hub, "ack", to_all)


PLANTED: list[Callable[[Patch], None]] = [
    an_event_s_id_is_one_too_low,
    an_event_s_id_is_one_too_high,
    a_stream_begins_at_the_present_cursor,
    a_stream_begins_as_if_its_cursor_were_good,
    a_heartbeat_is_ahead_of_what_is_undelivered,
    the_last_event_id_doesn_t_beat_the_query,
    a_poll_s_cursor_is_from_before_its_batch,
    a_poll_s_cursor_is_ahead_of_what_didn_t_fit,
    a_poll_drops_what_came_in_the_same_step,
    a_poll_swallows_its_gap,
    a_poll_tells_of_one_channel_s_gap_only,
    whoever_moves_gets_the_last_one_again,
    a_stream_that_can_t_go_on_is_sent_on_in_silence,
    an_ack_by_http_is_one_of_everybody,
]


@pytest.fixture
def planted(request: pytest.FixtureRequest) -> Iterator[str]:
    with pytest.MonkeyPatch.context() as patch:
        request.param(patch)
        yield request.param.__name__


@pytest.mark.timeout(120)
@pytest.mark.parametrize("planted", PLANTED, ids=lambda plant: plant.__name__, indirect=True)
def test_a_planted_bug_is_found(planted: str, stage: Stage) -> None:
    with pytest.raises(Broken) as found:
        stage.run(FIRST, ENOUGH)
    assert not stage.faults, "the bug isn't one that goes unnoticed: a fault was logged"
    print(f"{planted}, in history {stage.histories}: {str(found.value).splitlines()[0][:200]}")
