"""What the byte budget counts besides the notifications, and how much is let go of in one step."""

from hubd.core import ring
from hubd.core.notification import Notification
from hubd.core.ring import Rings
from hubd.core.users import Snapshot, UserSet
from tests.core.made import published


def sent_to(users: Snapshot, sequence: int) -> Notification:
    made = published("t", sequence=sequence)
    made.audience = (("t", users),)
    return made


def test_an_audience_counts_once_for_all_that_share_it_and_until_the_last_is_gone() -> None:
    rings = Rings(per_channel=2, ttl_s=300.0, max_bytes=10**9)
    crowd = Snapshot(UserSet(range(0, 200_000, 3)))
    assert crowd.size > 20_000
    rings.append(sent_to(crowd, 1), 0.0)
    one = rings.bytes
    rings.append(sent_to(crowd, 2), 0.0)
    assert rings.bytes - one < 10_000
    rings.append(sent_to(crowd, 3), 0.0)  # evicts the first, which brought the set in
    assert crowd.references == 2
    assert rings.bytes > crowd.size
    rings.expire(301.0)
    assert (crowd.references, rings.bytes) == (0, 0)


def test_large_audiences_push_old_notifications_out() -> None:
    crowds = [Snapshot(UserSet(range(start, 200_000, 3))) for start in range(10)]
    rings = Rings(per_channel=100, ttl_s=300.0, max_bytes=3 * crowds[0].size)
    for sequence, crowd in enumerate(crowds, 1):
        rings.append(sent_to(crowd, sequence), 0.0)
    assert 1 <= rings.depth("t") <= 3


def test_users_noted_later_count_too_and_are_given_back() -> None:
    rings = Rings(per_channel=5, ttl_s=300.0, max_bytes=10**9)
    made = published("t")
    rings.append(made, 0.0)
    before = rings.bytes
    for number in range(100):
        assert made.record_ack(number)
        rings.note_user(made)
    assert rings.bytes == before + 100 * ring.USER_BYTES
    rings.expire(301.0)
    assert rings.bytes == 0


def test_only_so_many_expire_in_one_step() -> None:
    rings = Rings(per_channel=10**6, ttl_s=300.0, max_bytes=10**9)
    for sequence in range(1, ring.EXPIRE + 101):
        rings.append(published("t", sequence=sequence), 0.0)
    rings.expire(301.0)
    assert rings.depth("t") == 100
    rings.expire(301.0)
    assert rings.depth("t") == 0


def test_a_replay_counts_only_those_who_were_not_in_the_audience() -> None:
    made = sent_to(Snapshot(UserSet([1])), 1)
    assert made.record_replay("t", 1) is False
    assert made.record_replay("t", 2) is True
    assert made.record_replay("t", 2) is False


def test_those_from_whom_it_is_kept_count_as_an_audience_does() -> None:
    rings = Rings(per_channel=2, ttl_s=300.0, max_bytes=10**9)
    muted, crowd = Snapshot(UserSet(range(0, 200_000, 3))), Snapshot(UserSet(range(0, 200_000, 7)))
    for sequence in (1, 2, 3):
        made = sent_to(crowd, sequence)
        made.excluded = muted
        before = rings.bytes
        rings.append(made, 0.0)
        assert sequence == 1 or rings.bytes - before < 10_000
    assert (muted.references, crowd.references) == (2, 2)
    assert rings.bytes > muted.size + crowd.size
    rings.retract(made, 0.0)
    assert muted.references == 1 and rings.bytes > muted.size + crowd.size
    rings.expire(301.0)
    assert (muted.references, crowd.references, rings.bytes) == (0, 0, 0)


def test_a_set_that_is_audience_and_excluded_at_once_counts_once() -> None:
    rings = Rings(per_channel=2, ttl_s=300.0, max_bytes=10**9)
    crowd = Snapshot(UserSet(range(0, 200_000, 3)))
    made = sent_to(crowd, 1)
    made.excluded = crowd
    rings.append(made, 0.0)
    assert crowd.size < rings.bytes < 1.5 * crowd.size
    rings.expire(301.0)
    assert (crowd.references, rings.bytes) == (0, 0)
