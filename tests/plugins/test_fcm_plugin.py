"""The plugin in a hub: a phone rings, reloads count, and a missing library says what to do."""

import subprocess
import sys
from pathlib import Path

import pytest
from hubd_fcm import Fcm

from hubd.plugin import Outcome, PluginError
from hubd.testing import PluginWorld, hub_for
from hubd.testing.fcm_service import FcmService, error
from tests.plugins.fcm_world import fcm


async def until_pushed(hub: PluginWorld, service: FcmService, count: int) -> None:
    await hub.until(lambda: len(service.pushes) >= count, real_s=20)


@pytest.mark.parametrize("sender", ["http", "sdk"])
async def test_a_phone_rings(tmp_path: Path, sender: str) -> None:
    async with fcm(tmp_path, sender=sender) as world:
        hub, service = world.hub, world.service
        device = await hub.register("ada", "fcm", token="token-1")
        receipt = await hub.publish(
            "user:ada",
            {"type": "chat", "title": "Hello", "body": "Are you there?", "url": "/chat/7"},
            priority="critical",
            push={"fcm": {"badge": 3}, "apns": {}},
        )
        await until_pushed(hub, service, 1)
        pushed = service.pushes[0]
        assert pushed.token == "token-1"
        assert pushed.notification["id"] == receipt.id == pushed.data["id"]
        assert pushed.notification["title"] == "Hello"
        assert pushed.data["badge"] == "3"
        assert pushed.message["android"]["priority"] == "high"
        capability = pushed.notification["hub_capability"]
        headers = {"Authorization": f"Bearer {capability}"}
        answer = await hub.request("GET", f"/api/notifications/{receipt.id}", headers=headers)
        assert answer.status == 200 and answer.json()["title"] == "Hello"
        listed = (await hub.request("GET", "/api/devices", user="ada")).json()
        assert [one["id"] for one in listed["devices"]] == [device]


async def test_a_phone_that_is_gone_is_deleted_and_no_other(tmp_path: Path) -> None:
    async with fcm(tmp_path) as world:
        hub, service = world.hub, world.service
        for name in ("token-1", "token-2"):
            await hub.register("ada", "fcm", token=name)
        service.unregistered.add("token-1")
        await hub.publish("user:ada", {"type": "chat"}, priority="critical")
        await until_pushed(hub, service, 1)
        await hub.until(lambda: len(hub.hub.devices) == 1, real_s=20)
        assert [one.token for one in service.pushes] == ["token-2"]


async def test_a_service_that_asks_for_a_pause_gets_one(tmp_path: Path) -> None:
    async with fcm(tmp_path) as world:
        hub, service = world.hub, world.service
        await hub.register("ada", "fcm", token="token-1")
        service.script = lambda message: error("UNAVAILABLE", retry_after="30")
        began = hub.clock.monotonic()
        await hub.publish("user:ada", {"type": "chat"}, priority="critical", ttl=600)
        await hub.until(lambda: service.calls == 1, step_s=0.1, real_s=20)
        service.script = lambda message: None
        await until_pushed(hub, service, 1)
        assert hub.clock.monotonic() - began >= 30


async def test_what_is_wrong_in_push_fcm_is_said_to_the_publisher(tmp_path: Path) -> None:
    async with fcm(tmp_path) as world:
        body = {
            "to": "user:ada",
            "notification": {"type": "chat"},
            "push": {"fcm": {"badge": "3", "data": {"from": ""}}},
        }
        answer = await world.hub.request("POST", "/api/notifications", key=True, json=body)
        assert answer.status == 422
        assert {one["path"] for one in answer.json()["errors"]} == {"push.fcm.badge", "push.fcm.data"}


async def test_a_device_that_is_none_is_refused(tmp_path: Path) -> None:
    async with fcm(tmp_path) as world:
        device = {"platform": "fcm", "token": "a b"}
        answer = await world.hub.request("POST", "/api/devices", user="ada", json=device)
        assert answer.status == 422
        assert [one["path"] for one in answer.json()["errors"]] == ["token"]


async def test_a_reload_takes_over_the_account(tmp_path: Path) -> None:
    async with fcm(tmp_path) as world:
        assert (await world.send()).outcome is Outcome.ACCEPTED
        async with FcmService("other-project") as other:
            world.hub.reconfigure(other.options(tmp_path))  # the same file, with another account in it
            assert (await world.send()).outcome is Outcome.ACCEPTED
            assert [one.project for one in other.pushes] == ["other-project"]
            assert world.backend.check({"token": "x"}).app == "other-project"
        assert len(world.service.pushes) == 1


async def test_a_reload_that_changes_nothing_keeps_the_token(tmp_path: Path) -> None:
    async with fcm(tmp_path) as world:
        await world.send()
        world.hub.reconfigure(world.service.options(tmp_path))
        await world.send()
        assert world.service.tokens.given == 1


async def test_another_kind_of_message_takes_a_restart(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with fcm(tmp_path) as world:
        world.hub.reconfigure(world.service.options(tmp_path, message="notification"))
        assert "takes a restart" in str([record.__dict__ for record in caplog.records])
        await world.send()
        assert "notification" not in world.service.pushes[0].message
        assert not world.backend.limits.all_collapsible


async def test_notification_messages_are_paced_as_the_collapsible_ones_they_are(tmp_path: Path) -> None:
    async with fcm(tmp_path, message="notification") as world:
        assert world.backend.limits.all_collapsible
        await world.send()
        assert world.service.pushes[0].message["notification"]["title"] == "Hello"


async def test_a_file_that_others_can_read_is_told_of(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with FcmService() as service:
        options = service.options(tmp_path)
        Path(options["service_account_file"]).chmod(0o604)
        async with hub_for(Fcm, options):
            assert "chmod 600" in str([record.__dict__ for record in caplog.records])


async def test_without_firebase_admin_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "firebase_admin", None)
    async with FcmService() as service:
        with pytest.raises(PluginError, match=r"pip install 'firebase-admin>=7.7,<8'"):
            async with hub_for(Fcm, service.options(tmp_path)):
                pass


def test_nothing_heavy_is_loaded_before_the_start() -> None:
    code = "import sys, hubd_fcm; print(*{'firebase_admin', 'google.auth', 'requests', 'httpx'} & set(sys.modules))"
    paths = str(Path(__file__).parents[2] / "plugins")
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path.insert(0, {paths!r}); {code}"],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[2],
    )
    assert done.stdout.strip() == ""
