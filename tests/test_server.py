"""The daemon as a real process: how it stops, how fast, and with which exit code."""

import asyncio
import signal
import socket
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.command import hubd
from tests.daemon import HOST, SLACK_S, Daemons, is_of_dev_mode
from tests.edge.ws_client import Client


@pytest.fixture
async def daemons(tmp_path: Path) -> AsyncIterator[Daemons]:
    made = Daemons(tmp_path)
    yield made
    await made.kill_all()


async def leave(client: Client) -> int:
    """Answer the close frame as a good client does; gives its code."""
    code = await client.closed()
    client.hang_up()
    return code


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_those_who_answer_are_all_it_waits_for(daemons: Daemons, number: int) -> None:
    daemon = await daemons.start(HUBD_SERVER__DRAIN_S="30")
    clients = [await daemon.connect(str(n)) for n in range(20)]
    leaving = [asyncio.ensure_future(leave(client)) for client in clients]
    code, took_s = await daemon.stopped(number)
    assert [await one for one in leaving] == [4000] * 20
    assert code == 0
    assert took_s < SLACK_S
    assert daemon.events == ["stopping"]


async def test_who_never_answers_and_a_body_that_never_comes_end_with_drain_s(daemons: Daemons) -> None:
    daemon = await daemons.start(HUBD_SERVER__DRAIN_S="1")
    silent, writer = await daemon.connect(), await daemon.post_without_body()
    code, took_s = await daemon.stopped()
    assert code == 0
    assert 1 <= took_s < 1 + SLACK_S
    assert daemon.events == ["stopping"]
    assert await silent.closed() == 4000
    silent.hang_up()
    writer.close()


async def test_a_body_that_never_comes_ends_with_drain_s_when_nobody_is_connected(daemons: Daemons) -> None:
    daemon = await daemons.start(HUBD_SERVER__DRAIN_S="0.5")
    writer = await daemon.post_without_body()
    code, took_s = await daemon.stopped()
    assert code == 0
    assert took_s < 0.5 + SLACK_S
    assert daemon.events == ["stopping"]
    writer.close()


async def test_who_comes_while_it_stops_is_refused(daemons: Daemons) -> None:
    daemon = await daemons.start(HUBD_SERVER__DRAIN_S="30")
    silent = await daemon.connect()
    assert (await silent.next())["hub"] == "welcome"
    daemon.send(signal.SIGTERM)
    assert (await silent.next())["hub"] == "disconnect"  # it is waited for the answer to its close frame
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection(HOST, daemon.port)
    assert daemon.process.returncode is None
    silent.hang_up()
    assert await daemon.ended() == 0


@pytest.mark.parametrize(("first", "second"), [(signal.SIGINT, signal.SIGINT), (signal.SIGTERM, signal.SIGINT)])
async def test_sigint_while_it_stops_ends_it_at_once(daemons: Daemons, first: int, second: int) -> None:
    daemon = await daemons.start(HUBD_SERVER__DRAIN_S="60")
    silent = await daemon.connect()
    writer = await daemon.post_without_body()
    daemon.send(first)
    await daemon.said("stopping")
    begun = time.monotonic()
    daemon.send(second)
    assert await daemon.ended() == 130
    assert time.monotonic() - begun < 2
    assert daemon.lines[-1] == "hubd: stopped at once: connections were cut, nothing was saved"
    silent.hang_up()
    writer.close()


async def test_two_sigints_end_it_also_when_its_loop_is_stuck(daemons: Daemons, tmp_path: Path) -> None:
    """What the loop does here for ever is what a plugin might."""
    (tmp_path / "sitecustomize.py").write_text(
        "import hubd.hub, itertools\n"
        "def stuck(hub, *given, **more):\n"
        "    print('stuck now', file=__import__('sys').stderr, flush=True)\n"
        "    for _ in itertools.count(): pass\n"
        "hubd.hub.Hub.maintain = stuck\n"
    )
    path = f"{tmp_path}:{Path(__file__).parents[1]}"
    daemon = await daemons.start(PYTHONPATH=path)
    await daemon.said("stuck now")
    daemon.send(signal.SIGINT)
    await asyncio.sleep(0.2)
    assert daemon.process.returncode is None
    daemon.send(signal.SIGINT)
    assert await daemon.ended() == 130


async def told_to_go(daemons: Daemons, count: int) -> tuple[list[float], float, int]:
    """Stop a hub with so many connections: after how many seconds each is to come back, how long it took, the code."""
    daemon = await daemons.start(
        HUBD_SERVER__DRAIN_S="30", HUBD_LIMITS__PER_IP="0", HUBD_LIMITS__PER_USER="0", HUBD_LIMITS__PING_S="600"
    )
    clients: list[Client] = []
    for start in range(0, count, 100):
        clients += await asyncio.gather(*(daemon.connect(str(n)) for n in range(start, min(start + 100, count))))

    async def retry_after(client: Client) -> float:
        while (frame := await client.next())["hub"] != "disconnect":
            pass
        assert (frame["code"], frame["reason"], frame["reconnect"]) == (4000, "shutdown", True)
        assert await leave(client) == 4000
        return float(frame["retry_after_s"])

    waiting = [asyncio.ensure_future(retry_after(client)) for client in clients]
    code, took_s = await daemon.stopped()
    return [await one for one in waiting], took_s, code


def check_spread(times: list[float], most: float) -> None:
    """So that they don't come back all at once: over the whole time, and in no second much more than in another."""
    assert all(0 <= time <= most for time in times)
    seconds = [sum(second <= time < second + 1 for time in times) for second in range(int(most))]
    assert min(seconds) > 0.5 * len(times) / most
    assert max(seconds) < 1.6 * len(times) / most


async def test_a_stop_with_many_connections(daemons: Daemons) -> None:
    times, took_s, code = await told_to_go(daemons, 500)
    assert (len(times), code) == (500, 0)
    assert took_s < 10
    check_spread(times, 10)


@pytest.mark.long
async def test_a_stop_with_5000_connections(daemons: Daemons) -> None:
    times, took_s, code = await told_to_go(daemons, 5000)
    assert (len(times), code) == (5000, 0)
    assert took_s < 30
    check_spread(times, 10)
    print(
        f"5,000 connections: all told 4000, to come back after {min(times)} to {max(times)} s; ended in {took_s:.1f} s"
    )


def test_a_port_that_is_taken_is_one_line_and_1() -> None:
    with socket.socket() as taken:
        taken.bind((HOST, 0))
        taken.listen()
        done = hubd("serve", "--dev", "--port", str(taken.getsockname()[1]))
    assert (done.code, done.out) == (1, "")
    (line,) = (line for line in done.err.splitlines() if not is_of_dev_mode(line))
    assert line.startswith(f"hubd: can't listen on {HOST}:")


def test_dev_mode_never_listens_to_others() -> None:
    done = hubd("serve", "--dev", "--host", "0.0.0.0", "--port", "0")
    assert (done.code, done.out) == (1, "")
    (line,) = done.err.splitlines()
    assert "127.0.0.1 or ::1 only" in line
