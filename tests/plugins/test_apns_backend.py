"""The backend: which devices register, where their pushes go, and what a refusal leads to."""

import logging
from typing import Any

import jwt
import pytest
from hubd_apns.results import MEANING

from hubd.core.errors import Problem
from hubd.core.notification import Priority
from hubd.plugin import Outcome, PushResult
from hubd.testing.apns_service import Answer, ApnsPush
from tests.plugins.apns_world import TOKEN, World, apns, push, token_of

ACCEPTED = PushResult(Outcome.ACCEPTED, "200")


def errors_of(world: World, fields: dict[str, Any]) -> dict[str, str]:
    with pytest.raises(Problem) as caught:
        world.plugin.backend.check(fields)
    assert caught.value.code == "invalid"
    return {error.path: error.message for error in caught.value.errors}


# --- Devices


async def test_a_device_is_its_token_and_belongs_to_an_app_in_an_environment() -> None:
    async with apns(app={"name": "main"}) as world:
        address = world.plugin.backend.check({"token": TOKEN.upper()})
        assert address == (TOKEN, {"token": TOKEN, "app": "main", "environment": "production"}, "main:production")
        other = world.plugin.backend.check({"token": TOKEN, "app": "main", "environment": "sandbox"})
        assert other.app == "main:sandbox"
        assert world.plugin.backend.check(address.fields) == address  # what is kept is taken again


async def test_an_app_without_a_name_has_its_topic() -> None:
    async with apns() as world:
        assert world.plugin.backend.check({"token": TOKEN}).app == "com.example.app:production"


@pytest.mark.parametrize("token", [None, 5, "", "a1" * 31, "g" * 64, "a" * 201, TOKEN + "\n", " " + TOKEN, "é" * 64])
async def test_what_is_no_token_is_refused(token: Any) -> None:
    async with apns() as world:
        assert errors_of(world, {"token": token}).keys() == {"token"}
        assert errors_of(world, {}).keys() == {"token"}


async def test_each_wrong_field_is_named() -> None:
    async with apns(app={"name": "main"}) as world:
        wrong = errors_of(world, {"token": "x", "app": "other", "environment": "test", "bundle": 1})
        assert wrong.keys() == {"token", "app", "environment", "bundle"}
        assert wrong["app"] == "there is no app 'other'; there are: main"
        for app in (5, [], {}, ""):
            assert errors_of(world, {"token": TOKEN, "app": app}).keys() == {"app"}


async def test_without_an_app_nobody_registers() -> None:
    async with apns({"apps": []}) as world:
        assert errors_of(world, {"token": TOKEN}) == {"app": "no app is configured"}


# --- Where a push goes


async def test_the_service_gets_the_headers_that_it_wants() -> None:
    async with apns() as world:
        assert await world.send(of=push("n1", tag="t1", priority=Priority.CRITICAL)) == ACCEPTED
        assert await world.send(of=push("n1", tag="t1", ttl_s=0, priority=Priority.INFORMATIONAL)) == ACCEPTED
        assert await world.send(token_of(2), of=push("n1", tag="t" * 65)) == ACCEPTED
        first, again, other = world.service.pushes
        assert (first.token, first.topic, first.push_type) == (TOKEN, "com.example.app", "alert")
        assert (first.priority, first.expiration, first.collapse_id) == (10, 1_800_003_600, "t1")
        assert (again.priority, again.expiration) == (5, 0)
        assert first.id == again.id != other.id
        assert len(other.collapse_id) == 32


async def test_apps_and_environments_have_connections_of_their_own_and_one_token() -> None:
    async with apns(topics=("com.example.app", "com.example.other")) as world:
        apps = [world.service.app(name="a"), world.service.app(name="b", topic="com.example.other")]
        world.hub.reconfigure({"apps": apps})
        backend = world.plugin.backend
        for fields in ({"app": "a"}, {"app": "b"}, {"app": "b", "environment": "sandbox"}):
            assert await backend.send(world.device(TOKEN, **fields), push()) == ACCEPTED
        assert [one.topic for one in world.service.pushes] == ["com.example.app", *["com.example.other"] * 2]
        assert world.service.connected == 3
        assert world.plugin.lines is not None and world.plugin.lines.signed == 1
        assert backend.destination(world.device(app="b", environment="sandbox")) == "b:sandbox"


async def test_a_device_of_an_app_that_was_taken_out_is_not_served() -> None:
    async with apns(app={"name": "old"}) as world:
        device = world.device()
        world.hub.reconfigure({"apps": [world.service.app(name="new")]})
        assert await world.plugin.backend.send(device, push()) == PushResult(Outcome.REFUSED, "unknown app")
        assert await world.send() == ACCEPTED


async def test_a_reload_that_changes_nothing_keeps_the_connection_and_the_token() -> None:
    async with apns() as world:
        await world.send()
        world.hub.reconfigure({"apps": [world.service.app()]})
        await world.send()
        assert (world.service.connected, len(world.service.provider_tokens.taken)) == (1, 1)
        world.hub.reconfigure({"apps": [world.service.app(name="renamed")]})
        await world.send()
        assert (world.service.connected, len(world.service.provider_tokens.taken)) == (2, 1)
        await world.hub.until(lambda: len(world.service.connections) == 1)


async def test_a_token_of_the_other_environment_is_gone() -> None:
    async with apns() as world:
        world.service.environment_of[TOKEN] = "sandbox"
        assert await world.send() == PushResult(Outcome.GONE, "400 BadDeviceToken")


async def test_an_unregistered_device_is_gone_since_then() -> None:
    async with apns() as world:
        world.service.unregistered[TOKEN] = 1_700_000_000.0
        assert await world.send() == PushResult(Outcome.GONE, "410 Unregistered", gone_since=1_700_000_000.0)


# --- Once more


async def test_what_is_too_large_after_all_is_sent_once_more_with_less() -> None:
    async with apns() as world:
        sizes: list[int] = []

        def script(got: ApnsPush) -> Answer | None:
            sizes.append(len(str(got.payload)))
            return Answer("PayloadTooLarge") if len(sizes) == 1 else None

        world.service.script = script
        assert await world.send(of=push(size=2000, body="b" * 3000)) == ACCEPTED
        assert len(sizes) == 2 and sizes[1] < 1300 < sizes[0]
        assert world.service.pushes[0].payload["notification"]["fetch"] is True


async def test_an_expired_token_is_replaced_once_and_not_within_20_minutes() -> None:
    async with apns() as world:
        await world.send()
        world.hub.clock.advance(1500)  # Apple's clock says that it is an hour old
        expired = [world.plugin.lines.pools[0].tokens.get_header()] if world.plugin.lines else []
        checked = world.service.provider_tokens.wrong

        def wrong(authorization: str | None) -> str:
            return "ExpiredProviderToken" if authorization in expired else checked(authorization)

        world.service.provider_tokens.wrong = wrong  # type: ignore[method-assign]
        assert await world.send() == ACCEPTED
        (line,) = world.pools
        assert line.tokens.signed == 2
        claims = jwt.decode(line.tokens.get_header()[7:], options={"verify_signature": False, "verify_iat": False})
        assert claims["iat"] == int(world.hub.clock.now())
        expired.append(line.tokens.get_header())
        assert await world.send() == PushResult(Outcome.LATER, "403 ExpiredProviderToken", for_all=True)
        assert line.tokens.signed == 2
        assert len(world.service.refused) == 2


@pytest.mark.parametrize("reason", sorted(reason for reason in MEANING if reason.startswith("403")))
async def test_the_log_hears_once_a_minute_that_a_key_is_refused(reason: str, caplog: pytest.LogCaptureFixture) -> None:
    async with apns() as world:
        world.service.script = lambda got: Answer(reason.partition(" ")[2])

        def told() -> int:
            said = [record for record in caplog.records if record.levelno == logging.ERROR]
            assert not any(TOKEN in str(record.__dict__) for record in caplog.records)
            return len(said)

        for number in range(5):
            assert (await world.send(token_of(number))).reason == reason
        assert told() == 1
        world.hub.clock.advance(61)
        await world.send()
        assert told() == 2


# --- Through the hub


async def test_a_device_that_apple_doesn_t_know_is_deleted() -> None:
    async with apns() as world:
        await world.hub.register("ada", "apns", token=TOKEN)
        world.service.unregistered[TOKEN] = world.hub.clock.now() + 5
        world.hub.clock.advance(10)
        await world.hub.publish("user:ada", {"type": "alarm"}, priority="critical")
        await world.hub.until(lambda: world.service.refused and not world.hub.hub.devices.listed("ada"))


async def test_overrides_reach_the_phone_and_wrong_ones_the_publisher() -> None:
    async with apns() as world:
        await world.hub.register("ada", "apns", token=TOKEN)
        overrides = {"title": "Just for you", "badge": 3, "sound": "bell.caf"}
        await world.hub.publish("user:ada", {"type": "alarm"}, priority="critical", push={"apns": overrides})
        await world.hub.until(lambda: world.service.pushes)
        aps = world.service.pushes[0].payload["aps"]
        assert (aps["alert"]["title"], aps["badge"], aps["sound"]) == ("Just for you", 3, "bell.caf")
        with pytest.raises(Problem) as caught:
            await world.hub.publish("user:ada", {"type": "alarm"}, push={"apns": {"bagde": 3, "badge": -1}})
        assert {error.path for error in caught.value.errors} == {"push.apns.bagde", "push.apns.badge"}
