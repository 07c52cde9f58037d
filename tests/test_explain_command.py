"""`hubd explain` as a real process, against a real hub."""

import asyncio
import json
import re
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.command import HUBD, Done, environment
from tests.daemon import HOST, Daemon, Daemons
from tests.stand_in_hub import running_stand_in

PATIENCE_S = 30


@pytest.fixture
async def daemon(tmp_path: Path) -> AsyncIterator[Daemon]:
    daemons = Daemons(tmp_path)
    yield await daemons.start(HUBD_STORE__URL="off")
    await daemons.kill_all()


async def explain(url: str, key: str, *arguments: str) -> Done:
    environ = environment(HUBD_URL=url, HUBD_KEY=key, TZ="Etc/GMT-3")
    process = await asyncio.create_subprocess_exec(*HUBD, "explain", *arguments, stdout=PIPE, stderr=PIPE, env=environ)
    out, err = await asyncio.wait_for(process.communicate(), PATIENCE_S)
    assert process.returncode is not None
    assert not key or key not in (out + err).decode()
    return Done(process.returncode, out.decode(), err.decode())


async def asked(daemon: Daemon, *arguments: str) -> Done:
    return await explain(f"http://{HOST}:{daemon.port}", daemon.key, *arguments)


async def publish(daemon: Daemon, id: str, *to: str, **more: Any) -> None:
    body = {"id": id, "to": list(to), "notification": {"type": "order"}, **more}
    headers = {"Authorization": f"Bearer {daemon.key}"}
    url = f"http://{HOST}:{daemon.port}/api/notifications"
    async with aiohttp.ClientSession() as session, session.post(url, json=body, headers=headers) as answer:
        assert answer.status == 202


async def test_what_somebody_reads_at_three_in_the_morning(daemon: Daemon) -> None:
    ada = await daemon.connect("ada")
    welcome = await ada.next()
    await publish(daemon, "order-1", "user:ada", "user:bob", priority="informational")
    await ada.next()
    await ada.ask("ack", id="order-1")
    done = await asked(daemon, "order-1", "ada")
    assert (done.code, done.err) == (0, "")
    first, empty, title, times, empty_too, *steps = done.out.splitlines()
    assert first == "Delivered: ada was shown it." and empty == empty_too == ""
    assert title == "order-1 (order, informational, bufferable) for ada by user:ada:notifications: acked"
    moment = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d"
    assert re.fullmatch(rf"sent {moment}, of use until {moment}; times are \+03 \(UTC\+0300\)", times)
    assert [re.fullmatch(rf"{moment}\.\d{{3}}  (\w+) +\S.*\.", line)[1] for line in steps] == [  # type: ignore[index]
        "published", "written", "acked",
    ]  # fmt: skip
    assert f"connection {welcome['connection']} (websocket)" in steps[1]
    away = await asked(daemon, "order-1", "bob")
    assert away.out.startswith("Not delivered: bob had no connection when it was published, and informational ones")
    ada.hang_up()


async def test_how_many_have_got_it_and_the_answer_as_it_is(daemon: Daemon) -> None:
    await publish(daemon, "n1", "user:ada", "user:bob", priority="informational")
    done = await asked(daemon, "n1")
    assert done.code == 0 and "n1 (order, informational, bufferable): meant for 2 users" in done.out
    assert done.out.splitlines()[-1].split() == ["dropped(away)", "2"]
    raw = await asked(daemon, "n1", "bob", "--json")
    assert json.loads(raw.out)["milestone"] == "dropped(away)"


async def test_what_fails_is_one_line(daemon: Daemon) -> None:
    unknown = await asked(daemon, "nothing", "ada")
    why = "no such notification, or what became of it isn't known any more"
    assert unknown == Done(1, "", f"hubd: 404 not_found: {why}\n")
    wrong = await asked(daemon, "n1", "a b")
    assert wrong.code == 1 and wrong.err.startswith("hubd: 422 invalid: user: a user id is")
    refused = await explain(f"http://{HOST}:{daemon.port}", "hub_wrong_0123456789abcdef", "n1", "ada")
    assert refused.code == 1 and refused.err.startswith("hubd: 401 unauthorized: ") and refused.err.count("\n") == 1
    away = await explain(f"http://{HOST}:1", "hub_x", "n1", "ada")
    assert away == Done(1, "", f"hubd: can't reach http://{HOST}:1: Connection refused\n")
    for key, url in (("", "http://x"), ("k", "ftp://x"), ("k k", "http://x")):
        assert (await explain(url, key, "n1", "ada")).code == 2


async def test_what_a_stranger_put_into_it_cannot_play_with_the_terminal(daemon: Daemon) -> None:
    await publish(daemon, "n1", "user:ada", notification={"type": "\x1b[2Jnice\nfake"})
    done = await asked(daemon, "n1", "ada")
    assert "\x1b" not in done.out and "?[2Jnice?fake" in done.out


async def test_an_answer_that_is_none() -> None:
    async with running_stand_in() as stand_in:
        done = await explain(stand_in.url, "hub_x", "n1", "ada")
    assert done.code == 1 and "is --url right?" in done.err and done.err.count("\n") == 1


async def test_after_a_kill_what_is_open_and_what_is_closed_can_be_explained(tmp_path: Path) -> None:
    daemons = Daemons(tmp_path)
    store = {"HUBD_STORE__URL": f"sqlite:///{tmp_path}/hub.db"}
    try:
        first = await daemons.start(**store)
        await publish(first, "open", "user:ada", priority="critical")
        await publish(first, "closed", "user:ada", persistence="persistent", priority="critical")
        ada = await first.connect("ada")
        while (await ada.next()).get("id") != "closed":
            pass
        await ada.ask("ack", id="closed")
        ada.hang_up()
        await first.kill()
        second = await daemons.start(**store)
        done = await asked(second, "closed", "ada")
        assert done.out.startswith("Delivered: ada was shown it.") and "  acked " in done.out
        done = await asked(second, "open", "ada")
        assert done.code == 0 and "  restored " in done.out
    finally:
        await daemons.kill_all()
