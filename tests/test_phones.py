"""`hubd serve --dev --phones`, as a real process: the line that it prints makes phones ring."""

import asyncio
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from hubd.phones import Phones, Shown
from tests.command import hubd
from tests.daemon import Daemon, Daemons

WAIT_S = 20.0


@pytest.fixture
async def daemons(tmp_path: Path) -> AsyncIterator[Daemons]:
    found = Daemons(tmp_path)
    yield found
    await found.kill_all()


async def said(daemon: Daemon, what: str) -> str:
    """A line with this in it, once it is there; a machine that is busy may take a while."""
    async with asyncio.timeout(WAIT_S):
        while not (found := [line for line in daemon.lines if what in line]):
            await asyncio.sleep(0.01)
    return found[0]


async def run(line: str) -> str:
    done = await asyncio.to_thread(
        subprocess.run, shlex.split(line), capture_output=True, text=True, timeout=WAIT_S, check=True
    )
    return done.stdout


async def test_the_line_that_is_printed_makes_all_of_ada_s_ring(daemons: Daemons) -> None:
    daemon = await daemons.start("--phones")
    await said(daemon, "6 phones are registered")
    curl = [line.strip() for line in daemon.lines if line.strip().startswith("curl") and "critical" in line]
    assert len(curl) == 1
    assert '"live":0' in await run(curl[0])
    for kind in ("browser (Web Push)", "iPhone (APNs)", "Android phone (FCM)"):
        assert await said(daemon, f"ada's {kind} rang") == f"ada's {kind} rang: It works: Hello from curl"
    assert not [line for line in daemon.lines if "bob's" in line]
    # A busy machine keeps everybody waiting; only a plugin that does is to blame.
    errors = [line for line in daemon.lines if " ERROR " in line]
    assert not [line for line in errors if not ("loop_blocked" in line and 'plugin=""' in line)]
    assert (await daemon.stopped(signal.SIGTERM))[0] == 0


async def test_an_important_one_rings_when_nobody_acks(daemons: Daemons) -> None:
    daemon = await daemons.start("--phones", HUBD_DELIVERY__PUSH_DELAY_S="0.1")
    await said(daemon, "6 phones are registered")
    curl = next(line.strip() for line in daemon.lines if line.strip().startswith("curl") and "critical" in line)
    await run(curl.replace("user:ada", "user:bob").replace("critical", "important").replace("Hello from curl", "Tea?"))
    assert await said(daemon, "bob's iPhone") == "bob's iPhone (APNs) rang: It works: Tea?"


async def test_without_phones_there_are_none_but_browsers_can_subscribe(daemons: Daemons) -> None:
    daemon = await daemons.start()
    assert "PHONES" not in "\n".join(daemon.lines)
    status, answer = await daemon.get("/api/push/vapid-public-key")
    assert status == 200 and re.fullmatch(r"[A-Za-z0-9_-]{87}", answer["key"])


async def test_outside_of_dev_mode_there_is_nothing_of_it(daemons: Daemons) -> None:
    done = hubd("serve", "--phones", "--port", "0")
    assert done.code == 2 and "--phones goes with --dev alone" in done.err
    daemon = await daemons.start(dev=False)
    status, _ = await daemon.get("/api/push/vapid-public-key")
    assert status == 404


async def test_a_reload_leaves_the_phones_alone(daemons: Daemons, tmp_path: Path) -> None:
    config = tmp_path / "hub.toml"
    config.write_text("")
    daemon = await daemons.start("--phones", "--config", str(config))
    await said(daemon, "6 phones are registered")
    config.write_text("[limits]\nping_s = 20\n")
    daemon.send(signal.SIGHUP)
    await said(daemon, "config_reloaded")
    curl = next(line.strip() for line in daemon.lines if line.strip().startswith("curl") and "critical" in line)
    await run(curl)
    await said(daemon, "ada's Android phone (FCM) rang")


def test_what_it_cannot_load_is_said(tmp_path: Path) -> None:
    """Without firebase-admin there are no Android phones, and it says how to get them."""
    code = "import sys; sys.modules['firebase_admin'] = None; from hubd.phones import Phones; p = Phones()"
    code = code.replace("; p = Phones()", "\nimport hubd.phones as m; m.find_spec = lambda name: None\np = m.Phones()")
    code += "\nwith p: print(sorted(p.tables)); print(p._help('http://x', 'key'))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert "['apns', 'webpush']" in done.stdout, done
    assert "pip install 'firebase-admin>=7.7,<8'" in done.stdout and "Android phone (FCM)" not in done.stdout


def test_it_ends() -> None:
    with Phones() as phones:
        assert set(phones.tables) == {"webpush", "apns", "fcm"}
    assert not phones._thread.is_alive()


def test_a_failure_at_the_start_is_one_of_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    async def fail(self: Any) -> None:
        raise OSError("no sockets left")

    monkeypatch.setattr("hubd.testing.webpush_service.WebPushService.start", fail)
    with pytest.raises(OSError, match="no sockets left"), Phones():
        pass


@pytest.mark.parametrize(
    ("shown", "text"),
    [
        (Shown("Bob", "Tea?"), "Bob: Tea?"),
        (Shown("Bob", ""), "Bob"),
        (Shown("\x1b[31mred", "a\nb"), " [31mred: a b"),
        (Shown("x" * 500, ""), "x" * 200),
    ],
)
def test_what_is_shown_harms_no_terminal(shown: Shown, text: str) -> None:
    assert str(shown) == text
