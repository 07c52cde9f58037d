"""The access token: fetched in a thread, ahead of its end, once for all, and never in the loop."""

import asyncio
import logging
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hubd_fcm.credential import AHEAD_S, ANEW_S, LONGEST_PAUSE_S, Credential, NoToken

from hubd.plugin import Outcome
from hubd.testing import PluginWorld, hub_for
from hubd.testing.fcm_service import FcmAnswer, Mishap
from tests.plugins.fcm_world import fcm

WAIT_S = 20.0


class Endpoint:
    """Stands for the token endpoint: each token is named after the fetch that it came by."""

    def __init__(self) -> None:
        self.fetches = 0
        self.good_for_s = 3600.0
        self.failure: Exception | None = None
        self.threads: set[int] = set()
        self.held: threading.Event | None = None

    def fetch(self) -> tuple[str, float]:
        self.fetches += 1
        number = self.fetches
        self.threads.add(threading.get_ident())
        if self.held is not None:
            assert self.held.wait(WAIT_S)
        if self.failure is not None:
            raise self.failure
        return f"token {number}", self.good_for_s


class Idle:
    """A plugin that does nothing."""


class World(NamedTuple):
    hub: PluginWorld
    endpoint: Endpoint
    credential: Credential

    async def done(self) -> None:
        """Whatever is being fetched is there, or has failed."""
        if (fetching := self.credential._fetching) is not None:
            await asyncio.wait({fetching}, timeout=WAIT_S)


@asynccontextmanager
async def waiting() -> AsyncIterator[World]:
    async with hub_for(Idle) as hub:
        endpoint = Endpoint()
        yield World(hub, endpoint, Credential(endpoint, hub.handle))


async def test_one_for_all_who_wait() -> None:
    async with waiting() as world:
        assert await asyncio.gather(*(world.credential.get() for _ in range(100))) == ["token 1"] * 100
        assert world.endpoint.fetches == 1 == world.credential.fetched
        assert threading.get_ident() not in world.endpoint.threads


async def test_it_is_replaced_ahead_of_its_end_and_nobody_waits() -> None:
    async with waiting() as world:
        await world.credential.get()
        await world.hub.advance(3600 - AHEAD_S - 1)
        assert await world.credential.get() == "token 1"
        assert world.endpoint.fetches == 1
        await world.hub.advance(1)
        world.endpoint.held = threading.Event()
        assert await world.credential.get() == "token 1"  # at once, though the next one takes its time
        assert await world.credential.get() == "token 1"
        world.endpoint.held.set()
        await world.done()
        assert await world.credential.get() == "token 2"
        assert world.endpoint.fetches == 2


async def test_one_that_has_ended_is_waited_for() -> None:
    async with waiting() as world:
        await world.credential.get()
        await world.hub.advance(3600)
        assert await world.credential.get() == "token 2"


async def test_one_that_is_refused_is_replaced_but_not_over_and_over() -> None:
    async with waiting() as world:
        await world.credential.get()
        await world.hub.advance(ANEW_S)
        world.credential.refuse("token 1")
        world.credential.refuse("token 1")
        assert await world.credential.get() == "token 2"
        world.credential.refuse("token 1")  # by a call that was still under way
        assert await world.credential.get() == "token 2"
        world.credential.refuse("token 2")
        with pytest.raises(NoToken, match="access token refused"):
            await world.credential.get()
        assert world.endpoint.fetches == 2
        await world.hub.advance(ANEW_S)
        assert await world.credential.get() == "token 3"


async def test_what_fails_is_tried_again_less_and_less_often_and_told_once(caplog: pytest.LogCaptureFixture) -> None:
    async with waiting() as world:
        world.endpoint.failure = NoToken("account refused")
        tried = []
        for second in range(300):
            with pytest.raises(NoToken, match="account refused"):
                await world.credential.get()
            if world.endpoint.fetches > len(tried):
                tried.append(second)
            await world.hub.advance(1)
        gaps = [later - earlier for earlier, later in pairwise(tried)]
        assert gaps == [1, 2, 4, 8, 16, 32, *[LONGEST_PAUSE_S] * (len(gaps) - 6)]
        told = [record.levelno for record in caplog.records if "access token" in str(record.__dict__)]
        assert told == [logging.ERROR]
        world.endpoint.failure = None
        await world.hub.advance(LONGEST_PAUSE_S)
        assert await world.credential.get() == f"token {world.endpoint.fetches}"


async def test_a_thread_that_hangs_is_left_alone_and_no_other_started(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hubd_fcm.credential.TIMEOUT_S", 0.05)
    async with waiting() as world:
        world.endpoint.held = threading.Event()
        try:
            for _ in range(5):
                with pytest.raises(NoToken, match="token endpoint timeout"):
                    await world.credential.get()
                await world.hub.advance(LONGEST_PAUSE_S)
            assert world.endpoint.fetches == 1
            world.endpoint.failure = NoToken("too late for anybody to see")
        finally:
            world.endpoint.held.set()
        assert world.credential._thread is not None
        await asyncio.wait({world.credential._thread}, timeout=WAIT_S)
        world.endpoint.failure = None
        assert await world.credential.get() == "token 2"


# --- With google-auth against a token endpoint


async def turns_during(work: asyncio.Task[Any]) -> int:
    """How often something else gets its turn meanwhile."""
    turns = 0
    while not work.done():
        await asyncio.sleep(0.001)
        turns += 1
    return turns


@pytest.mark.parametrize("sender", ["http", "sdk"])
async def test_a_slow_token_endpoint_stalls_nobody(tmp_path: Path, sender: str) -> None:
    async with fcm(tmp_path, sender=sender) as world:
        world.service.token_delay_s = 0.5
        # The endpoint is in this very loop: if anything waited for it in there, it would never answer.
        work = asyncio.create_task(world.send())
        turns = await turns_during(work)
        assert (await work).outcome is Outcome.ACCEPTED
        assert turns >= 20
        assert world.service.tokens.given == 1


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (FcmAnswer(400, b'{"error": "invalid_grant", "error_description": "Invalid JWT"}'), "account refused"),
        (FcmAnswer(401, b'{"error": "invalid_client"}'), "account refused"),
        (FcmAnswer(200, b"<html>"), "token endpoint unreadable"),
        (FcmAnswer(200, b'{"token_type": "Bearer"}'), "account refused"),
        (FcmAnswer(302, b"", {"Location": "http://127.0.0.1:1/"}), "token endpoint unreachable"),
        (Mishap.HANG_UP, "token endpoint unreachable"),
    ],
)
async def test_what_the_token_endpoint_answers(
    tmp_path: Path, answer: FcmAnswer | Mishap, reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with fcm(tmp_path) as world:
        world.service.token_script = lambda: answer
        assert await world.send() == (Outcome.LATER, reason, None, True, None)
        assert "invalid_grant" not in caplog.text and "127.0.0.1" not in caplog.text
        world.service.token_script = lambda: None
        await world.hub.advance(1)
        assert (await world.send()).outcome is Outcome.ACCEPTED


async def test_a_service_in_trouble_is_asked_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.sleep", lambda seconds: None)  # google-auth waits between its attempts
    async with fcm(tmp_path) as world:
        world.service.token_script = lambda: FcmAnswer(503, b"{}")
        assert (await world.send()).reason == "token endpoint failed"


async def test_the_token_is_good_for_sending_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scopes = frozenset({"https://www.googleapis.com/auth/firebase.messaging"})
    monkeypatch.setattr("hubd.testing.fcm_tokens.SCOPES", scopes)
    async with fcm(tmp_path) as world:
        assert (await world.send()).outcome is Outcome.ACCEPTED
