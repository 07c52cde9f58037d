"""What `/notifications` reads of a request: `wait`, `topics`, `cursor`, Accept, Last-Event-ID, Origin, Host.

An input is the address behind the path, then a header a line.
"""

import math
import re
from collections.abc import Iterator
from functools import cache
from ipaddress import ip_address
from random import Random
from typing import Any, NamedTuple
from urllib.parse import quote

from multidict import CIMultiDict, MultiMapping
from yarl import URL

from hubd.core.errors import Problem
from hubd.edge.origin import Origins
from hubd.edge.polling import LONGEST_S, WAIT_S, _wait_of
from hubd.edge.sse import wants_events
from hubd.testing import connect, identity
from tests.fuzz import mutation
from tests.fuzz.rules.channels import matches, read_name, read_pattern
from tests.fuzz.target import Target, timed
from tests.fuzz.targets.documents import check_problem
from tests.hub_world import World

ROOM = 4
PATTERNS = ("team:**", "news")
KNOWN = {"https://hub.example.com", "http://[::1]:3000", "https://app.example.com:8443"}
ORIGINS = Origins("https://hub.example.com", ["http://[::1]:3000", "https://app.example.com:8443"])
DEV = Origins("", [], dev=True)
PORTS = {"http": "80", "https": "443"}
WORDS = (
    "wait=25", "wait=0", "wait=60", "wait=60.1", "wait=-1", "wait=nan", "wait=1e1", "topics=team:a,news", "cursor=x",
    "&", "%00", "%ff", "%2C", "Accept", "text/event-stream", "text/event-stream;q=0.000", "*/*", "application/json",
    ", ", ";q=0", "Origin", "https://hub.example.com", "https://hub.example.com:443", "null",
    "http://[::1]:3000", "https://évil.example",
    "Host", "localhost:8080", "127.0.0.1", "[::1]:80", "evil.example", "Last-Event-ID", "abcdefghij-5", "acks=1",
)  # fmt: skip


@cache
def world() -> World:
    """A hub to connect to."""
    return World(subscriptions=ROOM)


class Asked(NamedTuple):
    """As much of a request as is read here."""

    query: MultiMapping[str]
    headers: CIMultiDict[str]


def take(data: bytes) -> None:
    address, *lines = data.decode("utf-8", "surrogateescape").split("\n")
    headers = CIMultiDict(line.split(": ", 1) for line in lines if ": " in line)
    try:
        request: Any = Asked(URL(f"/notifications?{address}").query, headers)
    except ValueError:
        return  # aiohttp refuses such an address before anybody of ours sees it
    check_wait(request)
    asks = any(asks_for_events(kind) for value in headers.getall("Accept", []) for kind in value.lower().split(","))
    assert timed(wants_events, request) == asks
    check_topics([topic for topic in request.query.get("topics", "").split(",") if topic])
    check_origin(headers)
    if timed(DEV.host_allowed, headers.get("Host")):
        assert is_own_name(headers["Host"]), headers["Host"]


def check_wait(request: Any) -> None:
    text = request.query.get("wait")
    plain = text is None or (re.fullmatch(r"[0-9]{1,2}(\.[0-9]{1,6})?", text) is not None and float(text) <= LONGEST_S)
    try:
        wait = timed(_wait_of, request)
    except Problem as problem:
        check_problem(problem)
        assert not plain, f"refused: {text}"
        return
    assert 0 <= wait <= LONGEST_S and math.isfinite(wait)
    assert wait == (WAIT_S if text is None else float(text))


def asks_for_events(kind: str) -> bool:
    name, *parameters = (part.strip() for part in kind.split(";"))
    weightless = any(parameter in ("q=0", "q=0.0", "q=0.00", "q=0.000") for parameter in parameters)
    return name == "text/event-stream" and not weightless


def check_topics(topics: list[str]) -> None:
    """Of what an address asks for, it gets what there can be and the token allows, as much as there is room for."""
    connection = timed(connect, world().hub, identity("42", PATTERNS), tuple(topics))
    (welcome,) = connection.frames
    connection.drop()
    assert welcome["topics"] == list(dict.fromkeys(allowed(topics)))[:ROOM]


def allowed(topics: list[str]) -> Iterator[str]:
    for topic in topics:
        found = read_name(topic)
        if found is not None and found.kind == "topic":
            segments = found.name.split(":")
            if any(matches(read_pattern(pattern) or [], segments) for pattern in PATTERNS):
                yield found.name


def check_origin(headers: CIMultiDict[str]) -> None:
    """Who isn't known is let in by no header, and what a page may read isn't said to another."""
    origins = headers.getall("Origin", [])
    known = len(origins) == 1 and in_short(origins[0]) in KNOWN
    assert timed(ORIGINS.allowed, headers) == (known or not origins)
    assert ORIGINS.cookie_allowed("POST", headers) == known
    answer = ORIGINS.response_headers(headers)
    assert answer["Vary"] == "Origin"
    assert answer.get("Access-Control-Allow-Origin") == (origins[0] if known else None)
    assert not any("\r" in value or "\n" in value for value in answer.values())


def in_short(origin: str) -> str:
    """An origin in lower case and without a port that goes without saying."""
    if not origin.isascii():
        return ""
    before, colon, port = origin.lower().rpartition(":")
    if not (before.count(":") and port.isdigit() and len(port) <= 5):
        return origin.lower()
    usual = PORTS.get(before.partition(":")[0])
    return before if str(int(port)) == usual else f"{before}{colon}{int(port)}"


def is_own_name(host: str) -> bool:
    name = host.lower() if host.endswith("]") else re.sub(r":[0-9]*$", "", host.lower())
    if name == "localhost":
        return True
    return ip_address(name.strip("[]")).is_loopback


def mutate(data: bytes, random: Random) -> bytes:
    lines = data.decode("utf-8", "surrogateescape").split("\n")
    at = random.randrange(len(lines))
    match random.randrange(6):
        case 0:
            lines[0] += "&" + random.choice(WORDS)
        case 1:
            lines[0] = f"topics={quote(mutation.change_text('team:a,team:b', random, WORDS), safe=',:')}&{lines[0]}"
        case 2:
            name = random.choice(("Accept", "Origin", "Host", "Last-Event-ID"))
            lines.append(f"{name}: {mutation.change_text(random.choice(WORDS), random, WORDS)}")
        case 3 if at:
            lines.pop(at)
        case _:
            lines[at] = mutation.change_text(lines[at], random, WORDS)
    return "\n".join(lines).encode("utf-8", "surrogateescape")


def seeds() -> list[bytes]:
    return [
        b"wait=25&cursor=abcdefghij-5&topics=team:a,team:b%3Ac,news,user:7\nAccept: application/json",
        b"wait=0.5&acks=1\nAccept: text/event-stream\nLast-Event-ID: abcdefghij-5",
        b"\nAccept: text/html, text/event-stream; q=0.5\nOrigin: https://hub.example.com",
        b"topics=%2a,team:*\nAccept: text/event-stream;q=0\nOrigin: https://app.example.com:8443\nHost: localhost",
        b"ticket=x\nOrigin: http://[::1]:3000\nHost: [::1]:8080",
        b"ticket=x\nOrigin: null\nHost: 127.0.0.1:1",
        *(f"{word}\nOrigin: {word}\nHost: {word}\nAccept: {word}".encode() for word in WORDS),
    ]


TARGET = Target("requests", take, seeds, mutate, WORDS, max_bytes=1024)
