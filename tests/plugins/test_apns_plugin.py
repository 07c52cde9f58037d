"""The plugin in a hub: a notification becomes a push at the service, and back."""

import asyncio
import subprocess
import sys
from random import Random

import pytest

from hubd.testing.apns_service import Answer, ApnsPush, Mishap
from tests.plugins.apns_world import TOKEN, WAIT_S, apns, token_of


async def test_who_is_away_gets_a_push() -> None:
    async with apns() as world:
        await world.hub.register("ada", "apns", token=TOKEN.upper())
        await world.hub.publish("user:ada", {"type": "alarm", "title": "Fire", "body": "Out!"}, priority="critical")
        await world.hub.until(lambda: world.service.pushes)
        got = world.service.pushes[0]
        assert (got.token, got.topic, got.priority, got.push_type) == (TOKEN, "com.example.app", 10, "alert")
        assert got.payload["aps"]["alert"] == {"title": "Fire", "body": "Out!"}
        assert got.payload["notification"]["type"] == "alarm"
        assert got.payload["notification"]["hub_capability"].startswith("cap_")


def test_aioapns_is_loaded_when_the_hub_starts_and_not_before() -> None:
    code = "import hubd_apns, sys; print(sorted({'aioapns', 'h2', 'OpenSSL'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd="plugins", timeout=60)
    assert done.stdout.strip() == "[]", done


async def test_what_is_too_large_is_fetched_by_its_capability() -> None:
    async with apns() as world:
        await world.hub.register("ada", "apns", token=TOKEN)
        await world.hub.publish(
            "user:ada", {"type": "report", "title": "t" * 900, "text": "x" * 6000}, priority="critical"
        )
        await world.hub.until(lambda: world.service.pushes)
        got = world.service.pushes[0].payload["notification"]
        assert got["fetch"] is True and "text" not in got
        bearer = {"Authorization": f"Bearer {got['hub_capability']}"}
        whole = await world.hub.request("GET", f"/api/notifications/{got['id']}", headers=bearer)
        assert whole.status == 200 and "x" * 6000 in whole.body.decode()


async def test_a_hundred_users_through_mishaps_each_get_theirs() -> None:
    random = Random(3)
    async with apns({"timeout_s": 1.0}) as world:

        def script(push: ApnsPush) -> Answer | Mishap | None:
            faults: tuple[Answer | Mishap, ...] = (
                Mishap.RESET,
                Mishap.SILENCE,
                Mishap.GOAWAY,
                Answer("ServiceUnavailable", body=b""),
            )
            return random.choice(faults) if random.random() < 0.1 else None

        world.service.script = script
        users = [f"user{number}" for number in range(100)]
        for number, user in enumerate(users):
            await world.hub.register(user, "apns", token=token_of(number))
        to = [f"user:{user}" for user in users]
        await world.hub.publish(to, {"type": "alarm"}, priority="critical", settle=False)

        def all_there() -> bool:
            return len({push.token for push in world.service.pushes}) == len(users)

        await world.hub.until(all_there, step_s=0.05, real_s=WAIT_S)
        assert len({push.collapse_id for push in world.service.pushes}) == 1
        assert len({(push.token, push.id) for push in world.service.pushes}) == len(users)


async def test_a_stop_with_pushes_under_way_ends() -> None:
    async with asyncio.timeout(WAIT_S):
        async with apns({"timeout_s": 0.5}) as world:
            world.service.script = lambda push: Mishap.SILENCE
            await world.hub.register("ada", "apns", token=TOKEN)
            await world.hub.publish("user:ada", {"type": "alarm"}, priority="critical", settle=False)
            await world.hub.until(lambda: world.service.open_streams, step_s=0.01)
        assert world.service.connections == {}


@pytest.mark.parametrize(("mode", "warnings"), [(0o600, 0), (0o640, 0), (0o644, 1)])
async def test_a_key_that_everybody_can_read_is_warned_of(
    mode: int, warnings: int, caplog: pytest.LogCaptureFixture
) -> None:
    async with apns() as world:
        caplog.clear()
        world.service.key_file.chmod(mode)
        world.hub.reconfigure({"apps": [world.service.app(), world.service.app(name="other")]})
        assert [record.levelname for record in caplog.records] == ["WARNING"] * warnings
