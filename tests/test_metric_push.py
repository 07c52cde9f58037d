"""The metrics of pushes: what the dispatcher does shows in them, and nothing that names a person or a device."""

from hubd.hooks.push import Outcome
from hubd.metric_push import PUSH
from tests.push.pushing_world import ACCEPTED, DOWN, LATER, PushWorld
from tests.test_metrics import Samples, samples


def shown(world: PushWorld) -> Samples:
    found = world.loop.run_until_complete(samples(world.hub))
    names = {metric.name.removesuffix("_total") for metric in PUSH}
    return {place: value for place, value in found.items() if any(place[0].startswith(name) for name in names)}


def value(found: Samples, name: str, **labels: str) -> float:
    (figure,) = [figure for (one, its), figure in found.items() if one == name and dict(its) == labels]
    return figure


def test_before_anything_is_pushed_there_are_zeros() -> None:
    world = PushWorld()
    found = shown(world)
    for outcome in Outcome:
        assert value(found, "hubd_push_attempts_total", platform="fake", outcome=outcome.value) == 0
    for name in ("waiting", "under_way", "paused_destinations"):
        assert value(found, f"hubd_push_{name}", platform="fake") == 0
    assert value(found, "hubd_devices", platform="fake") == 0
    for name in ("gone", "kept", "replaced"):
        assert value(found, f"hubd_devices_{name}_total", platform="fake") == 0
    world.close()


def test_what_happens_shows() -> None:
    world = PushWorld()
    users = [f"u{number}" for number in range(40)]
    for user in users:
        world.device(user, f"secret-{user}", host="bad" if user != "u7" else "good")
    world.service.takes_s = 1.0
    world.service.script = lambda sent: DOWN if sent.host == "bad" else ACCEPTED
    world.publish("n1", *users)
    world.run(0.5)
    found = shown(world)
    assert value(found, "hubd_devices", platform="fake") == 40
    assert value(found, "hubd_push_under_way", platform="fake") == 33
    assert value(found, "hubd_push_waiting", platform="fake") == 7
    world.run(0.6)
    found = shown(world)
    assert value(found, "hubd_push_paused_destinations", platform="fake") == 1
    assert value(found, "hubd_push_attempts_total", platform="fake", outcome="later") == 32
    assert value(found, "hubd_push_attempts_total", platform="fake", outcome="accepted") == 1
    assert value(found, "hubd_push_waiting", platform="fake") == 39
    assert value(found, "hubd_push_seconds_count", platform="fake") == 33
    assert value(found, "hubd_push_seconds_bucket", platform="fake", le="1.0") == 33
    assert not [place for place in found if "secret" in str(place) or "bad" in str(place)]
    world.service.script = lambda sent: ACCEPTED if sent.at > 1100 else LATER
    world.run(1000)
    found = shown(world)
    assert value(found, "hubd_push_waiting", platform="fake") == 0
    assert value(found, "hubd_push_under_way", platform="fake") == 0
    assert value(found, "hubd_push_paused_destinations", platform="fake") == 0
    assert value(found, "hubd_push_attempts_total", platform="fake", outcome="accepted") == 40
    world.close()


def test_platforms_that_are_gone_are_still_shown() -> None:
    world = PushWorld()
    world.device("ada", "a1")
    world.publish("n1", "ada")
    world.run(1)
    world.backends.clear()
    assert value(shown(world), "hubd_push_attempts_total", platform="fake", outcome="accepted") == 1
    world.close()
