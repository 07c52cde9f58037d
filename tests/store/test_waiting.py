"""The queue before a store: its lanes, and what must not overtake what."""

import asyncio

from hypothesis import given
from hypothesis import strategies as st

from hubd.core.stored import Close, Fact, Keep, Lane, Note, Row, Schedule, Scheduled, Unschedule
from hubd.core.users import Snapshot, UserSet
from hubd.store.own import AnyWrite
from hubd.store.waiting import Limits, Queue, Waiting, begun_by, referred_by, size_of

NOBODY = UserSet()


def keep(key: str, instead_of: str | None = None, released: str | None = None) -> Keep:
    row = Row(key, key, b"{", (), "persistent", 1, 2, None, None, (), NOBODY, NOBODY, 0)
    return Keep(row, instead_of=instead_of, released=None if released is None else fact(released))


def fact(key: str) -> Fact:
    return Fact(key, "acked", NOBODY, 1)


def put(queue: Queue, write: AnyWrite, lane: Lane, since: float = 0.0) -> Waiting:
    waiting = Waiting(write, lane, None, size_of(write), since)
    queue.put(waiting)
    return waiting


def taken(queue: Queue) -> list[AnyWrite]:
    return [waiting.write for waiting in queue.take()]


def test_a_note_draws_the_row_that_waits_in_a_later_lane_before_it() -> None:
    queue = Queue(Limits(batch=4, set_aside=0))
    others = [keep(f"o{place}") for place in range(3)]
    for other in others[:2]:
        put(queue, other, Lane.BOOKKEEPING)
    put(queue, late := keep("k"), Lane.BOOKKEEPING)
    put(queue, others[2], Lane.BOOKKEEPING)
    put(queue, acked := Note(fact("k")), Lane.ACK)
    assert queue.per_lane == [0, 2, 3]
    assert taken(queue) == [late, acked, *others[:2]]
    assert taken(queue) == others[2:]
    assert (len(queue), queue.bytes, queue.per_lane) == (0, 0, [0, 0, 0])


def test_it_draws_what_that_refers_to_as_well() -> None:
    queue = Queue(Limits())
    put(queue, held := keep("held"), Lane.BOOKKEEPING)
    put(queue, call := Schedule(Scheduled("s", "x", 1, b"")), Lane.BOOKKEEPING)
    put(queue, release := keep("k", instead_of="s", released="held"), Lane.ACK)
    put(queue, closed := Close("k"), Lane.PUBLISH)
    assert taken(queue) == [call, held, release, closed]


def test_what_waits_sooner_anyway_stays_where_it_is() -> None:
    queue = Queue(Limits())
    put(queue, first := keep("k"), Lane.PUBLISH)
    put(queue, second := keep("other"), Lane.PUBLISH)
    put(queue, note := Note(fact("k")), Lane.BOOKKEEPING)
    put(queue, gone := Unschedule("nothing"), Lane.BOOKKEEPING)
    assert taken(queue) == [first, second, note, gone]


def test_a_batch_has_a_size() -> None:
    queue = Queue(Limits(batch_bytes=3000))
    writes = [Schedule(Scheduled(f"s{place}", "x", 1, bytes(1000))) for place in range(5)]
    for write in writes:
        put(queue, write, Lane.PUBLISH)
    assert taken(queue) == writes[:2]
    assert taken(queue) == writes[2:4]


def test_what_is_put_back_goes_first() -> None:
    queue = Queue(Limits(batch=2, set_aside=0))
    for name in "abc":
        put(queue, keep(name), Lane.BOOKKEEPING)
    batch = queue.take()
    put(queue, Note(fact("a")), Lane.ACK)
    queue.put_back(batch)
    put(queue, Note(fact("b")), Lane.PUBLISH)
    assert [begun_by(write) or referred_by(write)[0] for write in taken(queue)] == ["b", "b"]
    assert [begun_by(write) or referred_by(write)[0] for write in taken(queue)] == ["a", "a"]


def test_a_shared_audience_counts_with_its_own_size() -> None:
    everybody = Snapshot(UserSet(range(100_000)))
    row = keep("k").row._replace(everybody=everybody, may_push=everybody, topics=(("t", everybody),))
    assert size_of(Keep(row)) < 3 * everybody.size + 2000


_KEYS = st.sampled_from("abc")
_STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("keep"), _KEYS, st.sampled_from(Lane)),
        st.tuples(st.just("note"), _KEYS, st.sampled_from(Lane)),
        st.tuples(st.just("release"), _KEYS, st.sampled_from(Lane)),
        st.tuples(st.just("take"), _KEYS, st.just(Lane.ACK)),
        st.tuples(st.just("fail"), _KEYS, st.just(Lane.ACK)),
    ),
    max_size=40,
)


@given(_STEPS)
def test_nothing_overtakes_what_it_refers_to(steps: list[tuple[str, str, Lane]]) -> None:
    """Whatever is given in any lanes, taken, and put back: each comes once, and behind what it refers to."""
    queue = Queue(Limits(batch=3, set_aside=1))
    begun: dict[str, str] = {}  # by letter, the latest key
    given_, done, count = 0, [], 0
    for step, letter, lane in steps:
        if step == "take":
            done += taken(queue)
        elif step == "fail":
            queue.put_back(queue.take())
        else:
            count += 1
            if step == "note" and letter in begun:
                put(queue, Note(fact(begun[letter])), lane)
            elif step == "keep" or letter not in begun:
                begun[letter] = f"{letter}{count}"
                put(queue, keep(begun[letter]), lane)
            else:
                key = f"{letter}{count}"
                put(queue, keep(key, released=begun[letter]), lane)
                begun[letter] = key
            given_ += 1
    while batch := taken(queue):
        done += batch
    assert len(done) == given_
    there: dict[str, None] = {}
    for write in done:
        assert all(key in there for key in referred_by(write))
        if (key := begun_by(write)) is not None:
            there[key] = None
    assert (len(queue), queue.bytes, queue.per_lane) == (0, 0, [0, 0, 0])


async def test_only_those_who_wait_are_told_that_it_took_too_long() -> None:
    queue = Queue(Limits(taken_s=5.0))
    put(queue, keep("noted"), Lane.PUBLISH)
    loop = asyncio.get_running_loop()
    waited = [Waiting(keep(f"k{since}"), Lane.PUBLISH, loop.create_future(), 10, since) for since in (0.0, 1.0, 9.0)]
    for one in waited:
        queue.put(one)
    assert list(queue.expired(6.0)) == waited[:2]
    assert [begun_by(write) for write in taken(queue)] == ["noted", "k9.0"]
