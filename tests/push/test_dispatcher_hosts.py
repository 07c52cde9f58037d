"""Hosts that fail, stall, or ask to wait: they are left alone for a while, and nobody else feels it."""

import asyncio
import logging
from itertools import pairwise

import pytest

from hubd.hooks.push import Limits, Outcome, PushResult
from hubd.push.bringing import LOOKS
from tests.push.conftest import MakeWorld
from tests.push.pushing_world import ACCEPTED, DOWN, GONE, LATER, PushWorld


def spread(world: PushWorld, users: int, *hosts: str) -> list[str]:
    """So many users with a device at each of these hosts in turn."""
    names = [f"u{number}" for number in range(users)]
    for number, name in enumerate(names):
        world.device(name, f"t{number}", host=hosts[number % len(hosts)])
    return names


def test_after_five_failures_a_host_is_left_alone_and_then_tried_with_one(world: PushWorld) -> None:
    users = spread(world, 100, "bad", "good")
    world.service.script = lambda sent: ACCEPTED if sent.host == "good" else DOWN
    record = world.publish("n1", *users)
    world.run(30)
    assert dict(record.milestones) == {"pushed": 50, "pending": 50}
    bad = [sent.at for sent in world.service.sent if sent.host == "bad"]
    first = [at for at in bad if at < bad[0] + 0.01]
    assert len(first) == 32, "those that were begun together"
    assert len(bad) - 32 < 8, "after that it is one by one, with doubling pauses"
    assert world.hub.counts.push.paused["fake"] == 1
    pauses = [after - before for before, after in pairwise(bad[31:])]
    assert pauses[-1] > 4 and all(pause > 0.4 for pause in pauses)
    world.service.script = lambda sent: ACCEPTED
    world.run(200)
    assert dict(record.milestones) == {"pushed": 100}
    assert world.hub.counts.push.paused["fake"] == 0


def test_no_pause_is_longer_than_a_minute(world: PushWorld) -> None:
    users = spread(world, 60, "bad")
    world.service.script = lambda sent: DOWN
    world.publish("n1", *users)
    world.run(3600)
    times = [sent.at for sent in world.service.sent][40:]
    pauses = [after - before for before, after in pairwise(times)]
    assert min(pauses) > 25 and max(pauses) < 61
    assert len(set(pauses)) == len(pauses), "by chance, so that hosts aren't asked in step"


@pytest.mark.parametrize("asked_s", [30.0, 7200.0])
def test_a_host_that_asks_everybody_to_wait_is_not_called_before(world: PushWorld, asked_s: float) -> None:
    users = spread(world, 200, "busy", "good")
    busy = PushResult(Outcome.LATER, "429", retry_after_s=asked_s, for_all=True)
    world.service.script = lambda sent: busy if sent.host == "busy" and len(world.service.sent) < 60 else ACCEPTED
    record = world.publish("n1", *users)
    world.run(asked_s - 1)
    assert len([sent for sent in world.service.sent if sent.host == "good"]) == 100
    count = len([sent for sent in world.service.sent if sent.host == "busy"])
    assert count <= 32
    assert len(world.service.sent) == 100 + count
    world.run(asked_s + 60)
    assert dict(record.milestones) == {"pushed": 200}


def test_an_answer_from_before_the_pause_does_not_end_it(world: PushWorld) -> None:
    users = spread(world, 40, "h")

    async def slow() -> PushResult:
        await asyncio.sleep(2)
        return ACCEPTED

    busy = PushResult(Outcome.LATER, "429", retry_after_s=60.0, for_all=True)
    world.service.script = lambda sent: busy if sent.token == "t0" else slow()
    world.publish("n1", *users)
    world.run(59)
    assert len(world.service.sent) == 32
    assert world.hub.counts.push.paused["fake"] == 1


def test_a_device_alone_is_asked_to_wait(world: PushWorld) -> None:
    world.device("ada", "a1")
    world.device("bob", "b1")
    wait = PushResult(Outcome.LATER, "429", retry_after_s=100.0)
    world.service.script = lambda sent: wait if sent.token == "a1" and len(world.service.sent) < 3 else ACCEPTED
    world.publish("n1", "ada", "bob")
    world.run(99)
    assert world.service.tokens() == ["a1", "b1"]
    world.run(40)
    assert world.service.tokens() == ["a1", "b1", "a1"]


def test_one_stalled_host_one_at_429_and_one_healthy(make_world: MakeWorld) -> None:
    def times(*hosts: str) -> list[float]:
        world = make_world(limits=Limits(at_once=8, timeout_s=15))
        world.service.takes_s = 0.1
        users = {host: [f"{host}-{number}" for number in range(100)] for host in hosts}
        for host, names in users.items():
            for name in names:
                world.device(name, name, host=host)

        async def stalled() -> PushResult:
            await asyncio.sleep(3600)
            return ACCEPTED

        busy = PushResult(Outcome.LATER, "429", retry_after_s=20, for_all=True)
        answers = {"stalled": stalled, "busy": lambda: busy, "healthy": lambda: ACCEPTED}
        world.service.script = lambda sent: answers[sent.host]()
        taken = []
        for number in range(40):
            for host in hosts:
                world.publish(f"{host}-{number}", *users[host])
            began = world.loop.now
            world.run(4)
            sent = [one for one in world.service.sent if one.id == f"healthy-{number}"]
            assert len(sent) == 100
            taken += [one.at - began for one in sent]
        assert all(most <= 8 for most in world.service.most_under_way.values())
        return sorted(taken)

    alone, among = times("healthy"), times("stalled", "busy", "healthy")
    assert among[int(len(among) * 0.99)] <= 1.1 * alone[int(len(alone) * 0.99)]


def test_what_takes_too_long_is_cancelled_and_counts_as_the_hosts(make_world: MakeWorld) -> None:
    world = make_world(limits=Limits(timeout_s=2, at_once=2))
    users = spread(world, 3, "h")
    cancelled = []

    async def never() -> PushResult:
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            cancelled.append(world.loop.now)
            raise
        return ACCEPTED

    world.service.script = lambda sent: never()
    world.publish("n1", *users)
    world.run(9)
    assert cancelled[:2] == [1002.0, 1002.0]
    assert set(world.attempts("n1")) == {"fake later timeout"}
    assert world.hub.counts.push.paused["fake"] == 1
    assert world.hub.counts.push.attempts["fake", "later"] == len(cancelled)


class Odd(BaseException):
    """Something that a plugin should never raise."""


@pytest.mark.parametrize(
    "answer",
    [RuntimeError("secret"), TimeoutError(), Odd(), SystemExit(1), KeyboardInterrupt(), asyncio.CancelledError(), None,
     "accepted", ("accepted", "201"), PushResult("accepted", "201")],  # type: ignore[arg-type]
    ids=repr,
)  # fmt: skip
def test_whatever_a_backend_does_is_tried_again(
    world: PushWorld, answer: object, caplog: pytest.LogCaptureFixture
) -> None:
    world.device("ada", "a1")
    world.service.script = lambda sent: answer if len(world.service.sent) == 1 else ACCEPTED
    with caplog.at_level(logging.ERROR, "hubd"):
        world.publish("n1", "ada")
        world.run(10)
    assert world.attempts("n1") == ["fake later failed", "fake accepted 201"]
    assert "push_failed" in caplog.text and "platform=fake" in caplog.text


def test_devices_by_which_a_backend_fails_do_not_keep_it_from_the_others(world: PushWorld) -> None:
    """Ten poisonous devices come first: the probe after each pause is another one, until a good one is found."""
    users = spread(world, 60, "h")
    bad = {f"t{number}" for number in range(10)}
    world.service.script = lambda sent: ValueError() if sent.token in bad else ACCEPTED
    record = world.publish("n1", *users)
    world.run(60)
    assert dict(record.milestones) == {"pushed": 50, "pending": 10}


def test_a_reason_is_cut_and_made_one_line(world: PushWorld) -> None:
    world.device("ada", "a1")
    world.service.script = lambda sent: PushResult(Outcome.ACCEPTED, "201\nCreated " + "x" * 500)
    world.publish("n1", "ada")
    world.run(1)
    (text,) = world.attempts("n1")
    assert text.startswith("fake accepted 201 Created xxx") and len(text) < 110


def test_a_backend_that_cannot_say_where_to(world: PushWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(world.service, "destination", lambda device: 1 // 0)
    monkeypatch.setattr(world.service, "send", accept)
    world.device("ada", "a1")
    world.publish("n1", "ada")
    world.run(1)
    assert world.milestone("n1", "ada") == "pushed"


async def accept(device: object, push: object) -> PushResult:
    return ACCEPTED


def test_gone_that_is_not_believed_is_tried_again(world: PushWorld) -> None:
    world.device("ada", "a1")
    since = world.clock.now() - 100
    gone = GONE._replace(gone_since=since)
    world.service.script = lambda sent: gone if len(world.service.sent) == 1 else ACCEPTED
    world.publish("n1", "ada")
    world.run(10)
    assert world.attempts("n1") == ["fake gone 410", "fake accepted 201"]
    assert len(world.hub.devices.listed("ada")) == 1


def test_very_many_hosts_share_one_place(world: PushWorld) -> None:
    users = [f"u{number}" for number in range(260)]
    for number, user in enumerate(users):
        world.device(user, f"t{number}", host=f"h{number}")
    world.service.script = lambda sent: LATER
    record = world.publish("n1", *users)
    world.run(0.04)
    assert len(world.service.sent) == 200 + 32, "the others are as one host"
    world.service.script = lambda sent: ACCEPTED
    world.run(60)
    assert dict(record.milestones) == {"pushed": 260}


def test_a_turn_does_not_do_everything(make_world: MakeWorld) -> None:
    """A thousand could go at once: they are begun in parts, so that the loop is others', too."""
    world = make_world(limits=Limits(at_once=5000))
    users = spread(world, 1000, "h", "i", "j")
    turns: dict[int, int] = {}
    begun = []
    ticks = 0

    def tick() -> None:
        nonlocal ticks
        ticks += 1
        turns[ticks] = len(world.service.sent) - sum(begun)
        begun.append(turns[ticks])
        if len(world.service.sent) < 1000:
            world.loop.call_soon(tick)

    world.publish("n1", *users)
    world.loop.call_soon(tick)
    world.run(1)
    assert max(turns.values()) <= LOOKS
    assert len(world.service.sent) == 1000


def test_hosts_take_turns_where_there_is_much_for_each(make_world: MakeWorld) -> None:
    world = make_world(limits=Limits(at_once=1))
    hosts = [f"h{number}" for number in range(20)]
    users = spread(world, 2000, *hosts)
    world.service.takes_s = 5
    world.publish("n1", *users)
    world.run(2)
    assert len(world.service.sent) == 20
    world.service.limits = Limits(at_once=5000)
    world.publish("n2", *users[:20])
    world.run(1)
    first = [sent.host for sent in world.service.sent[:1000]]
    assert {host: first.count(host) > 20 for host in hosts} == dict.fromkeys(hosts, True)


def test_one_user_with_many_stalled_devices_does_not_stop_the_others(world: PushWorld) -> None:
    """Twenty devices on a host that looks alive, and ten critical notifications to each; others are there, too."""

    async def stalled() -> PushResult:
        await asyncio.sleep(10)
        return LATER

    for number in range(20):
        world.device("mallory", f"bad{number}")
    users = spread(world, 60, "h")
    world.service.script = lambda sent: stalled() if sent.token.startswith("bad") else ACCEPTED
    for number in range(10):
        world.publish(f"bad{number}", "mallory")
    world.run(1)
    assert world.service.under_way == {"h": 4}
    record = world.publish("n1", *users)
    world.run(2)
    assert dict(record.milestones) == {"pushed": 60}
    world.run(2400)
    assert len({(sent.id, sent.token) for sent in world.service.sent if sent.token.startswith("bad")}) == 200


def test_one_users_failures_are_not_the_hosts(world: PushWorld) -> None:
    for number in range(14):
        world.device("mallory", f"bad{number}")
    users = spread(world, 60, "h")
    world.service.script = lambda sent: DOWN if sent.token.startswith("bad") else ACCEPTED
    for number in range(20):
        world.publish(f"bad{number}", "mallory")
        record = world.publish(f"n{number}", *users)
        world.run(2)
        assert dict(record.milestones) == {"pushed": 60}
    assert world.hub.counts.push.paused["fake"] == 0


def test_limits_that_change_count_from_then_on(world: PushWorld) -> None:
    users = spread(world, 100, "h")
    world.service.limits = Limits(at_once=4)
    world.publish("n1", *users)
    world.run(1)
    assert world.service.most_under_way == {"h": 4}


def test_a_host_wakes_nobody_while_it_is_paused(world: PushWorld) -> None:
    """A thousand jobs wait for it, and no turn of the loop is spent on them."""
    world.device("ada", "a1", host="bad")
    busy = PushResult(Outcome.LATER, "429", retry_after_s=600.0, for_all=True)
    world.service.script = lambda sent: busy
    for number in range(1000):
        world.publish(f"n{number}", "ada", ttl=3600)
    world.run(2)
    turns = 0
    turn = world.dispatcher._turn

    def counted() -> None:
        nonlocal turns
        turns += 1
        turn()

    world.dispatcher._turn = counted  # type: ignore[method-assign]
    world.run(500)
    assert turns < 10
    assert len(world.service.sent) < 40
