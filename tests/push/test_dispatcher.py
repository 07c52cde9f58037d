"""Who is pushed to, and what is told of it."""

from itertools import pairwise

from hubd.config import Config
from hubd.core.users import UserSet
from tests.push.conftest import MakeWorld
from tests.push.pushing_world import ACCEPTED, GONE, LATER, REFUSED, PushWorld, Sent


def test_every_device_of_a_user_gets_it_and_one_that_takes_it_is_enough(world: PushWorld) -> None:
    world.device("ada", "a1")
    world.device("ada", "a2")
    world.device("bob", "b1")
    world.publish("n1", "ada", "bob", "eve")
    world.run(1)
    assert world.service.tokens() == ["a1", "a2", "b1"]
    assert [world.milestone("n1", user) for user in ("ada", "bob", "eve")] == ["pushed", "pushed", "pending"]
    assert world.number("eve") in world.record("n1").no_route
    assert world.attempts("n1") == ["fake accepted 201"]
    assert [step.detail for step in world.record("n1").steps if step.what == "pushed"] == ["fake 201"]
    assert len(world.dispatcher) == 0
    counts = world.hub.counts.push
    assert (counts.attempts["fake", "accepted"], counts.under_way["fake"]) == (3, 0)
    assert (counts.waiting(), sum(counts.seconds["fake"].counts)) == ({"fake": 0}, 3)


def test_a_device_that_fails_is_tried_again_until_it_is_taken(world: PushWorld) -> None:
    world.device("ada", "a1")
    world.service.script = lambda sent: ACCEPTED if len(world.service.sent) == 5 else LATER
    world.publish("n1", "ada")
    world.run(120)
    times = [sent.at - world.service.sent[0].at for sent in world.service.sent]
    assert len(times) == 5
    for attempt, (before, after) in enumerate(pairwise(times)):
        assert after - before <= (2 * 2**attempt) * 9 / 8 + 0.2
    assert world.milestone("n1", "ada") == "pushed"
    assert world.attempts("n1") == ["fake later 503"] * 4 + ["fake accepted 201"]


def test_pauses_are_as_the_config_says_also_after_a_reload(make_world: MakeWorld) -> None:
    world = make_world({"push": {"retry_first_s": 0.5, "retry_longest_s": 1}})
    world.device("ada", "a1")
    world.service.script = lambda sent: LATER
    world.publish("n1", "ada", ttl=86_400)
    world.run(100)
    quick = len(world.service.sent)
    assert quick > 100
    world.hub.apply(Config.model_validate({"push": {"retry_first_s": 1000, "retry_longest_s": 1000}}))
    world.run(2000)
    assert quick < len(world.service.sent) < quick + 20


def test_retries_end_with_the_ttl(world: PushWorld) -> None:
    world.device("ada", "a1")
    world.service.script = lambda sent: LATER
    record = world.publish("n1", "ada", ttl=60)
    world.run(120)
    assert world.milestone("n1", "ada") == "expired"
    assert len(world.service.sent) >= 4
    assert world.service.sent[-1].at <= record.expires_at
    assert (len(world.dispatcher), world.dispatcher.waiting()) == (0, {"fake": 0})


def test_an_ack_ends_the_retries_of_all_devices(world: PushWorld) -> None:
    world.device("ada", "a1")
    world.device("ada", "a2")
    world.service.script = lambda sent: ACCEPTED if sent.token == "a1" else LATER
    world.publish("n1", "ada")
    world.run(5)
    count = len(world.service.sent)
    assert count > 2 and world.milestone("n1", "ada") == "pushed" and len(world.dispatcher) == 1
    world.ack("ada", "n1")
    assert (len(world.dispatcher), world.dispatcher.waiting()) == (0, {"fake": 0})
    world.run(600)
    assert len(world.service.sent) == count


def test_an_ack_while_it_is_under_way_is_too_late_for_it_and_the_answer_is_noted(world: PushWorld) -> None:
    world.device("ada", "a1")
    world.service.takes_s = 3
    world.publish("n1", "ada")
    world.run(1)
    world.ack("ada", "n1")
    world.run(5)
    assert world.attempts("n1") == ["fake accepted 201"]
    assert world.milestone("n1", "ada") == "acked"
    assert len(world.dispatcher) == 0


def test_a_retraction_and_a_newer_one_of_the_same_kind_end_it(world: PushWorld) -> None:
    world.device("ada", "a1")
    world.service.script = lambda sent: LATER
    world.publish("n1", "ada", priority="important", collapse_key="score")
    world.publish("n2", "bob", "ada", priority="important", collapse_key="other")
    world.run(3)
    world.publish("n3", "ada", priority="important", collapse_key="score")
    assert world.milestone("n1", "ada") == "dropped(replaced)"
    world.hub.delivering.retract(world.record("n2").notification)  # type: ignore[arg-type]
    began = world.loop.now
    world.run(300)
    assert {sent.id for sent in world.service.sent if sent.at > began} == {"n3"}


def test_a_newer_one_of_the_same_kind_spares_the_other_devices_the_older_one(world: PushWorld) -> None:
    world.device("ada", "a1")
    world.device("ada", "a2")
    world.service.script = lambda sent: LATER if sent.token == "a2" and sent.id == "n1" else ACCEPTED
    world.publish("n1", "ada", priority="important", collapse_key="score")
    world.run(3)
    assert world.milestone("n1", "ada") == "pushed" and len(world.dispatcher) == 1
    world.publish("n2", "ada", priority="important", collapse_key="score")
    began = world.loop.now
    world.run(300)
    assert [sent.id for sent in world.service.sent if sent.at >= began] == ["n2", "n2"]


def test_all_gone_is_no_route_and_all_refused_is_given_up(world: PushWorld) -> None:
    for user in ("ada", "bob", "eve"):
        world.device(user, f"{user}1")
        world.device(user, f"{user}2")
    answers = {"ada1": GONE, "ada2": GONE, "bob1": REFUSED, "bob2": GONE, "eve1": REFUSED, "eve2": LATER}
    world.service.script = lambda sent: answers[sent.token]
    world.publish("n1", "ada", "bob", "eve", priority="important")
    world.run(2)
    found = [world.milestone("n1", user) for user in ("ada", "bob", "eve")]
    assert found == ["dropped(no_route)", "dropped(refused)", "pending"]
    answers["eve2"] = REFUSED
    world.run(30)
    assert world.milestone("n1", "eve") == "dropped(refused)"
    assert world.hub.devices.listed("ada") == []
    assert len(world.hub.devices.listed("bob")) == 1


def test_now_or_never_is_tried_once(world: PushWorld) -> None:
    world.device("ada", "a1")
    world.device("bob", "b1")
    world.device("eve", "e1")
    world.service.script = lambda sent: LATER if sent.token == "b1" else ACCEPTED
    world.publish("n1", "ada", "bob", ttl=0)
    world.run(60)
    assert world.service.tokens() == ["a1", "b1"]
    assert world.milestone("n1", "ada") == "pushed"
    assert world.milestone("n1", "bob") in ("expired", "dropped(unreachable)")
    for number in range(32):
        world.device(f"u{number}", f"t{number}")
    world.publish("busy", *(f"u{number}" for number in range(32)))
    world.publish("n2", "eve", ttl=0)
    world.ack("eve", "n2")
    world.run(60)
    assert "e1" not in world.service.tokens()
    assert len(world.dispatcher) == 0


def test_a_device_that_is_somebody_elses_by_then_gets_nothing(world: PushWorld) -> None:
    """The phone is passed on while pushes wait for it: it must never show what was for its owner before."""
    world.device("ada", "a1")
    world.device("bob", "b1")
    world.service.script = lambda sent: LATER
    world.publish("n1", "ada", "bob")
    world.run(1)
    world.device("eve", "a1")
    world.service.script = lambda sent: ACCEPTED
    began = world.loop.now
    world.run(60)
    assert [(sent.token, sent.id) for sent in world.service.sent if sent.at >= began] == [("b1", "n1")]
    assert world.number("ada") in world.record("n1").no_route
    assert world.milestone("n1", "bob") == "pushed"


def test_ownership_moves_without_anybody_telling(world: PushWorld) -> None:
    world.hub.devices.on_changed = lambda number: None
    world.device("ada", "a1")
    world.service.script = lambda sent: LATER
    world.publish("n1", "ada")
    world.run(1)
    world.device("eve", "a1")
    began = world.loop.now
    world.run(120)
    assert not [sent for sent in world.service.sent if sent.at >= began]
    assert world.number("ada") in world.record("n1").no_route


def test_who_lost_his_device_so_is_told_while_others_are_still_tried(world: PushWorld) -> None:
    world.hub.devices.on_changed = lambda number: None
    world.device("ada", "a1")
    world.device("bob", "b1")
    world.service.script = lambda sent: LATER
    world.publish("n1", "ada", "bob")
    world.run(1)
    world.device("eve", "a1")
    world.run(100)
    assert world.number("ada") in world.record("n1").no_route
    assert world.number("bob") in world.record("n1").pushing


def test_a_device_that_comes_while_others_are_tried_in_vain_gets_it_too(world: PushWorld) -> None:
    world.device("ada", "a1")
    world.service.script = lambda sent: LATER if sent.token == "a1" else ACCEPTED
    world.publish("n1", "ada")
    world.run(2)
    world.device("ada", "a2")
    world.run(0.1)
    assert world.milestone("n1", "ada") == "pushed"


def test_a_device_that_is_dropped_leaves_nobody_waiting_for_it(world: PushWorld) -> None:
    id = world.device("ada", "a1")
    world.service.script = lambda sent: LATER
    world.publish("n1", "ada", priority="important")
    world.run(2)
    world.drop(id)
    world.run(0.1)
    assert world.milestone("n1", "ada") == "dropped(no_route)"
    count = len(world.service.sent)
    world.run(60)
    assert (len(world.dispatcher), len(world.service.sent)) == (0, count)


def test_a_platform_without_a_backend_is_no_route_until_there_is_one(world: PushWorld) -> None:
    world.device("ada", "a1", platform="other")
    world.publish("n1", "ada", priority="important")
    world.run(1)
    assert world.milestone("n1", "ada") == "dropped(no_route)"
    world.device("bob", "b1")
    world.device("bob", "b2", platform="other")
    world.publish("n2", "bob")
    world.run(1)
    assert world.milestone("n2", "bob") == "pushed"


def test_a_backend_that_is_turned_off_while_pushes_wait(world: PushWorld) -> None:
    world.device("ada", "a1")
    world.service.script = lambda sent: LATER
    world.publish("n1", "ada", priority="important")
    world.run(1)
    world.backends.clear()
    world.run(60)
    assert world.milestone("n1", "ada") == "dropped(no_route)"


def test_an_important_topic_of_many_is_brought_in_slices(make_world: MakeWorld) -> None:
    world = make_world()
    users = [f"u{number}" for number in range(3000)]
    for user in users:
        world.device(user, f"t-{user}")
    record = world.publish_to_topic("n1", "team:a", [*users, "nobody"], priority="important")
    world.run(30)
    assert sorted(world.service.tokens()) == sorted(f"t-{user}" for user in users)
    assert dict(record.milestones) == {"pushed": 3000, "dropped(no_route)": 1}
    assert world.service.most_under_way == {"h": 32}
    assert len([step for step in record.steps if step.what == "pushed"]) <= 300


def test_critical_ones_overtake_and_others_get_through_all_the_same(world: PushWorld) -> None:
    for number in range(400):
        world.device(f"u{number}", f"t{number}")
    users = [f"u{number}" for number in range(400)]
    world.service.takes_s = 1
    world.publish_to_topic("slow", "team:a", users, priority="important")
    world.run(0.5)
    world.publish_to_topic("urgent", "team:b", users)
    world.publish("single", "u7", priority="important")
    world.run(60)
    ids = [sent.id for sent in world.service.sent]
    assert len(ids) == 801
    middle = ids[32:632]
    assert middle.count("urgent") / len(middle) > 0.6
    assert middle.count("slow") > 100
    assert ids.index("single") < 200, "one for a single user doesn't wait for all of a topic"


def test_stop_waits_for_what_is_under_way_and_begins_nothing(world: PushWorld) -> None:
    for number in range(40):
        world.device(f"u{number}", f"t{number}")
    world.service.takes_s = 3
    record = world.publish("n1", *(f"u{number}" for number in range(40)))
    world.run(1)
    assert world.service.under_way == {"h": 32}
    world.loop.run_until_complete(world.dispatcher.stop(10))
    assert (len(world.service.sent), world.service.under_way) == (32, {"h": 0})
    assert dict(record.milestones) == {"pushed": 32, "pending": 8}
    assert len(record.pushing) == 8, "they are pushed after the start"


def test_stop_does_not_wait_for_ever(world: PushWorld) -> None:
    world.device("ada", "a1")
    world.service.takes_s = 12
    record = world.publish("n1", "ada")
    world.run(1)
    began = world.loop.now
    world.loop.run_until_complete(world.dispatcher.stop(5))
    assert world.loop.now - began < 6
    assert record.pushing and world.attempts("n1") == []
    assert world.hub.counts.push.under_way["fake"] == 0


def test_cancelling_what_nobody_knows_is_nothing(world: PushWorld) -> None:
    world.device("ada", "a1")
    record = world.publish("n1", "ada")
    world.run(1)
    world.dispatcher.cancel(record, UserSet((1, 2, 3)))
    assert len(world.service.sent) == 1


def test_a_whole_history_comes_out_the_same(make_world: MakeWorld) -> None:
    def history(seed: int) -> list[tuple[float, str, str]]:
        world = make_world(seed=seed)
        for number in range(50):
            world.device(f"u{number % 30}", f"t{number}", host=f"h{number % 3}")

        def script(sent: Sent) -> object:
            return (ACCEPTED, LATER, LATER, REFUSED)[world.loop.random.randrange(4)]

        world.service.script = script
        for number in range(20):
            world.publish(f"n{number}", *(f"u{(number * 7 + step) % 30}" for step in range(6)))
            world.run(1)
        world.run(100)
        return [(sent.at, sent.token, sent.id) for sent in world.service.sent]

    assert history(1) == history(1)
    assert history(1) != history(2)
