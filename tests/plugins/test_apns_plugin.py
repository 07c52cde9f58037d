"""The plugin in a hub: a notification becomes a push at the service, and back."""

import subprocess
import sys

from tests.plugins.apns_world import TOKEN, apns


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
