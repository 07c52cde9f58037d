"""Reloads of a real process: by signal and by command, with somebody connected all the while."""

import asyncio
import os
import signal
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import jwt
import pytest

from hubd import server
from hubd.clock import SystemClock
from hubd.config import Config
from hubd.reload import Source
from tests.command import Done, hubd
from tests.daemon import SLACK_S, Daemon, Daemons, until
from tests.edge.ws_client import JSON, Client

KEYS = ["a" * 40, "b" * 40]


def config(key: str = KEYS[0], **limits: int) -> str:
    lines = ["[limits]", *(f"{name} = {value}" for name, value in limits.items())]
    return "\n".join([*lines, "[[auth.jwt]]", 'algorithm = "HS256"', f'key = "{key}"', ""])


def token(user: str = "42", key: str = KEYS[0]) -> str:
    return jwt.encode({"sub": user, "exp": SystemClock().now() + 600}, key, "HS256")


class World:
    """A hub with a config file."""

    def __init__(self, folder: Path, daemons: Daemons) -> None:
        self.path = folder / "config.toml"
        self.daemons = daemons

    async def start(self, text: str, **environ: str) -> Daemon:
        self.path.write_text(text)
        return await self.daemons.start("--config", str(self.path), dev=False, **environ)

    async def command(self, *arguments: str, **environ: str) -> Done:
        return await asyncio.to_thread(hubd, "reload", *(arguments or ("--config", str(self.path))), **environ)


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    daemons = Daemons(tmp_path)
    yield World(tmp_path, daemons)
    await daemons.kill_all()


async def connect(daemon: Daemon, proof: str) -> Client:
    """Connect; the client has got its welcome."""
    client = await Client.open("127.0.0.1", daemon.port, headers={"Authorization": f"Bearer {proof}"}, subprotocol=JSON)
    client.welcome = await client.next()  # type: ignore[attr-defined]  # kept for the tests here
    return client


async def alive(client: Client) -> bool:
    return (await client.ask("ping"))["ok"] is True


async def test_a_signal_changes_keys_and_limits_and_drops_nobody(world: World) -> None:
    daemon = await world.start(config(per_user=20))
    before = await connect(daemon, token())
    world.path.write_text(config(KEYS[1], per_user=1, ping_s=7))
    daemon.send(signal.SIGHUP)
    assert 'changed="auth.jwt, limits.per_user, limits.ping_s"' in await daemon.said("config_reloaded")
    refused = await Client.open(
        "127.0.0.1", daemon.port, headers={"Authorization": f"Bearer {token()}"}, subprotocol=JSON
    )
    assert await refused.closed() == 4500
    refused.hang_up()
    after = await connect(daemon, token("43", KEYS[1]))
    assert after.welcome["ping_s"] == 7  # type: ignore[attr-defined]  # see above
    too_many = await Client.open(
        "127.0.0.1", daemon.port, headers={"Authorization": f"Bearer {token('43', KEYS[1])}"}, subprotocol=JSON
    )
    assert await too_many.closed() == 4029
    too_many.hang_up()
    assert await alive(before)
    for client in (before, after):
        client.hang_up()


async def test_the_command_says_what_changed_and_what_needs_a_restart(world: World) -> None:
    daemon = await world.start(config())
    world.path.write_text("server.admin_port = 1\n" + config(ping_s=7))
    done = await world.command()
    assert done == Done(
        0,
        f"reloaded (process {daemon.process.pid}, http://127.0.0.1:{daemon.port}, {world.path});"
        " changed: limits.ping_s\n",
        "note: server.admin_port needs a restart, and stays as it was until then\n",
    )
    await daemon.said("restart_needed")
    again = await world.command()
    assert "changed: nothing" in again.out
    assert again.err == done.err


async def test_a_config_with_errors_changes_nothing_and_the_command_lists_them_all(world: World) -> None:
    daemon = await world.start(config(ping_s=3))
    before = await connect(daemon, token())
    secret = "s3cr3t" * 5
    world.path.write_text(config(secret, ping_s=9, pong_s=-1, nonsense=1))
    done = await world.command()
    assert (done.code, done.out) == (1, "")
    *errors, last = done.err.splitlines()
    assert [line.split(": ")[0].replace(str(world.path), "") for line in errors] == [":5", ":3", ":4"]
    assert last.startswith("hubd: nothing was changed: the hub (process ")
    assert daemon.events.count("config_error") == 3
    assert daemon.events[-1] == "config_not_reloaded"
    assert secret not in done.err + "".join(daemon.lines)
    again = await connect(daemon, token())
    assert again.welcome["ping_s"] == 3  # type: ignore[attr-defined]  # see above
    assert await alive(before)
    for client in (before, again):
        client.hang_up()


async def test_environment_and_flags_still_beat_the_file(world: World) -> None:
    daemon = await world.start(config(), HUBD_LIMITS__PING_S="5")
    world.path.write_text("server.port = 1\n" + config(ping_s=9))
    done = await world.command()
    assert (done.code, done.err) == (0, "")
    assert "changed: nothing" in done.out
    assert daemon.process.returncode is None


async def test_the_log_level_and_the_time_of_a_stop(world: World) -> None:
    daemon = await world.start("server.drain_s = 60\n" + config())
    silent = await connect(daemon, token())
    assert "connection_opened" not in daemon.events
    world.path.write_text('server.drain_s = 0.5\nlog.level = "debug"\n' + config())
    assert (await world.command()).code == 0
    (await connect(daemon, token())).hang_up()
    await daemon.said("connection_opened")
    code, took_s = await daemon.stopped()
    assert code == 0
    assert took_s < 0.5 + SLACK_S
    silent.hang_up()


async def test_a_key_file_that_others_can_read_is_said_at_each_reading(world: World) -> None:
    (world.path.parent / "jwt.key").write_text(KEYS[1])
    (world.path.parent / "jwt.key").chmod(0o644)
    daemon = await world.start('[[auth.jwt]]\nalgorithm = "HS256"\nkey_file = "jwt.key"')
    assert "auth.jwt[0].key_file" in await daemon.said("secret_readable")
    assert (await world.command()).code == 0
    await daemon.said("secret_readable", 2)
    (world.path.parent / "jwt.key").chmod(0o640)
    assert (await world.command()).code == 0
    assert daemon.events.count("secret_readable") == 2
    (world.path.parent / "jwt.key").unlink()
    done = await world.command()
    assert done.code == 1 and "jwt.key' can't be read" in done.err.splitlines()[0]


async def test_a_config_without_keys_is_taken_over_and_said_loudly(world: World) -> None:
    daemon = await world.start(config())
    world.path.write_text("")
    daemon.send(signal.SIGHUP)
    assert "WARNING" in await daemon.said("nobody_can_connect")


async def test_signals_by_the_dozen(world: World) -> None:
    daemon = await world.start(config(ping_s=3))
    before = await connect(daemon, token())
    for number in range(50):
        fresh = world.path.with_suffix(".new")
        fresh.write_text(config(ping_s=10 + number))
        fresh.replace(world.path)  # an empty file is a config too, and this machine may be slow to fill one
        daemon.send(signal.SIGHUP)
    for number in range(1000):
        client = await connect(daemon, token(f"user{number}"))
        ping_s = client.welcome["ping_s"]  # type: ignore[attr-defined]  # see above
        client.hang_up()
        if ping_s == 59:
            break
        await asyncio.sleep(0.01)
    else:
        raise AssertionError(f"the last config doesn't count, but one with {ping_s}")
    assert await alive(before)
    before.hang_up()


async def test_which_hub_is_meant(world: World) -> None:
    first = await world.start(config())
    other = world.path.with_name("other.toml")
    other.write_text(config())
    second = await world.daemons.start("--config", str(other), dev=False)
    for arguments, daemon in (
        (("--config", str(other)), second),
        (("--config", os.path.relpath(world.path)), first),
        (("--pid", str(first.process.pid)), first),
    ):
        done = await world.command(*arguments)
        assert done.code == 0 and f"process {daemon.process.pid}," in done.out, done
    done = await world.command("--pid", "1")
    assert (done.code, done.out) == (1, "")
    assert done.err.startswith("hubd: the hub that you named doesn't run; these do: process ")
    assert str(second.process.pid) in done.err
    assert (await world.command("--pid", "0")).code == 2


async def test_a_hub_that_stops_reloads_no_more(world: World) -> None:
    daemon = await world.start(config())
    silent = await connect(daemon, token())
    daemon.send(signal.SIGTERM)
    assert (await silent.next())["hub"] == "disconnect"
    assert (await world.command("--pid", str(daemon.process.pid))).code == 1
    daemon.send(signal.SIGHUP)
    await asyncio.sleep(0.1)
    assert daemon.process.returncode is None
    assert "config_reloaded" not in daemon.events
    silent.hang_up()
    assert await daemon.ended() == 0


async def test_systemd_is_told_everything(world: World, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(10)
        environ = {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "200000"}
        daemon = await world.start(config(), **environ)

        def told() -> str:
            while (line := manager.recv(1000).decode()) == "WATCHDOG=1":
                pass
            return line

        assert told() == f"READY=1\nSTATUS=listening on http://127.0.0.1:{daemon.port}"
        assert [manager.recv(1000) for _ in range(3)] == [b"WATCHDOG=1"] * 3
        daemon.send(signal.SIGHUP)
        assert told().startswith("RELOADING=1\nMONOTONIC_USEC=")
        assert told() == "READY=1\nSTATUS=reloaded"
        world.path.write_text("nonsense")
        daemon.send(signal.SIGHUP)
        assert told().startswith("RELOADING=1\n")
        assert told() == "READY=1\nSTATUS=the last reload failed: see the log"
        silent = await connect(daemon, token())
        daemon.send(signal.SIGTERM)
        assert told().startswith("STOPPING=1\n")
        while manager.recv(1000) != b"WATCHDOG=1":  # also while it waits for who doesn't answer
            pass
        silent.hang_up()
        assert await daemon.ended() == 0


async def test_a_signal_that_comes_during_a_reload_isnt_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    daemon = server.Daemon(Source(None, {}), Config(), dev=True)
    daemon._is_ready = True
    reloads: list[asyncio.Event] = []

    async def reload(self: server.Daemon) -> None:
        reloads.append(asyncio.Event())
        await reloads[-1].wait()

    monkeypatch.setattr(server.Daemon, "_reload", reload)
    for _ in range(3):
        daemon._on_hangup()
    await until(lambda: len(reloads) == 1)
    for _ in range(3):  # it may have read the file already
        daemon._on_hangup()
    reloads[0].set()
    await until(lambda: len(reloads) == 2)
    reloads[1].set()
    await until(lambda: not daemon._is_obeying)
    assert len(reloads) == 2
    daemon._on_hangup()
    await until(lambda: len(reloads) == 3)
    reloads[2].set()
    await until(lambda: not daemon._is_obeying)
