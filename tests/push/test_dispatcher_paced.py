"""Days in which quotas bind: none is ever exceeded, and everything is sent in the end."""

import asyncio
from collections import defaultdict
from itertools import pairwise
from random import Random

import pytest

from hubd.core.record import Record
from hubd.hooks.push import Limits, Rate
from tests.push.conftest import MakeWorld
from tests.push.pushing_world import ACCEPTED, DOWN, LATER, PushWorld, Sent
from tests.push.test_pace import most_within

FCM = Limits(
    at_once=100,
    per_device=(Rate(240, 60), Rate(5000, 3600)),
    collapsible_burst=20,
    collapsible_every_s=180,
    collapse_keys=4,
)


def collapsible_within(times: list[float]) -> None:
    """As the service sees it: a bucket of twenty, into which one comes back every three minutes."""
    level, last = 20.0, times[0] if times else 0.0
    for at in times:
        level = min(20.0, level + (at - last) / 180)
        last = at
        level -= 1
        assert level > -1e-6, f"one collapsible push too many at {at}"


def check(world: PushWorld) -> None:
    by_token: dict[str, list[Sent]] = defaultdict(list)
    for sent in world.service.sent:
        by_token[sent.token].append(sent)
    for sents in by_token.values():
        times = [sent.at for sent in sents]
        assert most_within(times, 60) <= 240
        assert most_within(times, 3600) <= 5000
        keyed = [sent for sent in sents if sent.push.collapse_key is not None]
        collapsible_within([sent.at for sent in keyed])
        ends: dict[str, float] = {}
        for sent in keyed:
            ends = {key: end for key, end in ends.items() if end > sent.at}
            key = sent.push.collapse_key
            ends[str(key)] = max(ends.get(str(key), 0.0), sent.at + sent.push.ttl_s)
            assert len(ends) <= 4


def statuses(records: list[Record]) -> dict[str, int]:
    found: dict[str, int] = defaultdict(int)
    for record in records:
        for milestone, count in record.milestones:
            found[milestone] += count
    return dict(found)


def flood(world: PushWorld, count: int, per_s: float, user: str, **more: object) -> list[Record]:
    """So many pushes for one user, so many a second."""

    async def publish() -> None:
        for number in range(count):
            body = {"id": f"{user}-{number}", "to": [f"user:{user}"], "notification": {"type": "order"}, **more}
            await world.hub.publish(world.hub.prepare({"priority": "important"} | body), "backend")
            await asyncio.sleep(1 / per_s)

    world.loop.run_until_complete(publish())
    return [world.record(f"{user}-{number}") for number in range(count)]


def test_a_flood_for_one_device_goes_at_its_pace_and_all_of_it_arrives(make_world: MakeWorld) -> None:
    world = make_world(limits=FCM)
    world.device("ada", "a1")
    world.device("bob", "b1")
    records = flood(world, 3000, 20, "ada")
    world.publish("to-bob", "bob")
    asked_at = world.loop.now
    world.run(1)
    assert world.milestone("to-bob", "bob") == "pushed", "others don't wait for it"
    world.publish("urgent", "ada")
    world.run(20)
    assert world.milestone("urgent", "ada") == "pushed", "what is critical doesn't wait behind it"
    assert world.loop.now - asked_at < 30
    world.run(2500)
    check(world)
    assert statuses(records) == {"pushed": 3000}
    order = [int(sent.id.split("-")[1]) for sent in world.service.sent if sent.id.startswith("ada-")]
    late = [place - number for place, number in enumerate(order)]
    assert max(late) <= 1, "first come, first served; the critical one apart"
    assert len(world.dispatcher) == 0


def test_the_hours_quota_binds(make_world: MakeWorld) -> None:
    world = make_world(limits=FCM)
    world.device("ada", "a1")
    records = flood(world, 6000, 3.0, "ada", ttl=86400)
    world.run(3 * 3600)
    check(world)
    assert most_within([sent.at for sent in world.service.sent], 3600) > 4300, "it is used well"
    assert statuses(records) == {"pushed": 6000}


@pytest.mark.long
def test_a_day_of_everything(make_world: MakeWorld) -> None:
    world = make_world({"delivery": {"explain_bytes": 1 << 30}}, limits=FCM)
    random = Random(7)
    for number in range(12):
        world.device(f"u{number % 9}", f"t{number}")
    trouble = {"until": 0.0}

    def script(sent: Sent) -> object:
        if sent.at < trouble["until"]:
            return DOWN
        return LATER if random.random() < 0.02 else ACCEPTED

    world.service.script = script
    records: list[Record] = []

    async def day() -> None:
        until = world.loop.now + 86_400
        count = 0
        while world.loop.now < until:
            rate = random.choice((0.02, 0.5, 2.0, 12.0))
            stop = min(until, world.loop.now + random.uniform(60, 1200))
            if random.random() < 0.1:
                trouble["until"] = world.loop.now + random.uniform(1, 300)
            while world.loop.now < stop and count < 60_000:
                count += 1
                key = random.choice((None, None, *"abcdefg"))
                user = "u0" if random.random() < 0.6 else f"u{random.randrange(9)}"
                body = {
                    "id": f"n{count}", "to": [f"user:{user}"], "notification": {"type": "order"}, "ttl": 2 * 86_400,
                    "priority": random.choice(("important", "important", "important", "critical")),
                    **({} if key is None else {"collapse_key": key}),
                }  # fmt: skip
                await world.hub.publish(world.hub.prepare(body), "backend")
                records.append(world.record(f"n{count}"))
                await asyncio.sleep(random.expovariate(rate))
            await asyncio.sleep(max(0.0, stop - world.loop.now))

    world.loop.run_until_complete(day())
    world.run(86_400)
    check(world)
    found = statuses(records)
    assert set(found) <= {"pushed", "dropped(replaced)"}, found
    assert found["pushed"] > 10_000
    assert len(world.dispatcher) == 0


def test_no_line_of_a_device_keeps_another_one_waiting(make_world: MakeWorld) -> None:
    """A flood of plain ones takes every turn that its pace allows; what is collapsible finds a gap all the same."""
    world = make_world(limits=Limits(per_device=(Rate(10, 10),), collapsible_burst=5, collapsible_every_s=5))
    world.device("ada", "a1")
    flood(world, 300, 10, "ada", ttl=86_400)
    waits = []
    for number in range(20):
        began = world.loop.now
        world.publish(f"key{number}", "ada", priority="important", collapse_key="k")
        world.run(10)
        (sent,) = [sent for sent in world.service.sent if sent.id == f"key{number}"]
        waits.append(sent.at - began)
    assert max(waits) < 4


def test_a_phone_that_is_passed_on_has_had_what_it_had(make_world: MakeWorld) -> None:
    world = make_world(limits=Limits(per_device=(Rate(1, 100),)))
    world.device("ada", "phone")
    world.publish("n1", "ada")
    world.run(1)
    world.device("bob", "phone")
    world.publish("n2", "bob")
    world.run(90)
    assert len(world.service.sent) == 1
    world.run(20)
    assert len(world.service.sent) == 2


def test_what_is_replaced_again_and_again_gets_through_all_the_same(make_world: MakeWorld) -> None:
    """Four rooms, each with a newer message every four minutes; the service takes one of them every three."""
    world = make_world(limits=FCM)
    world.device("ada", "a1")
    published: list[Record] = []

    async def chat() -> None:
        for number in range(360):
            body = {
                "id": f"n{number}", "to": ["user:ada"], "notification": {"type": "chat"}, "priority": "important",
                "collapse_key": "abcd"[number % 4], "ttl": 3600,
            }  # fmt: skip
            await world.hub.publish(world.hub.prepare(body), "backend")
            published.append(world.record(f"n{number}"))
            await asyncio.sleep(60)

    world.loop.run_until_complete(chat())
    world.run(1000)
    check(world)
    times = [sent.at for sent in world.service.sent]
    assert max(after - before for before, after in pairwise(times)) < 250, "one every three minutes, all the time"
    assert [dict(record.milestones) for record in published[-4:]] == [{"pushed": 1}] * 4
    assert len(world.dispatcher) == 0


def test_a_destinations_pace(make_world: MakeWorld) -> None:
    world = make_world(limits=Limits(per_destination=(Rate(100, 10),)))
    users = [f"u{number}" for number in range(300)]
    for user in users:
        world.device(user, f"t-{user}", host="slow" if user != "u7" else "other")
    record = world.publish(*("n1", *users))
    world.run(5)
    assert "t-u7" in world.service.tokens()
    world.run(40)
    assert dict(record.milestones) == {"pushed": 300}
    times = [sent.at for sent in world.service.sent if sent.host == "slow"]
    assert most_within(times, 10) <= 100
    assert times[-1] - times[0] < 36


def test_one_that_is_called_off_at_the_head_of_its_line_holds_up_nobody(make_world: MakeWorld) -> None:
    """Its pace would allow it, and it waits for room at the host when the ack comes: the next one takes its place."""
    world = make_world(limits=Limits(at_once=1, timeout_s=1000, per_device=(Rate(1, 100),)))
    world.device("ada", "a1")
    world.device("bob", "b1")
    for number in range(3):
        world.publish(f"n{number}", "ada")
    world.run(50)
    world.service.takes_s = 300
    world.publish("long", "bob")
    world.run(100)
    assert [sent.id for sent in world.service.sent] == ["n0", "long"]
    world.ack("ada", "n1")
    world.run(300)
    assert [sent.id for sent in world.service.sent] == ["n0", "long", "n2"]


def test_what_waits_for_its_pace_can_be_called_off(make_world: MakeWorld) -> None:
    world = make_world(limits=Limits(per_device=(Rate(1, 100),)))
    world.device("ada", "a1")
    for number in range(5):
        world.publish(f"n{number}", "ada")
    world.run(1)
    assert [sent.id for sent in world.service.sent] == ["n0"]
    for number in range(1, 4):
        world.ack("ada", f"n{number}")
    world.run(1000)
    assert [sent.id for sent in world.service.sent] == ["n0", "n4"]
    world.publish("n5", "ada")
    world.run(0.1)
    assert world.service.sent[-1].id == "n5", "nobody waits before it"
