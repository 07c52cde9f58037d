"""Plugins in real `hubd` processes: from check-config over start and reload to the end."""

import asyncio
import signal
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.command import HUBD, environment, hubd
from tests.daemon import HOST, SLACK_S, Daemon, Daemons
from tests.plugin_folders import Folder

SECRET = "do-not-tell-anybody"


@pytest.fixture
async def daemons(tmp_path: Path) -> AsyncIterator[Daemons]:
    made = Daemons(tmp_path)
    yield made
    await made.kill_all()


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    made = Folder(tmp_path)
    made.add("one", "two", "three")
    return made


async def publish(daemon: Daemon, **fields: Any) -> tuple[int, float]:
    """Publish something critical to user 42: the status, and after how long."""
    body = {"to": "user:42", "notification": {"type": "alarm"}, "priority": "critical"} | fields
    begun = time.monotonic()
    headers = {"Authorization": f"Bearer {daemon.key}"}
    url = f"http://{HOST}:{daemon.port}/api/notifications"
    async with aiohttp.ClientSession(headers=headers) as session, session.post(url, json=body) as answer:
        return answer.status, time.monotonic() - begun


def test_check_config_starts_nothing(folder: Folder) -> None:
    folder.write(one={"token": SECRET}, two={"fails_in": "startup"})
    done = hubd("check-config", str(folder.config))
    assert (done.code, done.err) == (0, "") and done.out == f"{folder.config} is fine\n"
    assert folder.life == []


async def test_a_life(folder: Folder, daemons: Daemons) -> None:
    two = {"greeting": "b", "fails_in": "prepare", "how": "blocks"}
    folder.write("three", one={"greeting": "a"}, two=two, three={"greeting": "c"})
    environ = {"HUBD_PLUGINS__ONE__GREETING": "5", "HUBD_PLUGINS__TWO__TOKEN": "12345678"}
    daemon = await daemons.start("--config", str(folder.config), **environ)
    await daemon.said("plugin=two text=on greeting=b")
    await daemon.said("plugin=one text=on greeting=5")
    assert folder.life == ["? made"] * 3 + ["three startup", "one startup", "two startup"]
    await it_blocks_and_is_named(folder, daemon)
    before = len(folder.life)
    code, _ = await daemon.stopped()
    assert code == 0
    assert folder.life[before:] == ["two shutdown", "one shutdown", "three shutdown"]
    assert "12345678" not in "\n".join(daemon.lines)


async def it_blocks_and_is_named(folder: Folder, daemon: Daemon) -> None:
    client = await daemon.connect()
    assert (await client.next())["hub"] == "welcome"
    status, seconds = await publish(daemon)
    assert status == 202 and 0.6 <= seconds < 0.6 + 2
    assert (await client.next())["type"] == "alarm"
    assert "plugin=two" in await daemon.said("loop_blocked")
    await daemon.said(f'File "{folder.path}/plugins/two.py", line ')
    fault = await daemon.said("plugin_fault")
    assert "plugin=two" in fault and "kind=blocked" in fault and "two.py" in fault
    _, metrics = await daemon.get("/metrics", key=daemon.key)
    assert 'hubd_plugin_faults_total{kind="blocked",plugin="two"} 1.0' in metrics
    client.hang_up()


@pytest.mark.parametrize("how", ["exits", *(pytest.param(how, marks=pytest.mark.long) for how in ("raises", "says"))])
async def test_a_start_that_fails_stops_the_others_and_loses_nothing(
    how: str, folder: Folder, daemons: Daemons
) -> None:
    folder.write(hub=f'[replay]\nsaved_file = "{folder.saved}"', one={}, two={}, three={"greeting": "z"})
    environ = {"HUBD_REPLAY__SAVED_FILE": str(folder.saved)}
    first = await daemons.start("--config", str(folder.config), **environ, HUBD_PLUGINS__ONE__GREETING="x")
    assert (await publish(first))[0] == 202
    assert (await first.stopped())[0] == 0
    before = len(folder.life)

    folder.write(
        one={"greeting": "x"}, two={"fails_in": "startup", "how": how, "token": SECRET}, three={"greeting": "z"}
    )
    failed = await asyncio.to_thread(hubd, "serve", "--dev", "--port", "0", "--config", str(folder.config), **environ)
    why = {"raises": "RuntimeError", "exits": "SystemExit", "says": "the database is away"}[how]
    assert (failed.code, failed.out) == (1, "")
    said = [line for line in failed.err.splitlines() if line.startswith("hubd: ")]
    assert len(said) == 1
    assert said[0].startswith(f"hubd: plugin two: hubd_startup failed: {why} ({folder.path}/plugins/two.py:")
    assert SECRET not in failed.err and "Traceback" not in failed.err
    expected = ["? made"] * 3 + ["one startup", "two startup", "two shutdown", "one shutdown"]
    assert folder.life[before:] == expected

    folder.write(one={"greeting": "x"})
    second = await daemons.start("--config", str(folder.config), **environ)
    await second.said(" loaded: ")
    _, found = await second.get("/api/channels/user:42:notifications/history", key=second.key)
    assert [one["type"] for one in found["notifications"]] == ["alarm"]


async def test_a_stop_ends_whatever_plugins_do(folder: Folder, daemons: Daemons) -> None:
    folder.write(
        one={"fails_in": "shutdown", "how": "raises", "token": SECRET},
        two={"greeting": "b", "fails_in": "shutdown,task", "how": "exits"},
        three={"greeting": "c", "fails_in": "thread"},
    )
    daemon = await daemons.start("--config", str(folder.config))
    code, seconds = await daemon.stopped()
    assert code == 0 and seconds < 10 + SLACK_S
    assert [line for line in folder.life if "shutdown" in line] == ["three shutdown", "two shutdown", "one shutdown"]
    assert daemon.events.count("plugin_fault") >= 2 and "plugin_task_stuck" in daemon.events
    assert SECRET not in "\n".join(daemon.lines)


@pytest.mark.long
async def test_a_stop_is_not_held_up_by_a_plugin_that_hangs_in_it(folder: Folder, daemons: Daemons) -> None:
    folder.write(one={}, two={"greeting": "b", "fails_in": "shutdown", "how": "hangs"})
    daemon = await daemons.start("--config", str(folder.config), HUBD_SERVER__DRAIN_S="1")
    code, seconds = await daemon.stopped()
    assert code == 0 and seconds < 1 + 2 + SLACK_S


async def test_sigterm_while_a_plugin_hangs_at_its_start(folder: Folder) -> None:
    folder.write(one={}, two={"greeting": "b", "fails_in": "startup", "how": "hangs"})
    process = await asyncio.create_subprocess_exec(
        *HUBD, "serve", "--dev", "--port", "0", "--config", str(folder.config), env=environment(), stderr=-1
    )
    try:
        deadline = time.monotonic() + 20
        while "two startup" not in folder.life:
            assert time.monotonic() < deadline
            await asyncio.sleep(0.01)
        begun = time.monotonic()
        process.send_signal(signal.SIGTERM)
        _, errors = await asyncio.wait_for(process.communicate(), 20)
    finally:
        if process.returncode is None:
            process.kill()
    assert process.returncode == 0 and time.monotonic() - begun < SLACK_S, errors
    assert folder.life[-2:] == ["two shutdown", "one shutdown"]


async def test_reload(folder: Folder, daemons: Daemons) -> None:
    folder.add("fixed", source="fixed")
    one, two, three = {"greeting": "a"}, {"greeting": "b"}, {"greeting": "c", "fails_in": "prepare,shutdown"}
    folder.write(one=one, two=two, three=three, fixed={"word": "x"})
    daemon = await daemons.start("--config", str(folder.config))
    pid = str(daemon.process.pid)

    for _ in range(5):
        assert (await publish(daemon))[0] == 202
    assert "plugin=three" in await daemon.said("plugin_switched_off")
    before = folder.life.count("three prepare")
    assert (await publish(daemon))[0] == 202 and folder.life.count("three prepare") == before

    # Taken over, on again, and what can't be taken over is told.
    folder.write(one={"greeting": "a2"}, two=two, three=three, fixed={"word": "y"}, extra={})
    folder.add("extra")
    done = await asyncio.to_thread(hubd, "reload", "--pid", pid)
    assert done.code == 0 and "changed: plugins.one" in done.out
    assert "note: plugins.fixed needs a restart" in done.err and "note: plugins.extra needs a restart" in done.err
    assert "one reconfigure a2" in folder.life
    assert "plugin=three" in await daemon.said("plugin_switched_on")
    assert (await publish(daemon))[0] == 202 and folder.life.count("three prepare") == before + 1

    # One refuses: nothing changes, for nobody.
    mark = len(folder.life)
    bad = {"greeting": "b2", "fails_in": "reconfigure", "how": "exits", "token": SECRET}
    folder.write(hub="[limits]\nping_s = 99", one={"greeting": "a3"}, two=bad, three=three, fixed={"word": "x"})
    done = await asyncio.to_thread(hubd, "reload", "--pid", pid)
    assert done.code == 1 and done.out == ""
    assert done.err.startswith(f"plugin two: hubd_reconfigure failed: SystemExit ({folder.path}/plugins/two.py:")
    assert "nothing was changed" in done.err and SECRET not in done.err
    told = [line for line in folder.life[mark:] if "reconfigure" in line]
    assert told[:2] == ["one reconfigure a3", "two reconfigure b2"]
    assert {*told[2:]} == {"one reconfigure a2", "two reconfigure b"}

    # Wrong options: as at the start, and the plugin isn't even asked.
    mark = len(folder.life)
    folder.write(one={"greeting": 5}, two=two, three=three, fixed={"word": "x"})
    done = await asyncio.to_thread(hubd, "reload", "--pid", pid)
    assert done.code == 1 and "plugins.one.greeting: has to be a text in quotes" in done.err
    assert folder.life[mark:] == []
    assert (await publish(daemon))[0] == 202
    assert (await daemon.stopped())[0] == 0


@pytest.mark.long
async def test_a_start_that_fails_ends_the_process_whatever_was_left_running(folder: Folder) -> None:
    folder.write(one={"fails_in": "startup,thread,task", "how": "says"})
    begun = time.monotonic()
    done = await asyncio.to_thread(hubd, "serve", "--dev", "--port", "0", "--config", str(folder.config))
    assert done.code == 1 and "hubd_startup failed: the database is away" in done.err
    assert "left something running" in done.err and time.monotonic() - begun < 15
