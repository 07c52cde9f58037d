"""FCM as the hub sees it: what a device is, and what there is before the start and after the end."""

from pathlib import Path
from typing import Any

import pytest
from hubd_fcm.backend import FcmBackend

from hubd.plugin import Device, Outcome, Problem, Rate
from hubd.testing.fcm_service import error
from tests.plugins.fcm_world import DEVICE, fcm, push

BACKEND = FcmBackend("proj", all_collapsible=False)
TOKEN = "dQw4w9WgXcQ:APA91bHun4MxP5egoKMwt2KZFBaFUH-1RYqx_"


@pytest.mark.parametrize("token", [TOKEN, "x", "x" * 4096])
def test_a_device(token: str) -> None:
    address = BACKEND.check({"token": token})
    assert (address.key, address.fields, address.app) == (token, {"token": token}, "proj")


@pytest.mark.parametrize(
    ("fields", "paths"),
    [
        ({}, ["token"]),
        ({"token": ""}, ["token"]),
        ({"token": 7}, ["token"]),
        ({"token": None}, ["token"]),
        ({"token": "a b"}, ["token"]),
        ({"token": "a\n"}, ["token"]),
        ({"token": "é"}, ["token"]),
        ({"token": "x" * 4097}, ["token"]),
        ({"token": TOKEN, "app": "other"}, ["app"]),
        ({"endpoint": "https://x"}, ["endpoint", "token"]),
    ],
)
def test_what_is_no_device(fields: dict[str, Any], paths: list[str]) -> None:
    with pytest.raises(Problem) as refused:
        BACKEND.check(fields)
    assert refused.value.code == "invalid"
    assert [one.path for one in refused.value.errors] == paths


def test_where_it_goes_and_how_fast() -> None:
    assert BACKEND.destination(DEVICE) == "fcm:proj"
    limits = BACKEND.limits
    assert limits.per_destination == (Rate(600_000, 60),)
    assert limits.per_device == (Rate(240, 60), Rate(5000, 3600))
    assert (limits.collapsible_burst, limits.collapsible_every_s, limits.collapse_keys) == (20, 180, 4)
    assert not limits.all_collapsible
    assert FcmBackend("proj", all_collapsible=True).limits.all_collapsible


def test_overrides_are_checked() -> None:
    assert BACKEND.check_overrides({"badge": 1}) == []
    assert [one.path for one in BACKEND.check_overrides({"badge": "1"})] == ["badge"]


async def test_before_the_start_and_after_the_end_it_is_for_later(tmp_path: Path) -> None:
    assert await BACKEND.send(DEVICE, push()) == (Outcome.LATER, "not started", None, True, None)
    async with fcm(tmp_path) as world:
        assert (await world.send()).outcome is Outcome.ACCEPTED
        backend = world.backend
    assert await backend.send(DEVICE, push()) == (Outcome.LATER, "not started", None, True, None)


async def test_what_firebase_admin_does_not_take_is_refused(tmp_path: Path) -> None:
    async with fcm(tmp_path) as world:
        result = await world.send(overrides={"color": "red"})  # checked long ago, by whatever version
        assert result == (Outcome.REFUSED, "message invalid", None, False, None)
        assert world.service.calls == 0


@pytest.mark.parametrize("status", [401, 403])
async def test_an_account_that_is_refused_is_told_of_once(
    tmp_path: Path, status: int, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")

    def told() -> list[str]:
        found = [str(record.__dict__) for record in caplog.records if "this account" in str(record.__dict__)]
        return ["ERROR" if "'ERROR'" in one else "INFO" for one in found]

    async with fcm(tmp_path) as world:
        await world.send()
        await world.hub.advance(30)
        word = {401: "UNAUTHENTICATED", 403: "PERMISSION_DENIED"}[status]
        world.service.script = lambda message: error(status=status, word=word)
        for _ in range(3):
            result = await world.send()
            assert result.outcome is Outcome.LATER and result.for_all  # nothing is lost meanwhile
            await world.hub.advance(30)
        assert told() == ["ERROR"]
        world.service.script = lambda message: None
        for _ in range(2):
            assert (await world.send()).outcome is Outcome.ACCEPTED
        assert told() == ["ERROR", "INFO"]


async def test_tokens_are_put_in_as_they_are(tmp_path: Path) -> None:
    async with fcm(tmp_path) as world:
        odd = 'x"},"topic":"all","y":{"\\'
        device = Device("dev_3", "eve", "fcm", BACKEND.check({"token": odd}).fields)
        assert (await world.backend.send(device, push())).outcome is Outcome.ACCEPTED
        assert world.service.pushes[0].token == odd
