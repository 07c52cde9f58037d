"""`hubd import-devices` as a real process, against a real hub and one that misbehaves."""

import asyncio
import json
import os
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from tests.command import HUBD, Done, environment
from tests.edge.live_hub import LiveHub, config_of, no_faults
from tests.stand_in_hub import StandIn, hang_up, problem

KEY = "hub_test_0123456789abcdef"
TOKEN = "secret-token-of-a-phone"


@pytest.fixture
async def hub() -> AsyncIterator[LiveHub]:
    for _ in no_faults():
        live = await LiveHub(config_of(push={"devices_per_user": 1000})).start()
        yield live
        await live.stop()


@pytest.fixture
async def stand_in() -> AsyncIterator[StandIn]:
    """A hub to which misfortunes happen, as far as devices go."""
    stand_in = StandIn()

    async def take(request: web.Request) -> web.StreamResponse:
        bodies = json.loads(await request.read())
        stand_in.asked.append((request.path, dict(request.headers), bodies))
        planned = stand_in.plan.pop(0)(request, bodies) if stand_in.plan else None
        return planned or web.json_response([{"status": 201, "id": f"dev_{n}"} for n in range(len(bodies))])

    app = web.Application(client_max_size=64 * 1024 * 1024)
    app.router.add_post("/api/devices/batch", take)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    stand_in.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield stand_in
    await runner.cleanup()


def line(user: str, token: str = TOKEN, **more: Any) -> str:
    return json.dumps({"user": user, "platform": "fcm", "token": token} | more) + "\n"


async def run(url: str, *arguments: str, given: str | bytes = "", key: str = KEY) -> Done:
    """The command, to its end; whatever it prints, no secret is in it."""
    process = await asyncio.create_subprocess_exec(
        *HUBD, "import-devices", *arguments, stdin=PIPE, stdout=PIPE, stderr=PIPE,
        env=environment(HUBD_URL=url, HUBD_KEY=key),
    )  # fmt: skip
    given = given.encode() if isinstance(given, str) else given
    try:
        out, err = await asyncio.wait_for(process.communicate(given), 60)
    except TimeoutError:
        process.kill()
        raise
    assert not any(secret in (out + err).decode() for secret in (key, TOKEN))
    assert process.returncode is not None
    return Done(process.returncode, out.decode(), err.decode())


def key_of(hub: LiveHub, name: str = "backend") -> str:
    return hub.bearer(name).removeprefix("Bearer ")


async def test_a_file_is_imported_and_again(hub: LiveHub, tmp_path: Path) -> None:
    path = tmp_path / "devices.ndjson"
    path.write_text(line("ada") + "\n" + line("ada", "t2") + line("bob", "t3"))
    done = await run(hub.url, str(path), key=key_of(hub))
    assert (done.code, done.out, done.err) == (0, "3 new, 0 known, 0 refused\n", "")
    assert [len(hub.hub.devices.listed(user)) for user in ("ada", "bob")] == [2, 1]
    path.write_text(path.read_text() + line("eve", "t4"))
    done = await run(hub.url, str(path), key=key_of(hub))
    assert (done.code, done.out) == (0, "1 new, 3 known, 0 refused\n")


async def test_what_is_refused_is_named_by_its_line_and_the_rest_goes_in(hub: LiveHub) -> None:
    given = [
        line("ada"), "no json\n", "\n", line("not a user"), line("bob", "a b"), '["x"]\n', line("eve", "t", x={}),
        json.dumps({"user": "ada"}) + "\n", '{"user": "a", "user": "b", "n": NaN}\n', line("zoe", "t9"),
    ]  # fmt: skip
    done = await run(hub.url, "-", given="".join(given), key=key_of(hub))
    assert (done.code, done.out) == (1, "2 new, 0 known, 7 refused\n")
    numbers = [said.partition(":")[0] for said in done.err.splitlines()]
    assert numbers == [f"line {number}" for number in (2, 4, 5, 6, 7, 8, 9)]
    assert "user: a user id is" in done.err and "token: must be" in done.err and "isn't a JSON object" in done.err


async def test_many_go_in_batches(hub: LiveHub) -> None:
    given = "".join(line(f"u{n % 40}", f"t{n}") for n in range(2500))
    done = await run(hub.url, "-", given=given, key=key_of(hub))
    assert (done.code, done.out) == (0, "2500 new, 0 known, 0 refused\n")
    assert len(hub.hub.devices) == 2500


async def test_a_hub_that_is_busy_or_away_is_tried_again(stand_in: StandIn) -> None:
    stand_in.plan = [
        problem(503, "unavailable"),
        hang_up,
        lambda request, bodies: web.json_response(
            [{"status": 201, "id": "dev_1"}, {"status": 503, "code": "unavailable", "detail": "full"}]
        ),
    ]
    done = await run(stand_in.url, "-", "--retry-for", "20", given=line("ada") + line("bob", "t2"))
    assert (done.code, done.out) == (0, "2 new, 0 known, 0 refused\n")
    assert [len(bodies) for _, _, bodies in stand_in.asked] == [2, 2, 2, 1]
    assert stand_in.asked[-1][2] == [{"user": "bob", "platform": "fcm", "token": "t2"}]
    assert {headers["Authorization"] for _, headers, _ in stand_in.asked} == {f"Bearer {KEY}"}


async def test_a_batch_that_is_too_large_is_halved(stand_in: StandIn) -> None:
    stand_in.plan = [problem(413, "too_large")]
    done = await run(stand_in.url, "-", given="".join(line("ada", f"t{n}") for n in range(4)))
    assert (done.code, done.out) == (0, "4 new, 0 known, 0 refused\n")
    assert sum(len(bodies) for _, _, bodies in stand_in.asked[1:]) == 4


async def test_a_hub_that_stays_away_ends_it_and_says_where(stand_in: StandIn) -> None:
    stand_in.plan = [problem(503, "unavailable", "the store is away")] * 100
    done = await run(stand_in.url, "-", "--retry-for", "0", given=line("ada"))
    assert done.code == 1 and done.out == ""
    assert "the store is away" in done.err and "from line 1 on" in done.err


async def test_a_key_that_may_not(hub: LiveHub) -> None:
    done = await run(hub.url, "-", given=line("ada"), key=key_of(hub, "publisher"))
    assert done.code == 1 and "'admin'" in done.err and len(hub.hub.devices) == 0


async def test_a_line_of_any_length_needs_no_memory(hub: LiveHub) -> None:
    given = line("ada") + "x" * 5_000_000 + "\n" + line("bob", "t2")
    done = await run(hub.url, "-", given=given, key=key_of(hub))
    assert (done.code, done.out) == (1, "2 new, 0 known, 1 refused\n")
    assert done.err == "line 2: the line is longer than 1048576 bytes\n"


async def test_nothing_to_import(hub: LiveHub) -> None:
    assert await run(hub.url, "-", key=key_of(hub)) == (0, "0 new, 0 known, 0 refused\n", "")


async def test_a_file_that_cant_be_read(tmp_path: Path) -> None:
    done = await run("http://127.0.0.1:1", str(tmp_path / "none.ndjson"))
    assert done.code == 1 and "none.ndjson can't be read: No such file" in done.err
    done = await run("http://127.0.0.1:1", str(tmp_path))
    assert done.code == 1 and f"can't be read: {os.strerror(21)}" in done.err


@pytest.mark.parametrize("arguments", [(), ("-", "--retry-for", "-1"), ("-", "--url", "ftp://x"), ("a", "b")])
async def test_wrong_usage(arguments: tuple[str, ...]) -> None:
    assert (await run("http://127.0.0.1:1", *arguments)).code == 2


async def test_without_a_key() -> None:
    process = await asyncio.create_subprocess_exec(
        *HUBD, "import-devices", "-", stdin=PIPE, stdout=PIPE, stderr=PIPE, env=environment()
    )
    _, err = await asyncio.wait_for(process.communicate(b""), 60)
    assert process.returncode == 2 and b"HUBD_KEY" in err
