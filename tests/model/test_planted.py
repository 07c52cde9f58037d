"""Bugs planted one at a time: the model finds each of them."""

import math
from collections.abc import Callable, Iterable
from typing import Any

import pytest

import hubd.attendance
import hubd.core.replay
import hubd.pump
from hubd.attendance import Attendance
from hubd.core.codec import frame_of
from hubd.core.connection import Connection
from hubd.core.identity import Identity
from hubd.core.notification import Notification, Persistence
from hubd.core.registry import Registry, Topic
from hubd.core.replay import Replay, gap_fields
from hubd.core.ring import Rings
from hubd.core.subscriptions import MemorySubscriptions
from hubd.publishing import Publishing
from hubd.pump import Pump
from tests.model.histories import run_histories
from tests.model.machine import HubMachine
from tests.model.world import Broken

Patch = pytest.MonkeyPatch
ENOUGH = 1500
SEED = 7


def a_targeted_publish_overtakes_a_broadcast(patch: Patch) -> None:
    def fan_out_now(self: Pump, notification: Notification, channel: str, recipients: Iterable[Connection]) -> int:
        live = [connection for connection in recipients if connection.live and not connection.paused]
        for connection in live:
            connection.write(frame_of(notification, channel, connection.form))
        return len(live)

    patch.setattr(Pump, "fan_out_now", fan_out_now)


def the_cursor_is_ahead_of_the_replay(patch: Patch) -> None:
    patch.setattr(Attendance, "cursor_of", lambda self, connection: self.cursor())


def the_welcome_s_cursor_is_ahead_of_the_replay(patch: Patch) -> None:
    attach, put_control = Attendance.attach, Connection.put_control

    def told(self: Attendance, connection: Connection, *args: Any) -> None:
        def put(connection: Connection, fields: dict[str, Any]) -> None:
            put_control(connection, fields | ({"cursor": self.cursor()} if fields["hub"] == "welcome" else {}))

        with pytest.MonkeyPatch.context() as inner:
            inner.setattr(Connection, "put_control", put)
            attach(self, connection, *args)

    patch.setattr(Attendance, "attach", told)


def the_watermark_of_an_emptied_ring_is_dropped(patch: Patch) -> None:
    patch.setattr(Rings, "_remember", lambda self, name, sequence, now: None)


def the_common_floor_is_dropped(patch: Patch) -> None:
    patch.setattr(Rings, "floor", property(lambda self: 0, lambda self, value: None), raising=False)


def a_replay_leaves_the_first_one_out(patch: Patch) -> None:
    after = Rings.after
    patch.setattr(Rings, "after", lambda self, names, position: after(self, names, position + 1))


def a_replay_begins_with_what_the_cursor_names(patch: Patch) -> None:
    read = Replay.read

    def inclusive(self: Replay, connection: Connection, *args: Any) -> bool:
        if self.count == 0:
            self.position -= 1
        return read(self, connection, *args)

    patch.setattr(Replay, "read", inclusive)
    since_of = Connection.since_of
    patch.setattr(Connection, "since_of", lambda self, name: since_of(self, name) - 1)


def live_frames_are_queued_during_the_catch_up(patch: Patch) -> None:
    def fan_out(self: Pump, notification: Notification, channel: str, recipients: Iterable[Connection]) -> int:
        for connection in recipients:
            connection.outbox.append(frame_of(notification, channel, connection.form))
            self._waiting.append(connection)
        return len(list(recipients))

    patch.setattr(Pump, "fan_out", fan_out)


def whoever_unsubscribed_goes_on_getting_frames(patch: Patch) -> None:
    patch.setattr(Topic, "discard", lambda self, connection, user: False)


def whoever_unsubscribed_goes_on_getting_the_replay(patch: Patch) -> None:
    patch.setattr(Replay, "leave", lambda self, name: None)


def a_durable_grant_is_not_rechecked(patch: Patch) -> None:
    def recheck(self: MemorySubscriptions, identity: Identity, now: float) -> list[str]:
        return list(self.of(identity.user))

    patch.setattr(MemorySubscriptions, "recheck", recheck)


def a_durable_grant_never_lapses(patch: Patch) -> None:
    patch.setattr(MemorySubscriptions, "lapse", lambda self, now: None)


def a_fresh_token_takes_nothing_away(patch: Patch) -> None:
    patch.setattr(Attendance, "recheck", lambda self, connection: None)


def what_is_evicted_during_a_replay_is_not_told(patch: Patch) -> None:
    find_gaps = Replay.find_gaps
    asked: dict[Replay, None] = {}

    def once(self: Replay, connection: Connection, rings: Rings) -> list[str | None]:
        if self in asked:
            return []
        asked[self] = None
        return find_gaps(self, connection, rings)

    patch.setattr(Replay, "find_gaps", once)


def a_plain_connection_is_told_of_one_gap_in_its_life(patch: Patch) -> None:
    told: dict[Connection, None] = {}

    def put_gaps(connection: Connection, channels: list[str | None], reason: str) -> None:
        if channels and connection.control:
            for channel in channels:
                connection.put_control(gap_fields(channel, reason))
        elif channels and connection not in told:
            told[connection] = None
            connection.put_control(gap_fields(channels[0] if len(channels) == 1 else None, reason))

    patch.setattr(hubd.attendance, "put_gaps", put_gaps)
    patch.setattr(hubd.core.replay, "put_gaps", put_gaps)


def what_was_retracted_is_replayed(patch: Patch) -> None:
    patch.setattr(Rings, "retract", lambda self, notification, now: None)


def what_has_expired_is_replayed(patch: Patch) -> None:
    read = Replay.read

    def forever(self: Replay, connection: Connection, rings: Rings, upto: int, now: float, budget: int) -> bool:
        return read(self, connection, rings, upto, -math.inf, budget)

    patch.setattr(Replay, "read", forever)


def what_is_ephemeral_is_kept(patch: Patch) -> None:
    append = Rings.append

    def kept(self: Rings, notification: Notification, now: float) -> None:
        if notification.persistence is Persistence.EPHEMERAL:
            notification.live_only = False
        append(self, notification, now)

    patch.setattr(Rings, "append", kept)


def a_slow_consumer_is_never_cut(patch: Patch) -> None:
    patch.setattr(Pump, "_count", lambda self, connection: None)


def whoever_is_paused_is_cut(patch: Patch) -> None:
    patch.setattr(Pump, "_count", lambda self, connection: self._on_slow(connection))


def one_write_turns_the_order_round(patch: Patch) -> None:
    def take(outbox: list[bytes]) -> bytes:
        data = b"".join(reversed(outbox))
        outbox.clear()
        return data

    patch.setattr(hubd.pump, "_take", take)


def nothing_grows_too_old(patch: Patch) -> None:
    patch.setattr(Rings, "expire", lambda self, now: None)


def a_channel_may_take_all_the_room(patch: Patch) -> None:
    resize = Rings.resize

    def endless(self: Rings, per_channel: int, ttl_s: float, max_bytes: int) -> None:
        resize(self, per_channel * 2, ttl_s, max_bytes)

    patch.setattr(Rings, "resize", endless)


def somebody_is_left_out_of_a_fan_out(patch: Patch) -> None:
    members = Registry.members

    def fewer(self: Registry, channel: Any) -> Any:
        found = list(members(self, channel))
        return found[:-1] if len(found) == 4 else found

    patch.setattr(Registry, "members", fewer)


def the_answer_counts_connections_twice(patch: Patch) -> None:
    many = Publishing._fan_out_to_many

    def counted(self: Publishing, notification: Notification, channels: list[Any]) -> int:
        many(self, notification, channels)
        return sum(len(self._registry.members(channel)) for channel in channels)

    patch.setattr(Publishing, "_fan_out_to_many", counted)


def a_channel_further_back_is_named(patch: Patch) -> None:
    def last(notification: Notification, names: Iterable[str]) -> str | None:
        return max(
            (name for name in names if name in notification.channels), key=notification.channels.get, default=None
        )

    patch.setattr(hubd.core.replay, "channel_for", last)


def a_user_s_record_is_never_dropped(patch: Patch) -> None:
    patch.setattr(Registry, "forget", lambda self, user: None)


PLANTED: list[Callable[[Patch], None]] = [
    a_targeted_publish_overtakes_a_broadcast,
    the_cursor_is_ahead_of_the_replay,
    the_welcome_s_cursor_is_ahead_of_the_replay,
    the_watermark_of_an_emptied_ring_is_dropped,
    the_common_floor_is_dropped,
    a_replay_leaves_the_first_one_out,
    a_replay_begins_with_what_the_cursor_names,
    live_frames_are_queued_during_the_catch_up,
    whoever_unsubscribed_goes_on_getting_frames,
    whoever_unsubscribed_goes_on_getting_the_replay,
    a_durable_grant_is_not_rechecked,
    a_durable_grant_never_lapses,
    a_fresh_token_takes_nothing_away,
    what_is_evicted_during_a_replay_is_not_told,
    a_plain_connection_is_told_of_one_gap_in_its_life,
    what_was_retracted_is_replayed,
    what_has_expired_is_replayed,
    what_is_ephemeral_is_kept,
    a_slow_consumer_is_never_cut,
    whoever_is_paused_is_cut,
    one_write_turns_the_order_round,
    nothing_grows_too_old,
    a_channel_may_take_all_the_room,
    somebody_is_left_out_of_a_fan_out,
    the_answer_counts_connections_twice,
    a_channel_further_back_is_named,
    a_user_s_record_is_never_dropped,
]


@pytest.mark.parametrize("plant", PLANTED, ids=lambda plant: plant.__name__)
def test_a_planted_bug_is_found(plant: Callable[[Patch], None], monkeypatch: Patch) -> None:
    with monkeypatch.context() as patch:
        plant(patch)
        with pytest.raises(Broken) as found:
            run_histories(HubMachine, ENOUGH, seed_=SEED, shrink=False)
    print(f"{plant.__name__}: {str(found.value).splitlines()[0]}")
