"""From a device's turn to a call and its answer: what only shows in odd moments."""

import logging

import pytest

from hubd.core.record import Record
from hubd.hooks.push import Outcome, PushResult
from hubd.push.bringing import NOW_S
from tests.push.conftest import MakeWorld
from tests.push.pushing_world import ACCEPTED, LATER, REFUSED, PushWorld


def test_a_payload_that_cannot_be_made_is_given_up_and_others_go_on(
    world: PushWorld, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    payloads = world.dispatcher._bringing._payloads
    whole = payloads.push_for

    def broken(notification: object, device: object, number: int | None) -> object:
        if number == world.number("ada"):
            raise ValueError("broken")
        return whole(notification, device, number)  # type: ignore[arg-type]

    monkeypatch.setattr(payloads, "push_for", broken)
    world.device("ada", "a1")
    world.device("bob", "b1")
    record = world.publish("n1", "ada", "bob", priority="important")
    with caplog.at_level(logging.ERROR, "hubd"):
        world.run(1)
    assert world.milestone("n1", "ada") == "dropped(refused)"
    assert world.milestone("n1", "bob") == "pushed"
    assert "push_failed" in caplog.text and not record.pushing


def test_what_expired_while_it_waited_for_its_turn_is_not_sent(world: PushWorld) -> None:
    world.service.takes_s = 4
    for number in range(80):
        world.device(f"u{number}", f"t{number}")
    record = world.publish("n1", *(f"u{number}" for number in range(80)), ttl=6)
    world.run(60)
    assert len(world.service.sent) == 64
    assert dict(record.milestones) == {"pushed": 64, "expired": 16}
    assert (len(world.dispatcher), world.dispatcher.waiting()) == (0, {"fake": 0})


def test_the_other_devices_expire_too(world: PushWorld) -> None:
    """Nothing is open about the notification any more, so nobody but the dispatcher looks at its ttl."""
    world.device("ada", "a1")
    world.device("ada", "a2")
    world.service.script = lambda sent: ACCEPTED if sent.token == "a1" else LATER
    record = world.publish("n1", "ada", priority="important", ttl=30)
    world.run(5)
    assert not record.is_open
    world.run(60)
    assert world.service.sent[-1].at <= record.expires_at
    assert len(world.dispatcher) == 0


def test_now_or_never_waits_a_little_for_its_turn_and_not_long(world: PushWorld) -> None:
    world.device("ada", "a1")
    world.device("bob", "b1", host="other")
    asked = PushResult(Outcome.LATER, "429", retry_after_s=NOW_S + 5, for_all=True)
    world.service.script = lambda sent: asked if sent.id == "first" and sent.host == "h" else ACCEPTED
    world.publish("first", "ada", ttl=5)
    world.run(1)
    world.publish("n1", "ada", "bob", ttl=0)
    world.run(60)
    assert [(sent.id, sent.host) for sent in world.service.sent] == [("first", "h"), ("n1", "other")]
    assert world.milestone("n1", "bob") == "pushed"
    assert len(world.dispatcher) == 0


def test_the_answer_comes_after_the_user_has_gone_elsewhere(make_world: MakeWorld) -> None:
    for answer in (ACCEPTED, LATER, REFUSED, PushResult(Outcome.GONE, "410")):
        world = make_world()
        id = world.device("ada", "a1")
        world.service.takes_s = 5
        world.service.script = lambda sent, answer=answer: answer  # type: ignore[misc]
        world.publish("n1", "ada", priority="important")
        world.run(1)
        world.drop(id)
        world.run(30)
        assert len(world.service.sent) == 1
        expected = "pushed" if answer is ACCEPTED else "dropped(refused)" if answer is REFUSED else "dropped(no_route)"
        assert world.milestone("n1", "ada") == expected
        assert len(world.dispatcher) == 0


def test_retry_after_beyond_the_ttl_ends_with_it(world: PushWorld) -> None:
    world.device("ada", "a1")
    world.service.script = lambda sent: PushResult(Outcome.LATER, "429", retry_after_s=1e9)
    world.publish("n1", "ada", ttl=60)
    world.run(90)
    assert len(world.service.sent) == 1
    assert (world.milestone("n1", "ada"), len(world.dispatcher)) == ("expired", 0)


def test_a_second_device_that_may_come_in_a_year_keeps_nothing_for_so_long(world: PushWorld) -> None:
    world.device("ada", "a1")
    world.device("ada", "a2")
    later = PushResult(Outcome.LATER, "429", retry_after_s=3e7)
    world.service.script = lambda sent: ACCEPTED if sent.token == "a1" else later
    world.publish("n1", "ada", ttl=60)
    world.run(30)
    assert len(world.dispatcher) == 1
    world.run(60)
    assert (len(world.dispatcher), len(world.service.sent)) == (0, 2)


def test_the_table_of_devices_is_told_who_answered(world: PushWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    answered: list[int] = []
    monkeypatch.setattr(world.hub.devices, "answered", answered.append)
    world.device("ada", "a1")
    world.device("bob", "b1")
    world.service.script = lambda sent: ACCEPTED if sent.token == "a1" else REFUSED
    world.publish("n1", "ada", "bob")
    world.run(1)
    assert answered == list(world.hub.devices.numbers_of(world.number("ada")))


def test_nothing_is_begun_for_whom_a_release_is_on_its_way(world: PushWorld) -> None:
    """Who comes while his push waits gets it as a publication of its own: this one isn't for him any more."""
    world.device("ada", "a1")
    world.service.script = lambda sent: LATER
    record: Record = world.publish("n1", "ada")
    world.run(1)
    count = len(world.service.sent)
    world.hub.delivering.delivery.released(record, record.everybody, world.hub.delivering.moment())
    world.run(60)
    assert len(world.service.sent) == count
    assert len(world.dispatcher) == 0
