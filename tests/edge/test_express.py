"""A publish that is answered at once has the same answer as one that goes by aiohttp."""

import asyncio
from typing import Any

import pytest

from hubd.edge import http_server
from hubd.edge.express import BODY_BYTES, PATH, Express
from hubd.plugin import Notification, PluginConfig, hookimpl
from hubd.tasks import Tasks
from tests.edge.conftest import StartHub
from tests.edge.hooked_hub import hooked
from tests.edge.live_hub import OWN_ORIGIN, Answer, Faults, LiveHub, eventually
from tests.edge.raw_http import Raw, arrived
from tests.steered_store import SteeredStore

GOOD = b'{"to":"user:42","notification":{"type":"x","title":"T"}}'
WITH_ID = b'{"to":["user:42","notifications"],"id":"a1","ttl":5,"priority":"critical","notification":{"type":"x"}}'
BODIES = [
    GOOD,
    WITH_ID,
    b"",
    b"{",
    b"[]",
    b"\xff",
    b'{"to":"user:42","to":"user:43","notification":{"type":"x"}}',
    b'{"to":"nope nope","notification":{"hub":1}}',
    b'{"to":"user:42","notification":{"type":"x","n":18446744073709551616}}',
    b'{"to":"user:42","notification":{"type":"' + b"x" * 200 + b'"},"more":1}',
]
HEADERS = ["", "Authorization: Bearer hub_backend_no", "Authorization: Bearer a.b.c", "Authorization: Basic x"]


class Counted:
    """Counts the requests that the express takes."""

    def __init__(self, hub: LiveHub, monkeypatch: pytest.MonkeyPatch) -> None:
        self.taken = 0
        express = hub.edge.app[http_server.EXPRESS]
        answer = express.answer

        def counted(*what: Any) -> Any:
            self.taken += 1
            return answer(*what)

        monkeypatch.setattr(express, "answer", counted)


@pytest.fixture
def counted(hub: LiveHub, monkeypatch: pytest.MonkeyPatch) -> Counted:
    return Counted(hub, monkeypatch)


def head(hub: LiveHub, size: int, *lines: str, path: str = PATH, version: str = "1.1") -> bytes:
    proof = (
        () if any(line.startswith("Authorization") for line in lines) else (f"Authorization: {hub.bearer('backend')}",)
    )
    all_lines = [f"POST {path} HTTP/{version}", "Host: x", f"Content-Length: {size}", *proof, *filter(None, lines)]
    return "\r\n".join([*all_lines, "\r\n"]).encode()


async def usual(raw: Raw, head: bytes, body: bytes) -> Answer:
    """Ask so that the body comes behind the head."""
    raw.send(head)
    await asyncio.sleep(0.02)
    return await raw.ask(body)


def plain(answer: Answer) -> tuple[int, dict[str, str], Any]:
    """An answer without what is another each time."""
    headers = {name: value for name, value in answer.headers.items() if name != "Date"}
    body = answer.body
    if isinstance(body, dict) and "cursor" in body:
        assert len(body["id"]) in (2, 36)
        body = {name: value for name, value in body.items() if name not in ("id", "cursor")}
    return answer.status, headers, body


@pytest.fixture
async def raw(hub: LiveHub) -> Raw:
    """A connection that has had a request: only behind that there is an express."""
    raw = await Raw.open(hub)
    assert (await raw.ask()).status == 200
    return raw


@pytest.mark.parametrize("body", BODIES, ids=range(len(BODIES)))
async def test_whatever_the_body_the_answer_is_the_same(hub: LiveHub, raw: Raw, counted: Counted, body: bytes) -> None:
    by_aiohttp = await usual(raw, head(hub, len(body)), body) if body else await raw.ask(head(hub, 0))
    assert counted.taken == 0
    if body is WITH_ID:
        body = body.replace(b"a1", b"a2")
    at_once = await raw.ask(head(hub, len(body)) + body)
    assert counted.taken == bool(body)
    assert plain(at_once) == plain(by_aiohttp)
    assert set(at_once.headers) == set(by_aiohttp.headers)


@pytest.mark.parametrize("line", HEADERS)
@pytest.mark.parametrize("key", ["backend", "admin", "news"])
async def test_whoever_asks_the_answer_is_the_same(
    hub: LiveHub, raw: Raw, counted: Counted, line: str, key: str
) -> None:
    line = line or f"Authorization: {hub.bearer(key)}"
    by_aiohttp = await usual(raw, head(hub, len(GOOD), line), GOOD)
    at_once = await raw.ask(head(hub, len(GOOD), line) + GOOD)
    assert counted.taken == 1
    assert plain(at_once) == plain(by_aiohttp)


async def test_what_follows_one_that_asks_for_an_upgrade_is_answered(hub: LiveHub, raw: Raw, counted: Counted) -> None:
    assert (await raw.ask()).status == 200  # the first request of a connection is not the express's alone
    upgrade = head(hub, len(GOOD), "Connection: Upgrade", "Upgrade: websocket") + GOOD
    usual_one = head(hub, len(GOOD)) + GOOD
    raw.send(upgrade + usual_one)
    raw.send(usual_one)
    assert [(await raw.answer()).status for _ in range(3)] == [202] * 3


@pytest.mark.parametrize(
    "line",
    [
        "Origin: https://evil.example",
        "Expect: 100-continue",
        "Content-Encoding: gzip",
        "Content-Type: application/msgpack",
        "Content-Type: Application/MsgPack; a=b",
        "Connection: close",
    ],
)
async def test_what_is_unusual_goes_by_aiohttp(hub: LiveHub, raw: Raw, counted: Counted, line: str) -> None:
    raw.send(head(hub, len(GOOD), line) + GOOD)
    await asyncio.sleep(0.05)
    assert counted.taken == 0


@pytest.mark.parametrize("path", [f"{PATH}?a=1", f"{PATH}/batch", "/api/%6eotifications", "/api/acks"])
async def test_another_address_goes_by_aiohttp(hub: LiveHub, raw: Raw, counted: Counted, path: str) -> None:
    await raw.ask(head(hub, len(GOOD), path=path) + GOOD)
    assert counted.taken == 0


async def test_large_bodies_and_old_clients_go_by_aiohttp(hub: LiveHub, raw: Raw, counted: Counted) -> None:
    large = GOOD.ljust(BODY_BYTES + 1)
    assert (await raw.ask(head(hub, len(large)) + large)).status == 202
    assert (await raw.ask(head(hub, len(GOOD), "Connection: keep-alive", version="1.0") + GOOD)).status == 202
    assert counted.taken == 0
    largest = GOOD.ljust(BODY_BYTES)
    assert (await raw.ask(head(hub, len(largest)) + largest)).status == 202
    assert counted.taken == 1


async def test_the_limit_of_bodies_counts(start_hub: StartHub, monkeypatch: Any) -> None:
    hub = await start_hub(limits={"body_bytes": 64, "message_bytes": 64})
    counted = Counted(hub, monkeypatch)
    raw = await Raw.open(hub)
    await raw.ask()
    body = GOOD.ljust(65)
    assert (await raw.ask(head(hub, len(body)) + body)).status == 413
    assert counted.taken == 0


async def test_where_a_broker_or_a_plugin_has_to_be_waited_for_it_goes_by_aiohttp(
    hub: LiveHub, raw: Raw, counted: Counted
) -> None:
    hub.slow_broker().go.set()
    assert (await raw.ask(head(hub, len(GOOD)) + GOOD)).status == 202
    assert counted.taken == 0


def script(hub: LiveHub) -> list[bytes]:
    """Requests of one connection, each as it is sent; whatever can come of a publish comes of one of them."""
    requests = []
    for body in BODIES:
        requests.append(head(hub, len(body)) + body)
    for number in range(3):  # two of them the same, and one that isn't
        body = WITH_ID.replace(b'"x"', b'"y"') if number == 2 else WITH_ID
        requests.append(head(hub, len(body)) + body)
    for line in [*HEADERS[1:], "authorization: " + hub.bearer("backend"), "Content-Type: text/plain", "X-A: b"]:
        requests.append(head(hub, len(GOOD), line) + GOOD)
    for key in ("other", "admin", "news"):
        requests.append(head(hub, len(GOOD), f"Authorization: {hub.bearer(key)}") + GOOD)
    requests += [head(hub, len(GOOD), f"Origin: {origin}") + GOOD for origin in (OWN_ORIGIN, "https://evil.example")]
    chunked = b"%x\r\n%b\r\n0\r\n\r\n" % (len(GOOD), GOOD)
    requests.append(head(hub, 0, "Transfer-Encoding: chunked").replace(b"Content-Length: 0\r\n", b"") + chunked)
    long = GOOD.replace(b"T", b"T" * 40000)
    requests.append(head(hub, len(long)) + long)
    requests.append(head(hub, len(GOOD), "Connection: keep-alive", version="1.0") + GOOD)
    for n in range(3):  # the last of them is one too many for this second
        body = b'{"to":"user:42","notification":{"type":"x","n":%d}}' % n
        requests.append(head(hub, len(body), f"Authorization: {hub.bearer('publisher')}") + body)
    requests.append(head(hub, len(GOOD), "Connection: close") + GOOD)
    return requests


class Told:
    """Observes what is published."""

    def __init__(self, config: PluginConfig) -> None:
        self.go = asyncio.Event()
        self.told: list[tuple[str, int]] = []

    @hookimpl
    def hubd_published(self, notification: Notification, live: int) -> None:
        self.told.append((notification.cursor, live))


async def all_that_happens(store: SteeredStore | None) -> tuple[Any, ...]:
    """What becomes of the script: answers, deliveries, counts, what plugins are told, what is stored, what is kept."""
    async with hooked(Told, sections={"limits": {"publish_per_s": 2}}, store=store) as hub:
        observing = Tasks()
        hub.hub.observers.start(observing)
        client, _ = await hub.welcomed()
        raw = await Raw.open(hub)
        answers = [await raw.ask()]
        for request in script(hub):
            if b"publisher" not in request:
                hub.clock.advance(1)
            answers.append(await raw.ask(request))
        assert await raw.is_cut()
        counts = hub.hub.counts
        history = await hub.call("GET", "/api/channels/user:42/history")
        (plugin,) = hub.made
        accepted = sum(count for (result, _), count in counts.published.items() if result == "accepted")
        await eventually(lambda: len(plugin.told) == accepted, f"{plugin.told}, of {accepted}")
        await observing.close()
        seconds = {route: (found.counts, found.sum) for route, found in counts.request_seconds.items()}
        return (
            [
                (one.status, {name: text for name, text in one.headers.items() if name != "Date"}, one.body)
                for one in answers
            ],
            await client.messages(),
            [counts.published, counts.deliveries, counts.problems, counts.requests, seconds],
            plugin.told,
            history.body,
            None if store is None else (names_of(store), [type(write).__name__ for write in store.noted]),
        )


def names_of(store: SteeredStore) -> list[tuple[str, str]]:
    return [(type(write).__name__, lane.name) for write, lane in store.written]


@pytest.mark.parametrize("stored", ["no store", "stored", "in trouble"])
async def test_all_that_happens_is_the_same_by_both_ways(monkeypatch: pytest.MonkeyPatch, stored: str) -> None:
    def store() -> SteeredStore | None:
        made = SteeredStore()
        made.trouble = "the disk is full" if stored == "in trouble" else ""
        return None if stored == "no store" else made

    taken = []
    answer = Express.answer
    monkeypatch.setattr(Express, "answer", lambda *what: taken.append(what) or answer(*what))
    at_once = await all_that_happens(store())
    assert len(taken) == 24
    monkeypatch.setattr(Express, "takes", lambda *_: False)
    assert await all_that_happens(store()) == at_once
    statuses = {200, 202, 400, 401, 403, 409, 413, 422, 429}
    if stored == "in trouble":
        statuses = statuses - {409} | {503}  # one that wasn't stored is no conflict
    assert {one[0] for one in at_once[0]} == statuses
    if stored == "stored":
        assert at_once[-1][0] == [("Keep", "PUBLISH")], "of those that are accepted one is critical"


async def test_several_at_once_are_answered_in_order(hub: LiveHub, raw: Raw, counted: Counted) -> None:
    ids = [f"a{number}" for number in range(5)]
    bodies = [WITH_ID.replace(b"a1", id.encode()) for id in ids]
    raw.send(b"".join(head(hub, len(body)) + body for body in bodies))
    assert [(await raw.answer()).body["id"] for _ in ids] == ids
    assert (await raw.ask(head(hub, len(GOOD)) + GOOD)).status == 202
    assert counted.taken == 1


async def test_it_is_counted_as_a_request(hub: LiveHub, raw: Raw, counted: Counted) -> None:
    for body in (GOOD, b"{", GOOD):
        await raw.ask(head(hub, len(body)) + body)
    assert counted.taken == 3
    assert hub.hub.counts.requests["POST", PATH, "202"] == 2
    assert hub.hub.counts.requests["POST", PATH, "400"] == 1
    assert hub.hub.counts.problems["invalid_body"] == 1
    assert sum(hub.hub.counts.request_seconds[PATH].counts) == 3


async def test_a_fault_of_the_hub_is_told_as_one(
    hub: LiveHub, raw: Raw, counted: Counted, faults: Faults, monkeypatch: Any
) -> None:
    monkeypatch.setattr(hub.hub.publishing._broker, "_on_publication", None)
    answer = await raw.ask(head(hub, len(GOOD)) + GOOD)
    assert (answer.status, answer.body["code"]) == (500, "internal")
    assert len(faults.found) == 1
    faults.found.clear()
    assert counted.taken == 1


async def test_it_keeps_the_connection_as_any_request_does(start_hub: StartHub, monkeypatch: Any) -> None:
    monkeypatch.setattr(http_server, "KEEPALIVE_S", 0.3)
    hub = await start_hub()
    raw = await Raw.open(hub)
    await raw.ask()
    for _ in range(6):
        await asyncio.sleep(0.15)
        assert (await raw.ask(head(hub, len(GOOD)) + GOOD)).status == 202
    assert await raw.is_cut()
    await arrived(hub.reception, 0)


async def test_who_has_said_his_last_word_is_still_answered(hub: LiveHub, raw: Raw, counted: Counted) -> None:
    raw.send(head(hub, len(GOOD)) + GOOD)
    raw.writer.write_eof()
    assert (await raw.answer()).status == 202
    assert await raw.is_cut()
