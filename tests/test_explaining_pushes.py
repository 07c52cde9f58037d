"""What explanations say of pushes: each call's answer, in words that a service chose and nobody else."""

from typing import Any

import pytest

from hubd.core.stored import Fact
from hubd.explaining import Explaining
from hubd.explaining_words import text_of
from hubd.hooks.push import Outcome, PushResult
from tests.push.pushing_world import ACCEPTED, GONE, LATER, REFUSED, PushWorld


def explained(world: PushWorld, id: str, user: str) -> dict[str, Any]:
    explaining = Explaining(world.hub)
    return world.loop.run_until_complete(explaining.of_user(id, user, lambda channel: True))


def told(found: dict[str, Any]) -> list[tuple[Any, ...]]:
    return [
        (step["step"], *(step[name] for name in ("platform", "outcome", "answer", "reason") if name in step))
        for step in found["steps"]
    ]


def test_each_answer_is_there_in_its_order() -> None:
    world = PushWorld()
    world.device("ada", "a1")
    world.device("bob", "b1")
    answers = [LATER, PushResult(Outcome.LATER, "429 too many"), ACCEPTED]
    world.service.script = lambda sent: REFUSED if sent.token == "b1" else answers.pop(0)
    world.publish("n1", "ada", "bob", priority="important")
    world.run(30)
    found = explained(world, "n1", "ada")
    assert told(found)[-5:] == [
        ("push_begun",),
        ("attempt", "fake", "later", "503"),
        ("attempt", "fake", "later", "429 too many"),
        ("attempt", "fake", "accepted", "201"),
        ("pushed", "fake 201"),
    ]
    times = [step["at"] for step in found["steps"]]
    assert times == sorted(times) and times[-1] > times[1]
    assert [step["text"] for step in found["steps"]][-4:] == [
        "Push service fake didn't take it for a device of ada, which is tried again while the ttl lasts: 503.",
        "Push service fake didn't take it for a device of ada, which is tried again while the ttl lasts: 429 too many.",
        "Push service fake took it for a device of ada: 201.",
        "A push service took it for a device of ada: fake 201.",
    ]
    assert told(explained(world, "n1", "bob"))[-2:] == [
        ("attempt", "fake", "refused", "413"),
        ("given_up", "refused"),
    ]
    world.close()


def test_a_device_that_is_gone_and_a_service_without_words() -> None:
    world = PushWorld()
    world.device("ada", "a1")
    world.device("ada", "a2")
    world.service.script = lambda sent: GONE if sent.token == "a1" else PushResult(Outcome.ACCEPTED)
    world.publish("n1", "ada")
    world.run(1)
    found = explained(world, "n1", "ada")
    assert told(found)[-3:] == [
        ("attempt", "fake", "gone", "410"),
        ("attempt", "fake", "accepted", ""),
        ("pushed", "fake"),
    ]
    texts = [step["text"] for step in found["steps"]]
    assert "Push service fake doesn't know a device of ada any more: 410." in texts
    assert "Push service fake took it for a device of ada." in texts
    world.close()


def test_after_a_restart_it_is_still_known_which_service_took_it() -> None:
    """The store has the fact with its words, and tells it to the record that is made anew."""
    world = PushWorld()
    record = world.publish("n1", "ada")
    moment = world.hub.delivering.moment()
    record.fold([Fact(record.key, "pushed", record.everybody, moment.ms, "fake 201")])
    assert told(explained(world, "n1", "ada"))[-1] == ("pushed", "fake 201")
    facts: list[Fact] = []
    world.hub.delivering.fact = lambda record, fact: facts.append(fact)  # type: ignore[method-assign]
    record.is_stored = True
    world.hub.delivering.accepted(record, record.everybody, "fake 202")
    assert [(fact.kind, fact.detail) for fact in facts] == [("pushed", "fake 202")]
    world.close()


@pytest.mark.parametrize("detail", ["", "fake", "fake later", "fake odd words of all kinds"])
def test_whatever_stands_in_an_attempt_can_be_told(detail: str) -> None:
    world = PushWorld()
    record = world.publish("n1", "ada")
    record.note_attempt(world.clock.now(), record.everybody, detail)
    (step,) = [step for step in explained(world, "n1", "ada")["steps"] if step["step"] == "attempt"]
    assert step["text"].startswith("Push service ") and step["text"].endswith(".")
    assert set(step) == {"at", "step", "platform", "outcome", "answer", "text"}
    world.close()


def test_a_push_of_which_no_words_are_known() -> None:
    assert text_of({"at": 0, "step": "pushed", "answer": None}, "ada") == "A push service took it for a device of ada."
