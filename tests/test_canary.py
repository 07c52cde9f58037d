"""Whatever comes in or fails, no token, key, body or address shows on standard error or output.

A real hub at level debug is given canaries in every place there is, good ones, bad ones and some that make it fail.
"""

import asyncio
import base64
import json
import re
import ssl
import sys
import urllib.parse
from asyncio.subprocess import PIPE, create_subprocess_exec
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from hubd.edge.keys import new_key
from tests.canaries import HOST, PIECE, WORD, Canaries, Hub, config_text
from tests.command import ROOT, environment, with_plugins
from tests.edge.ws_client import BINARY, JSON, MSGPACK, TEXT, Refused, masked
from tests.store.postgres_server import PostgresServer


def test_a_canary_is_found_in_every_form() -> None:
    canaries = Canaries()
    word = canaries.plain("title")
    for text in (
        word,
        word.upper(),
        repr(word.encode()),
        base64.b64encode(f"a {word} b".encode()).decode(),
        base64.b64encode(f"ab {word} b".encode()).decode(),
        base64.urlsafe_b64encode(f"abc {word} b".encode()).decode(),
        word.encode().hex(),
        word[:PIECE],
    ):
        assert canaries.found_in(f"2026 INFO {text} tail") == {"title"}, text
    assert canaries.found_in("all is well") == set()


@pytest.fixture(scope="module")
def postgres() -> Iterator[PostgresServer]:
    server = PostgresServer()
    yield server
    server.remove()


@pytest.fixture(params=["plain", "json"])
async def hub(request: pytest.FixtureRequest, tmp_path: Path, postgres: PostgresServer) -> AsyncIterator[Hub]:
    canaries = Canaries()
    secret = canaries.plain("secret") * 3
    key, digest = new_key("backend")
    canaries.keep("key", key)
    canaries.keep("digest", digest)
    config = tmp_path / "config.toml"
    config.write_text(config_text(canaries, secret, digest, request.param))
    database = f"127.0.0.1:{postgres.port}/{postgres.new_database()}"
    environ = environment(
        HUBD_PLUGINS__PAGER__VAPID_PRIVATE_KEY=canaries.plain("vapid"),
        HUBD_STORE__URL=f"postgresql://hubd:{canaries.plain('password')}@{database}",
        PYTHONASYNCIODEBUG="1" if request.param == "json" else "",
        PYTHONPATH=with_plugins(tmp_path, "pager"),
    )
    command = ("-X", "dev", str(ROOT / "tests" / "canary_hub.py"), "serve", "--config", str(config), "--port", "0")
    process = await create_subprocess_exec(sys.executable, *command, stdout=PIPE, stderr=PIPE, env=environ)
    assert process.stdout is not None and process.stderr is not None
    async with asyncio.timeout(20):
        ready = (await process.stdout.readline()).decode()
    found = re.fullmatch(rf"hubd listening on http://{HOST}:(\d+)\n", ready)
    assert found, ready + (await process.stderr.read()).decode()
    hub = Hub(process, int(found[1]), canaries, secret, key)
    yield hub
    for client in hub.clients:
        client.writer.transport.abort()
    if process.returncode is None:
        process.kill()
        await process.wait()
    await hub.reading


async def test_no_canary_shows(hub: Hub) -> None:
    async with aiohttp.ClientSession(f"http://{HOST}:{hub.port}") as session:
        await tokens_everywhere(hub, session)
        await keys(hub, session)
        await publishing(hub, session)
        await other_calls(hub, session)
        await what_is_no_http(hub)
        await messages(hub)
        await a_slow_consumer(hub, session)
        await faults(hub, session)
        await reloading(hub)
        await metrics(hub, session)
        client = await hub.open(query={"token": hub.token()})
        hub.process.terminate()
        await client.closed()
    async with asyncio.timeout(20):
        assert hub.process.stdout is not None
        out = (await hub.process.stdout.read()).decode()
        await hub.process.wait()
        await hub.reading
    err = hub.err.decode("ascii")
    assert hub.canaries.found_in(out + err) == set(), err
    assert "cnry" not in (out + err).lower()
    assert hub.process.returncode == 0
    every_line_has_its_form(err)


def every_line_has_its_form(err: str) -> None:
    plain = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z (DEBUG|INFO|WARNING|ERROR) \S+ [a-z_]+: .*")
    lines = err.splitlines()
    assert len(lines) > 200
    if lines[0].startswith("{"):
        assert all({"ts", "level", "logger", "event", "message"} <= set(json.loads(line)) for line in lines)
    else:
        assert [line for line in lines if not plain.fullmatch(line) and not line.startswith("    ")] == []


async def tokens_everywhere(hub: Hub, session: aiohttp.ClientSession) -> None:
    for token in hub.tokens():
        quoted = urllib.parse.quote(token)
        for headers, query in (
            ({"Authorization": f"Bearer {token}"}, ""),
            ({"Authorization": f"Basic {token}"}, ""),
            ({"Authorization": f"Bearer {token} {token}"}, ""),
            ({"Cookie": f"hubd_token={token}", "Sec-Fetch-Site": "same-origin"}, ""),
            ({}, f"?token={quoted}"),
            ({}, f"?user={quoted}"),
            ({}, f"?ticket={quoted}"),
            ({}, f"?cursor={quoted}&topics={quoted}&wait={quoted}"),
        ):
            lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
            for accept in ("text/event-stream", "application/json", "*/*\r\nUpgrade: websocket"):
                head = f"GET /notifications{query} HTTP/1.1\r\nHost: x\r\nAccept: {accept}\r\n{lines}\r\n"
                await hub.raw(head.encode("latin-1", "replace"), None) if len(token) < 1000 and accept[0] != "a" else ""
            if len(token) < 1000 and token.isascii():
                try:
                    client = await hub.open(headers=headers, query={}, path=f"/notifications{query}")
                    client.hang_up()
                except (Refused, AssertionError):
                    pass
        for subprotocol in (JSON, None):
            client = await hub.open(subprotocol=subprotocol)
            client.send(action="auth", token=token, ref=hub.canaries.plain("ref"))
            await asyncio.sleep(0)
            client.hang_up()
    await hub.said("connection_opened", "jwks_failed", "task_failed")


async def keys(hub: Hub, session: aiohttp.ClientSession) -> None:
    wrong = hub.canaries.keep("wrong", new_key("backend")[0])
    unknown = hub.canaries.keep("unknown", new_key("cnrykeyxqzjv")[0])
    for key in (hub.key, wrong, unknown, "hub_" + hub.canaries.plain("short"), hub.canaries.plain("nokey")):
        headers = {"Authorization": f"Bearer {key}"}
        for method, path in (
            ("POST", "/api/notifications"),
            ("GET", "/api/channels"),
            ("GET", f"/api/users/42?key={key}"),
            ("GET", f"/api/nothing/{key}"),
            ("GET", f"/notifications?token={key}"),
            ("GET", "/metrics"),
        ):
            async with session.request(method, path, headers=headers) as response:
                await response.read()


async def publishing(hub: Hub, session: aiohttp.ClientSession) -> None:
    word, headers = hub.canaries.word, {"Authorization": f"Bearer {hub.key}"}
    good = {
        "to": ["notifications", "user:42", "news:cnrytopicxqzjv"],
        "notification": {"type": word("type"), "title": word("title"), "body": word("body"), word("name"): word("v")},
        "collapse_key": hub.canaries.plain("collapse"),
        "group": hub.canaries.plain("group"),
    }
    bodies: list[Any] = [good, good | {"id": "n1"}, good | {"id": "n1", "ttl": 5}]
    bodies += [good | {field: word("wrong")} for field in ("to", "id", "priority", "persistence", "ttl", "deliver_at")]
    bodies += [good | {word("field"): 1}, {"to": word("to")}, [word("list")], word("text"), None]
    bodies += [good | {"notification": {"type": "t", "_x": word("under"), "hub" + word("hub"): 1, "id": word("id")}}]
    bodies += [good | {"notification": {"type": "t", "deep": json.loads("[" * 30 + "]" * 30), word("deep"): 1}}]
    raw = [json.dumps(body).encode() for body in bodies]
    raw += [b'{"to":"cnrydup000xqzjv","to":"cnrydup000xqzjv"}', b'{"cnryopen000xqzjv', b"\xffcnrybytes000xqzjv"]
    raw += [b'{"to":"notifications","notification":{"type":"cnrynan000xqzjv","n":NaN}}', b"[" * 5000 + b"cnryx000xqzjv"]
    for data in [*raw, b"[" + b",".join(raw[:12]) + b"]"]:
        for path in ("/api/notifications", "/api/notifications/batch"):
            for kind in ("application/json", "application/msgpack"):
                async with session.post(path, data=data, headers=headers | {"Content-Type": kind}) as response:
                    await response.read()
    await hub.said("published")


async def other_calls(hub: Hub, session: aiohttp.ClientSession) -> None:
    plain = hub.canaries.plain
    server, user = {"Authorization": f"Bearer {hub.key}"}, {"Authorization": f"Bearer {hub.token()}"}
    async with session.post("/api/tickets", headers=user) as response:
        assert response.status == 201
        ticket = hub.canaries.keep("ticket", (await response.json())["ticket"])
    for _ in range(2):
        async with session.get(f"/notifications?ticket={ticket}", headers={"Accept": "text/event-stream"}) as response:
            assert response.status == 200
            await response.content.readany()
    for method, path, body in (
        ("PUT", f"/api/subscriptions/{plain('topic')}", None),
        ("PUT", f"/api/subscriptions/{plain('topic')}%20%0a{plain('line')}", None),
        ("POST", "/api/acks", {"ids": [plain("ack")], plain("field"): 1}),
        ("POST", "/api/visibility", {"connection": plain("connection"), "state": plain("state")}),
        ("POST", "/api/push-subscriptions", {"endpoint": f"https://push.example.com/{plain('endpoint')}"}),
        ("POST", "/api/devices", {"platform": "apns", "token": plain("device")}),
        ("GET", f"/api/notifications/{plain('id')}", None),
        ("GET", f"/api/channels/{plain('channel')}/history?limit={plain('limit')}", None),
        ("GET", f"/api/users/{plain('user')}?q={plain('query')}", None),
        ("POST", f"/api/users/{plain('user')}/revoke", {plain("body"): 1}),
        ("GET", f"/{plain('path')}?token={plain('token')}#{plain('fragment')}", None),
        ("PATCH", f"/api/notifications/{plain('id')}", {"x": plain("body")}),
        ("CNRYMETHODXQZJV", "/api/notifications", None),
    ):
        for headers in (server, user, {"Origin": f"https://{plain('origin')}.example.com", "X-Cnry": plain("header")}):
            async with session.request(method, path, json=body, headers=headers) as response:
                await response.read()


async def what_is_no_http(hub: Hub) -> None:
    token, word = hub.token().encode(), hub.canaries.plain("raw").encode()
    hello = ssl.MemoryBIO()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    tls = context.wrap_bio(ssl.MemoryBIO(), hello, server_hostname=f"{word.decode()}.example.com")
    with pytest.raises(ssl.SSLWantReadError):
        tls.do_handshake()
    for data in (
        b"GET /notifications?token=%b\x00 HTTP/1.1\r\nHost: x\r\n\r\n" % token,
        b"GET /notifications?token=%b\xff\xfe HTTP/1.1\r\nHost: x\r\n\r\n" % token,
        b"GET /notifications?token=%b HTTP/9.9\r\nHost: x\r\n\r\n" % token,
        b"GET http://[%b/?token=%b HTTP/1.1\r\nHost: x\r\n\r\n" % (word, token),
        b"%b /notifications?token=%b\r\n\r\n" % (word, token),
        b"GET /notifications?token=%b HTTP/1.1\r\nHost: x\r\nAuthorization : Bearer %b\r\n\r\n" % (token, token),
        b"GET / HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %b\x00\r\n\r\n" % token,
        b"GET / HTTP/1.1\r\nHost: x\r\n%b: %b\r\n\r\n" % (word * 1000, token),
        b"GET /%b HTTP/1.1\r\nHost: x\r\n\r\n" % (word * 3000),
        b"GET / HTTP/1.1\r\nHost: %b\r\nHost: %b\r\n\r\n" % (word, word),
        b"POST /api/notifications HTTP/1.1\r\nHost: x\r\nContent-Length: %b\r\n\r\n" % word,
        b"POST /api/notifications HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n%b\r\n" % word,
        b"POST /api/notifications HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: %b\r\n\r\n%b\r\n" % (word, word),
        b"POST /api/notifications HTTP/1.1\r\nHost: x\r\nContent-Encoding: gzip\r\nContent-Length: 9\r\n\r\n"
        + word[:9],
        b"POST /api/notifications HTTP/1.1\r\nHost: x\r\nExpect: %b\r\nContent-Length: 9\r\n\r\n" % word,
        b"CONNECT %b:443 HTTP/1.1\r\nHost: x\r\n\r\n" % word,
        b"\x00\x01%b\r\n\r\n" % word,
        word,
        hello.read(),
    ):
        await hub.raw(data)


async def messages(hub: Hub) -> None:
    plain, token = hub.canaries.plain, hub.token()
    for subprotocol in (JSON, MSGPACK, None):
        for data in (
            masked(TEXT, plain("text").encode()),
            masked(BINARY, plain("binary").encode()),
            masked(TEXT, b"\xff" + plain("utf8").encode()),
            masked(TEXT, plain("unmasked").encode(), mask=False),
            masked(TEXT, plain("reserved").encode(), reserved=3),
            masked(0xB, plain("opcode").encode()),
            masked(0x9, plain("ping").encode()),
            masked(0x8, b"\x00\x01" + plain("close").encode()),
            masked(TEXT, plain("big").encode() * 10_000),
            masked(TEXT, json.dumps({"action": plain("action"), "ref": plain("ref")}).encode()),
            masked(TEXT, json.dumps({"action": "subscribe", "topic": plain("t") + "\n", plain("f"): 1}).encode()),
            masked(TEXT, json.dumps({"action": "ack", "ids": [plain("id"), {plain("x"): 1}]}).encode()),
            masked(TEXT, json.dumps({"action": "auth", "token": hub.token(secret="y" * 64)}).encode()),
            masked(TEXT, json.dumps({"action": "publish", "to": "notifications", "notification": 1}).encode()),
        ):
            client = await hub.open(subprotocol=subprotocol, query={"token": token})
            client.write(data)
            await asyncio.sleep(0.005)
            client.hang_up()


async def a_slow_consumer(hub: Hub, session: aiohttp.ClientSession) -> None:
    slow = await hub.open(query={"token": hub.token(user="slow")}, receive_buffer=2048)
    headers = {"Authorization": f"Bearer {hub.key}"}
    for _ in range(200):
        if b"slow_consumer" in hub.err:
            break
        text = hub.canaries.plain("slow") * 1000
        body = {"to": "user:slow", "notification": {"type": "t", "text": text}}
        async with session.post("/api/notifications", json=body, headers=headers) as response:
            assert response.status == 202
    await hub.said("slow_consumer")
    slow.hang_up()


async def faults(hub: Hub, session: aiohttp.ClientSession) -> None:
    """Everything that is planted fails, and is told."""
    headers = {"Authorization": f"Bearer {hub.key}"}
    client = await hub.open(subprotocol=JSON, query={"token": hub.token()})
    for type_, status in (("later", 202), ("task", 500), ("listener", 202), (WORD, 202)):
        body = {"to": "user:42", "notification": {"type": type_, "title": hub.canaries.word("planted")}}
        async with session.post("/api/notifications", json=body, headers=headers) as response:
            assert response.status == status
    await hub.said("request_failed", "loop_fault", "ignored_fault", "write_failed")
    await hub.said("Task exception was never", "strange data")
    for action in ({"action": "presence", "topic": WORD}, {"action": "auth", "token": hub.canaries.plain("a") + WORD}):
        client = await hub.open(subprotocol=JSON, query={"token": hub.token()})
        client.send(**action)
        await asyncio.sleep(0.05)
        client.hang_up()
    await hub.said("presence_listener_failed")


async def reloading(hub: Hub) -> None:
    """A config in which everything is wrong, and canaries stand where they should not."""
    plain = hub.canaries.plain
    config = Path(await asyncio.to_thread(lambda: config_of(hub)))
    good = config.read_text()
    for text in (
        good.replace(hub.secret, plain("newsecret")[:20]),
        good.replace("drain_s = 2", f"drain_s = '{plain('number')}'\nno_such_option = '{plain('value')}'"),
        good + f"\n[plugins.x\nx = {plain('toml')}",
        good.replace(hub.secret, hub.canaries.keep("other", plain("other") * 4)),
    ):
        before = hub.err.count(b"config_")
        config.write_text(text)
        hub.process.send_signal(1)
        deadline = asyncio.get_running_loop().time() + 10
        while hub.err.count(b"config_") == before:
            assert asyncio.get_running_loop().time() < deadline, f"a reload says nothing: {hub.err[-3000:].decode()}"
            await asyncio.sleep(0.02)
        await asyncio.sleep(0.1)
    config.write_text(good)
    hub.process.send_signal(1)
    await asyncio.sleep(0.3)


async def metrics(hub: Hub, session: aiohttp.ClientSession) -> None:
    """They tell of all that, and hold no canaries either."""
    async with session.get("/metrics", headers={"Authorization": f"Bearer {hub.key}"}) as response:
        assert response.status == 200
        text = await response.text()
    assert hub.canaries.found_in(text) == set() and "cnry" not in text.lower()
    assert 'hubd_reloads_total{result="refused"} 3.0' in text
    assert re.search(r'hubd_reloads_total\{result="done"\} [12]\.0', text)
    for sample in ("hubd_loop_lag_seconds_count", 'hubd_log_lines_total{level="error"}', "hubd_slow_consumers_total"):
        assert re.search(rf"{re.escape(sample)} [1-9]", text), sample


def config_of(hub: Hub) -> str:
    """The file that the process was started with."""
    arguments = Path(f"/proc/{hub.process.pid}/cmdline").read_bytes().split(b"\0")
    return arguments[arguments.index(b"--config") + 1].decode()
