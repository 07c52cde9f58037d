"""`hubd publish` as a real process, against a stand-in for the hub."""

import asyncio
import json
import os
import time
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from tests.command import HUBD, Done, environment
from tests.stand_in_hub import StandIn, accepted, hang_up, problem, running_stand_in

KEY = "hub_test_0123456789abcdef"


@pytest.fixture
async def hub() -> AsyncIterator[StandIn]:
    async with running_stand_in() as stand_in:
        yield stand_in


async def start(hub: StandIn | str, *arguments: str, **environ: str) -> Process:
    url = hub if isinstance(hub, str) else hub.url
    environ = environment(HUBD_URL=url, HUBD_KEY=KEY) | environ
    return await asyncio.create_subprocess_exec(
        *HUBD, "publish", *arguments, stdin=PIPE, stdout=PIPE, stderr=PIPE, env=environ
    )


async def finish(process: Process, given: str | bytes = b"") -> Done:
    """Feed it the rest and wait for its end. What it prints never has the key in it."""
    given = given.encode() if isinstance(given, str) else given
    try:
        out, err = await asyncio.wait_for(process.communicate(given), 30)
    except TimeoutError:
        process.kill()
        raise
    assert KEY not in (out + err).decode()
    assert process.returncode is not None
    return Done(process.returncode, out.decode(), err.decode())


async def publish(hub: StandIn | str, *arguments: str, given: str | bytes = b"", **environ: str) -> Done:
    return await finish(await start(hub, *arguments, **environ), given)


async def test_one_is_published_with_all_that_was_said(hub: StandIn) -> None:
    done = await publish(
        hub, "--to", "user:42", "--to", "team:a", "--title", "Shipped", "--body", "Order 1234", "--link", "/orders/1",
        "--type", "order", "--priority", "critical", "--persistence", "persistent", "--ttl", "0", "--id", "order-1234",
        "--push", '{"apns": {"badge": 3}}',
    )  # fmt: skip
    ((path, headers, body),) = hub.asked
    assert path == "/api/notifications"
    assert headers["Authorization"] == f"Bearer {KEY}"
    assert headers["Content-Type"] == "application/json"
    assert body == {
        "to": ["user:42", "team:a"],
        "notification": {"type": "order", "title": "Shipped", "body": "Order 1234", "url": "/orders/1"},
        "id": "order-1234", "priority": "critical", "persistence": "persistent", "ttl": 0,
        "push": {"apns": {"badge": 3}},
    }  # fmt: skip
    assert (done.code, json.loads(done.out), done.err) == (0, accepted(body), "")


async def test_a_title_is_enough(hub: StandIn) -> None:
    done = await publish("http://127.0.0.1:1", "--url", hub.url + "/", "--to", "user:42", "--title", "Grüße")
    (body,) = hub.published
    assert body.pop("id")
    assert body == {"to": "user:42", "notification": {"type": "alert", "title": "Grüße"}}
    assert done.code == 0


async def test_a_busy_hub_is_asked_again_with_the_same_id_and_not_too_soon(hub: StandIn) -> None:
    hub.plan = [problem(503, "unavailable", headers={"Retry-After": "1"}), hang_up, problem(429, "rate_limited")]
    started = time.monotonic()
    done = await publish(hub, "--to", "user:42", "--title", "x")
    assert time.monotonic() - started >= 1
    assert (done.code, done.err) == (0, "")
    assert len(hub.published) == 4
    assert len({body["id"] for body in hub.published}) == 1


async def test_a_refusal_is_one_line_with_every_wrong_field_and_1(hub: StandIn) -> None:
    wrong = [{"path": "to", "message": "is\nwrong"}, {"path": "", "message": "is too deep"}]
    hub.plan = [problem(422, "invalid", "2 fields", errors=wrong)]
    done = await publish(hub, "--to", "a::b", "--title", "x")
    assert done == Done(1, "", "hubd: 422 invalid: to: is wrong; is too deep\n")
    hub.plan = [problem(401, "unauthorized", "this key is not known")]
    assert (await publish(hub, "--to", "a", "--title", "x")).err == "hubd: 401 unauthorized: this key is not known\n"


@pytest.mark.parametrize(
    "answer",
    [
        lambda request, body: web.Response(status=302, headers={"Location": "/api/notifications/batch"}),
        lambda request, body: web.Response(text="<html>", content_type="text/html"),
        lambda request, body: web.Response(status=404, text="nothing here"),
        lambda request, body: web.json_response([1]),
    ],
)
async def test_what_is_no_hub_is_told(hub: StandIn, answer: Callable[[web.Request, Any], Any]) -> None:
    for arguments in (["--to", "a", "--title", "x"], ["--to", "a", "--stdin"]):
        hub.plan = [answer]
        done = await publish(hub, *arguments, given='{"title": "x"}\n{"title": "y"}')
        assert done.code == 1
        assert "is --url right?" in done.err
        assert len(done.err.splitlines()) == 1
    assert len(hub.asked) == 2


async def test_nobody_there_is_one_line_and_1() -> None:
    done = await publish("http://127.0.0.1:1", "--to", "a", "--title", "x", "--retry-for", "0.5")
    assert done == Done(1, "", "hubd: can't reach http://127.0.0.1:1: Connection refused\n")


async def test_a_retry_after_that_is_too_long_is_not_waited_for(hub: StandIn) -> None:
    hub.plan = [problem(429, "rate_limited", "slow down", headers={"Retry-After": "3600"})]
    done = await publish(hub, "--to", "a", "--title", "x")
    assert (done.code, done.err) == (1, "hubd: 429 rate_limited: slow down\n")


@pytest.mark.parametrize(
    "arguments",
    [
        [], ["--to", "a"], ["--title", "x"], ["--to", "a", "--title", "x", "--text"],
        ["--stdin", "--text"], ["--stdin", "--title", "x"], ["--stdin", "--id", "x"], ["--stdin", "--body", "x"],
        ["--to", "a", "--title", "x", "--priority", "high"], ["--to", "a", "--title", "x", "--ttl", "-1"],
        ["--to", "a", "--title", "x", "--url", "127.0.0.1:8080"],
        ["--to", "a", "--title", "x", "--url", "ftp://127.0.0.1"], ["--to", "a", "--title", "x", "--url", "http://a:b"],
        ["--to", "a", "--title", "x", "--key", ""], ["--to", "a", "--title", "x", "--key", f"{KEY}\n"],
        ["--to", "a", "--title", "x", "--key", f"Bearer {KEY}"],
        ["--to", "a", "--title", "x", "--push", "badge"], ["--to", "a", "--title", "x", "--push", "[1]"],
    ],
)  # fmt: skip
async def test_publish_used_wrongly_ends_with_2(hub: StandIn, arguments: list[str]) -> None:
    done = await publish(hub, *arguments)
    assert (done.code, done.out) == (2, "")
    assert hub.asked == []


# Publishing a feed


async def test_lines_are_whole_publishes_or_bare_notifications(hub: StandIn) -> None:
    lines = [
        {"to": "user:1", "notification": {"type": "a", "title": "1"}, "id": "mine", "priority": "critical"},
        {"notification": {"title": "2"}},
        {"title": "3", "count": 5},
        {"type": "b", "notification": "a word"},
    ]
    given = "\n".join(json.dumps(line) for line in lines)
    options = ["--to", "team:a", "--to", "team:b", "--type", "t", "--priority", "important", "--ttl", "9"]
    done = await publish(hub, "--stdin", *options, given=given)
    assert done == Done(0, "", "4 published, 0 refused\n")
    ids = [body.pop("id") for body in hub.published]
    assert ids[0] == "mine"
    assert len(set(ids)) == 4
    more = {"to": ["team:a", "team:b"], "priority": "important", "ttl": 9}
    assert hub.published == [
        {"to": "user:1", "notification": {"type": "a", "title": "1"}, "priority": "critical", "ttl": 9},
        {"notification": {"type": "t", "title": "2"}} | more,
        {"notification": {"type": "t", "title": "3", "count": 5}} | more,
        {"notification": {"type": "b", "notification": "a word"}} | more,
    ]


async def test_lines_of_text_stay_text_whatever_they_look_like(hub: StandIn) -> None:
    given = 'plain\r\n\n   \n{"title": "json"}\nbytes \xff\nlast, without an end'.encode("latin-1")
    done = await publish(hub, "--stdin", "--text", "--to", "logs", "--type", "log", given=given)
    assert done == Done(0, "", "4 published, 0 refused\n")
    texts = ["plain", '{"title": "json"}', "bytes �", "last, without an end"]
    assert [body["notification"] for body in hub.published] == [{"type": "log", "title": text} for text in texts]
    await publish(hub, "--stdin", "--text", "--to", "logs", "--title", "app.log", given="x")
    assert hub.published[-1]["notification"] == {"type": "alert", "title": "app.log", "body": "x"}


async def test_lines_that_make_no_sense_are_named_and_the_others_go_out(hub: StandIn) -> None:
    given = b"\n".join(
        [
            b'{"title": "1"}', b"", b"not json", b"[1]", b'{"title": 1e400}', b'{"title": NaN}',
            b'{"title": "\\ud800"}', b'{"title": "\xff"}', b'{"title": "' + b"x" * 1048576 + b'"}', b"[" * 100000,
            b'{"title": "11"}',
        ]
    )  # fmt: skip
    done = await publish(hub, "--stdin", "--to", "a", given=given)
    assert done.code == 1
    assert [body["notification"]["title"] for body in hub.published] == ["1", "11"]
    *lines, last = done.err.splitlines()
    assert [line.split(":")[0] for line in lines] == [f"line {number}" for number in range(3, 11)]
    assert last == "2 published, 8 refused"
    done = await publish(hub, "--stdin", given='{"title": "1"}')
    assert done == Done(1, "", 'line 1: there is no "to" in the line, and no --to\n0 published, 1 refused\n')


async def test_a_line_without_end_is_not_kept_and_not_cut_into_pieces(hub: StandIn) -> None:
    endless = b"x" * 3 * 1024 * 1024
    done = await publish(hub, "--stdin", "--text", "--to", "a", given=endless + b"\nshort\n" + endless)
    told = "the line is longer than 1048576 bytes"
    assert done == Done(1, "", f"line 1: {told}\nline 3: {told}\n1 published, 2 refused\n")
    assert [body["notification"]["title"] for body in hub.published] == ["short"]


async def test_lines_that_the_hub_refuses_are_named(hub: StandIn) -> None:
    def refuse_second(request: web.Request, body: Any) -> web.Response:
        wrong = {"status": 422, "code": "invalid", "detail": "x", "errors": [{"path": "to", "message": "is wrong"}]}
        return web.json_response([accepted(body[0]), wrong, *map(accepted, body[2:])])

    hub.plan = [refuse_second]
    done = await publish(hub, "--stdin", "--text", "--to", "a", given="one\n\ntwo\nthree\n")
    assert done == Done(1, "", "line 3: 422 invalid: to: is wrong\n2 published, 1 refused\n")


async def test_lines_of_which_the_hub_says_later_are_sent_again_alone(hub: StandIn) -> None:
    def later(request: web.Request, body: Any) -> web.Response:
        busy = {"status": 429, "code": "rate_limited", "detail": "x"}
        return web.json_response([accepted(body[0]), busy, *map(accepted, body[2:])])

    hub.plan = [later]
    done = await publish(hub, "--stdin", "--text", "--to", "a", given="1\n2\n3\n")
    assert done == Done(0, "", "3 published, 0 refused\n")
    assert [[one["notification"]["title"] for one in body] for _, _, body in hub.asked] == [["1", "2", "3"], ["2"]]
    assert hub.published[1]["id"] == hub.published[3]["id"]


async def test_a_slow_feed_goes_out_line_by_line_at_once(hub: StandIn) -> None:
    process = await start(hub, "--stdin", "--text", "--to", "a")
    assert process.stdin is not None
    delays = []
    for number in range(1, 6):
        written = time.monotonic()
        process.stdin.write(f"{number}\n".encode())
        await hub.until(number)
        delays.append(time.monotonic() - written)
        await asyncio.sleep(0.3)
    assert (await finish(process)).code == 0
    assert min(delays) < 0.15  # the best one, because the machine may be busy
    assert [len(body) for _, _, body in hub.asked] == [1, 1, 1, 1, 1]


async def test_a_fast_feed_goes_out_in_batches_in_order(hub: StandIn) -> None:
    count = 20000
    given = "".join(f"{number}\n" for number in range(count))
    done = await publish(hub, "--stdin", "--text", "--to", "a", given=given)
    assert done == Done(0, "", f"{count} published, 0 refused\n")
    assert [body["notification"]["title"] for body in hub.published] == [str(number) for number in range(count)]
    assert len({body["id"] for body in hub.published}) == count
    sizes = [len(body) for _, _, body in hub.asked]
    assert max(sizes) == 1000
    assert len(sizes) <= 30


async def test_a_stream_of_single_lines_is_gathered(hub: StandIn) -> None:
    process = await start(hub, "--stdin", "--text", "--to", "a")
    assert process.stdin is not None
    process.stdin.write(b"0\n")
    await hub.until(1)
    started = time.monotonic()
    for number in range(1, 101):
        process.stdin.write(f"{number}\n".encode())
        await asyncio.sleep(0.01)
    assert (await finish(process)).code == 0
    assert [body["notification"]["title"] for body in hub.published] == [str(number) for number in range(101)]
    assert len(hub.asked) <= 5 * (time.monotonic() - started) + 3


async def test_an_outage_is_survived_without_a_loss_and_without_a_second_time(hub: StandIn) -> None:
    hub.plan = [hang_up, problem(503, "unavailable", "stopping"), hang_up]
    done = await publish(hub, "--stdin", "--text", "--to", "a", given="1\n2\n3\n")
    assert done.code == 0
    first, *others = done.err.splitlines()
    assert first.startswith("note: can't reach ")
    assert first.endswith("trying again for 60 s")
    assert others == ["3 published, 0 refused"]
    bodies = [body for _, _, body in hub.asked]
    assert len(bodies) == 4
    assert all(body == bodies[0] for body in bodies)


async def test_a_hub_that_stays_away_ends_the_feed_and_says_where() -> None:
    process = await start("http://127.0.0.1:1", "--stdin", "--text", "--to", "a", "--retry-for", "0.3")
    assert process.stdin is not None
    process.stdin.write(b"\n1\n")
    done = Done(
        await process.wait(), *[(await pipe.read()).decode() for pipe in (process.stdout, process.stderr) if pipe]
    )
    assert done.code == 1
    note, error = done.err.splitlines()
    assert note.startswith("note: ")
    assert error.startswith("hubd: can't reach http://127.0.0.1:1: Connection refused (from line 2 on")


async def test_a_key_that_is_refused_ends_the_feed(hub: StandIn) -> None:
    hub.plan = [problem(401, "unauthorized", "this key is not known")]
    process = await start(hub, "--stdin", "--text", "--to", "a")
    assert process.stdin is not None
    process.stdin.write(b"1\n")  # and the feed stays open: nothing must wait for its end
    assert await asyncio.wait_for(process.wait(), 10) == 1
    assert process.stderr is not None
    assert (await process.stderr.read()).startswith(b"hubd: 401 unauthorized: this key is not known")


async def test_a_batch_that_is_too_large_is_halved_until_it_fits(hub: StandIn) -> None:
    def at_most_two(request: web.Request, body: Any) -> web.Response:
        if len(body) > 2 or body[-1]["notification"]["title"] == "huge":
            return problem(413, "too_large", "too large")(request, body)
        return web.json_response([accepted(one) for one in body])

    hub.plan = [at_most_two] * 20
    given = "".join(f"{number}\n" for number in range(4)) + "huge\n"
    done = await publish(hub, "--stdin", "--text", "--to", "a", given=given)
    assert done == Done(1, "", "line 5: 413 too_large: too large\n4 published, 1 refused\n")


async def test_a_hub_that_stands_still_slows_the_feed_instead_of_filling_the_memory(hub: StandIn) -> None:
    hub.gate.clear()
    process = await start(hub, "--stdin", "--text", "--to", "a")
    assert process.stdin is not None
    process.stdin.write(b"first\n")
    await hub.until(1)
    os.set_blocking(descriptor := process.stdin.get_extra_info("pipe").fileno(), False)
    written, line, quiet_since = 0, b"x" * 1023 + b"\n", time.monotonic()
    while time.monotonic() - quiet_since < 1:
        try:
            written += os.write(descriptor, line * 16)
            quiet_since = time.monotonic()
        except BlockingIOError:
            await asyncio.sleep(0.01)
        assert written < 16 * 1024 * 1024
    assert written >= 64 * 1024  # what a pipe holds
    hub.gate.set()
    await finish(process)
    assert sum(len(body["notification"]["title"]) for body in hub.published) >= written - written // 1000 * 2


async def test_a_file_can_be_the_feed(hub: StandIn, tmp_path: Path) -> None:
    path = tmp_path / "feed.ndjson"
    path.write_text('{"to": "a", "notification": {"title": "x"}}\n')
    with path.open("rb") as feed:
        process = await asyncio.create_subprocess_exec(
            *HUBD, "publish", "--stdin", stdin=feed, stderr=PIPE, env=environment(HUBD_URL=hub.url, HUBD_KEY=KEY)
        )
        assert await process.wait() == 0
    assert len(hub.published) == 1
