"""Both ways of calling FCM bring the same, and judge its answers alike."""

import asyncio
from pathlib import Path
from typing import Any

import firebase_admin
import pytest

from hubd.plugin import Outcome
from hubd.testing.fcm_service import FcmAnswer, Mishap, error, quota_exceeded
from tests.plugins.fcm_world import DEVICE, OTHER_DEVICE, fcm, push


async def test_it_calls_as_it_should(tmp_path: Path) -> None:
    async with fcm(tmp_path) as world:
        for device in (DEVICE, OTHER_DEVICE):
            assert (await world.backend.send(device, push())).outcome is Outcome.ACCEPTED
        assert [(one.token, one.project) for one in world.service.pushes] == [
            ("token-1", "hubd-stand-in"),
            ("token-2", "hubd-stand-in"),
        ]
        assert world.service.tokens.given == 1


async def test_both_senders_bring_the_same(tmp_path: Path) -> None:
    messages = []
    for sender in ("http", "sdk"):
        folder = tmp_path / sender
        folder.mkdir()
        async with fcm(folder, sender=sender) as world:
            assert await world.send(overrides={"badge": 2}) == (Outcome.ACCEPTED, "200", None, False, None)
            messages.append(world.service.pushes[0].message)
    assert messages[0] == messages[1]


async def test_an_access_token_that_is_no_good_is_replaced_and_it_is_tried_again(tmp_path: Path) -> None:
    async with fcm(tmp_path) as world:
        await world.send()
        await world.hub.advance(30)
        world.service.tokens.revoke()
        results = await asyncio.gather(*(world.send() for _ in range(20)))
        assert {result.outcome for result in results} == {Outcome.ACCEPTED}
        assert world.service.tokens.given == 2
        assert len(world.service.pushes) == 21


async def test_tokens_that_are_never_good_are_not_fetched_over_and_over(tmp_path: Path) -> None:
    async with fcm(tmp_path) as world:
        await world.send()
        await world.hub.advance(30)
        world.service.script = lambda message: error(status=401, word="UNAUTHENTICATED")
        results = await asyncio.gather(*(world.send() for _ in range(20)))
        assert {result.outcome for result in results} == {Outcome.LATER}
        assert all(result.for_all for result in results)
        assert (await world.send()).reason == "access token refused"
        assert world.service.tokens.given == 2


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (error("UNREGISTERED"), (Outcome.GONE, "404 UNREGISTERED", None, False, None)),
        (error("SENDER_ID_MISMATCH"), (Outcome.REFUSED, "403 SENDER_ID_MISMATCH", None, False, None)),
        (quota_exceeded("device_hour", 9.0, "p"), (Outcome.LATER, "429 QUOTA_EXCEEDED", 10.0, False, None)),
        (error(status=429, word="RESOURCE_EXHAUSTED"), (Outcome.LATER, "429 RESOURCE_EXHAUSTED", 60.0, True, None)),
        (FcmAnswer(410, b"<html>"), (Outcome.LATER, "410", None, True, None)),
        (Mishap.HANG_UP, (Outcome.LATER, "unreachable", None, True, None)),
    ],
)
async def test_the_sdk_s_answers_are_judged_alike(
    tmp_path: Path, answer: FcmAnswer | Mishap, expected: tuple[Any, ...]
) -> None:
    async with fcm(tmp_path, sender="sdk") as world:
        world.service.script = lambda message: answer
        assert await world.send() == expected


async def test_without_an_access_token_the_sdk_is_not_asked(tmp_path: Path) -> None:
    async with fcm(tmp_path, sender="sdk") as world:
        world.service.token_script = lambda: FcmAnswer(400, b'{"error": "invalid_grant"}')
        assert await world.send() == (Outcome.LATER, "account refused", None, True, None)
        assert world.service.calls == 0


async def test_the_sdk_s_app_ends_with_the_hub(tmp_path: Path) -> None:
    before = dict(firebase_admin._apps)
    async with fcm(tmp_path, sender="sdk") as world:
        await world.send()
        assert len(firebase_admin._apps) == len(before) + 1
    assert firebase_admin._apps == before
