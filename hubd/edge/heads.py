"""The head of a usual WebSocket handshake, read in one go, so that what aiohttp makes of a request needn't be made.

It is strict on purpose: whatever is unusual in any way is no matter of this file but of aiohttp, which then reads the
same bytes from their beginning.
"""

import re
from collections.abc import Mapping
from typing import Final

from yarl import URL

HEAD_BYTES, HEADERS = 8000, 100
"""Longer ones are aiohttp's."""
PATH: Final = "/notifications"
_BEGIN, _END = f"GET {PATH}".encode(), b"\r\n\r\n"
_NAME = re.compile(r"[A-Za-z0-9-]+")
_COOKIES = re.compile(r"[\w.-]+=[\w.~%+/=-]*(?:; [\w.-]+=[\w.~%+/=-]*)*", re.ASCII)
_QUERY = re.compile(r"[\w.~@|,:/=&-]*", re.ASCII)
"""What stands for itself in a query: there is nothing to be decoded."""
_NOT_USUAL = frozenset(("content-length", "transfer-encoding", "expect"))


class Headers:
    """The headers of a request, of which none comes twice."""

    __slots__ = ("_values",)

    def __init__(self, values: Mapping[str, str]) -> None:
        self._values = values

    def get(self, name: str, default: str | None = None) -> str | None:
        """The value of one."""
        return self._values.get(name.lower(), default)

    def getall(self, name: str, default: list[str]) -> list[str]:
        """The same as a list."""
        value = self._values.get(name.lower())
        return default if value is None else [value]


class Head:
    """What such a handshake asks for, under the names by which aiohttp's request has it."""

    __slots__ = ("cookies", "headers", "query")

    method = "GET"

    def __init__(self, query: Mapping[str, str], headers: Headers, cookies: Mapping[str, str]) -> None:
        self.query = query
        self.headers = headers
        self.cookies = cookies


def read_head(data: bytes) -> Head | None:
    """The head that these bytes are, and nothing else; None when it isn't a usual one, or not all there."""
    if not data.startswith(_BEGIN) or len(data) > HEAD_BYTES or data.find(_END) != len(data) - len(_END):
        return None
    first, *lines = data[: -len(_END)].decode("latin-1").split("\r\n")
    if len(lines) > HEADERS:
        return None
    values: dict[str, str] = {}
    for line in lines:
        name, colon, value = line.partition(":")
        if not (colon and line.isascii() and line.isprintable() and _NAME.fullmatch(name)):
            return None
        name = name.lower()
        if name in values:
            return None
        values[name] = value.strip(" ")
    if "host" not in values or values.get("upgrade", "").lower() != "websocket" or not _NOT_USUAL.isdisjoint(values):
        return None
    query, cookies = _query(first), _cookies(values.get("cookie"))
    return None if query is None or cookies is None else Head(query, Headers(values), cookies)


def _query(line: str) -> Mapping[str, str] | None:
    """What the request line asks for."""
    method, _, rest = line.partition(" ")
    target, _, version = rest.partition(" ")
    path, mark, query = target.partition("?")
    if (method, path, version) != ("GET", PATH, "HTTP/1.1") or not target.isascii() or not target.isprintable():
        return None
    if not query:
        return None if mark else {}
    if "#" in query:
        return None
    if not _QUERY.fullmatch(query):
        return URL.build(path=PATH, query_string=query, encoded=True).query
    found: dict[str, str] = {}
    for pair in query.split("&"):
        name, equals, value = pair.partition("=")
        if name in found or not equals:
            return None
        found[name] = value
    return found


def _cookies(header: str | None) -> Mapping[str, str] | None:
    if header is None:
        return {}
    if not _COOKIES.fullmatch(header):
        return None
    found: dict[str, str] = {}
    for pair in header.split("; "):
        name, _, value = pair.partition("=")
        if name in found:
            return None
        found[name] = value
    return found
