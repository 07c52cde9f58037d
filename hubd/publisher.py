"""A client of the publishing API: waits and tries again where that helps, without anything going out twice."""

import asyncio
import json
import os
import random
from collections.abc import AsyncIterator, Callable, Sequence
from http import HTTPStatus
from types import TracebackType
from typing import Any, NamedTuple, Protocol, Self

import aiohttp

from hubd.feed import Item, Line

BATCHES = "/api/notifications/batch"
REQUEST_S = 30.0
_FIRST_WAIT_S = 0.2
_LONGEST_WAIT_S = 10.0
_TRY_AGAIN = frozenset({429, 502, 503, 504})
_TOO_MUCH_AT_ONCE = frozenset({400, 413, 422})
_ACCEPTED = frozenset({200, 201, 202})


class PublishError(Exception):
    """It can't go on; the message is one line for people."""


class Answer(NamedTuple):
    """What the hub said: an HTTP status and the decoded body (None where it isn't JSON)."""

    status: int
    body: Any


class Totals(NamedTuple):
    """How a feed went; ``known`` are those of the ``sent`` that the hub had already."""

    sent: int
    refused: int
    known: int = 0


class Template(Protocol):
    """Makes of a line what is sent."""

    def item(self, line: Line) -> Item:
        """What is sent of it; ``ValueError`` says why nothing can be."""
        ...


class Publisher:
    """Publishes to one hub with one API key; an async context manager.

    A request that fails in passing (429, 502, 503, 504, a lost connection) is sent again, with full jitter or when
    ``Retry-After`` says, until it has been failing for ``retry_for`` seconds. ``note`` is told once an outage.
    """

    def __init__(self, url: str, key: str, retry_for: float, note: Callable[[str], None]) -> None:
        self._url = url.rstrip("/")
        self._key = key
        self._retry_for = retry_for
        self._note = note

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            headers={"Authorization": f"Bearer {self._key}", "Content-Type": "application/json"},
            timeout=aiohttp.ClientTimeout(total=REQUEST_S),
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._session.close()

    async def publish(self, body: dict[str, Any]) -> dict[str, Any]:
        """Publish one; gives the hub's answer. ``PublishError`` when it refuses, or can't be reached for long."""
        answer = await self._ask("POST", "/api/notifications", data=json.dumps(body).encode())
        if answer.status not in _ACCEPTED or not isinstance(answer.body, dict):
            raise PublishError(_refusal(answer.status, answer.body))
        return answer.body

    async def read(self, path: str, query: dict[str, str]) -> dict[str, Any]:
        """What the hub has there; ``PublishError`` when it refuses, or can't be reached for long."""
        answer = await self._ask("GET", path, params=query)
        if answer.status != HTTPStatus.OK or not isinstance(answer.body, dict):
            raise PublishError(_refusal(answer.status, answer.body))
        return answer.body

    async def publish_feed(
        self,
        batches: AsyncIterator[list[Line]],
        template: Template,
        refused: Callable[[int, str], None],
        path: str = BATCHES,
    ) -> Totals:
        """Publish line by line, in order, until the feed ends; ``refused`` is told the number of a line and why.

        ``path`` is where batches of them go. ``PublishError`` when the hub takes no lines at all.
        """
        self._path, self._known = path, 0
        sent = failed = 0
        async for lines in batches:
            items, trouble = [], []
            for line in lines:
                try:
                    items.append(template.item(line))
                except ValueError as error:
                    trouble.append((line.number, str(error)))
            try:
                trouble += await self._send(items)
            except PublishError as error:
                raise PublishError(f"{error} (from line {lines[0].number} on, lines may be missing)") from None
            for number, why in sorted(trouble):
                refused(number, why)
            failed += len(trouble)
            sent += len(lines) - len(trouble)
        return Totals(sent, failed, self._known)

    async def _send(self, items: Sequence[Item]) -> list[tuple[int, str]]:
        """Send a batch; gives the lines that were refused, and why."""
        if not items:
            return []
        answer = await self._post_batch(items)
        if answer.status in _TOO_MUCH_AT_ONCE:
            if len(items) == 1:
                return [(items[0].number, _refusal(answer.status, answer.body))]
            half = len(items) // 2
            return await self._send(items[:half]) + await self._send(items[half:])
        if answer.status not in _ACCEPTED or not _is_batch_answer(answer.body, len(items)):
            raise PublishError(_refusal(answer.status, answer.body))
        self._known += sum(_status_of(result) == HTTPStatus.OK for result in answer.body)
        return [
            (item.number, _refusal(_status_of(result), result))
            for item, result in zip(items, answer.body, strict=True)
            if _status_of(result) not in _ACCEPTED
        ]

    async def _post_batch(self, items: Sequence[Item]) -> Answer:
        """Send items until none of them says "try again"; the answer has each one's last word."""
        patience = _Patience(self._retry_for)
        results: dict[int, Any] = {}
        waiting = list(items)
        while True:
            data = b"[" + b",".join(i.body for i in waiting) + b"]"
            answer = await self._ask("POST", self._path, data=data)
            if not _is_batch_answer(answer.body, len(waiting)):
                return answer
            results.update((item.number, result) for item, result in zip(waiting, answer.body, strict=True))
            again = [item for item in waiting if _status_of(results[item.number]) in _TRY_AGAIN]
            # With few left the hub goes on, so what was taken doesn't count against the time to give up.
            if len(again) < len(waiting):
                patience = _Patience(self._retry_for)
            pause = patience.next_pause(None) if again else None
            if pause is None:
                return Answer(answer.status, [results[item.number] for item in items])
            waiting = again
            await asyncio.sleep(pause)

    async def _ask(self, method: str, path: str, **sent: Any) -> Answer:
        """Send one request until it gets an answer that isn't "try again"."""
        patience = _Patience(self._retry_for)
        while True:
            try:
                # Not following redirects: the key is meant for this address alone.
                async with self._session.request(method, self._url + path, allow_redirects=False, **sent) as response:
                    answer = Answer(response.status, _decoded(await response.read()))
                    if answer.status not in _TRY_AGAIN:
                        return answer
                    trouble, retry_after = _refusal(*answer), _seconds(response.headers.get("Retry-After"))
            except aiohttp.ClientSSLError as error:
                raise PublishError(f"can't reach {self._url}: {error}") from None
            except (aiohttp.ClientError, TimeoutError, OSError) as error:
                trouble, retry_after = f"can't reach {self._url}: {_reason(error)}", None
            pause = patience.next_pause(retry_after)
            if pause is None:
                raise PublishError(trouble)
            if patience.tries == 1:
                self._note(f"{trouble}; trying again for {self._retry_for:g} s")
            await asyncio.sleep(pause)


class _Patience:
    """How long to wait before the next try, and when to give up."""

    def __init__(self, retry_for: float) -> None:
        self.tries = 0
        self._retry_for = retry_for
        self._now = asyncio.get_running_loop().time
        self._since: float | None = None

    def next_pause(self, retry_after: float | None) -> float | None:
        """Seconds until the next try; None when it would come too late."""
        now = self._now()
        if self._since is None:
            self._since = now
        longest = min(_LONGEST_WAIT_S, _FIRST_WAIT_S * 2**self.tries)
        pause = random.uniform(longest / 4, longest) if retry_after is None else retry_after  # noqa: S311 - no secret
        self.tries += 1
        return pause if now + pause - self._since <= self._retry_for else None


def _decoded(body: bytes) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None


def _is_batch_answer(body: Any, count: int) -> bool:
    return isinstance(body, list) and len(body) == count and all(_status_of(result) for result in body)


def _status_of(result: Any) -> int:
    """The status of one item of a batch; 0 where there is none, which no hub answers."""
    status = result.get("status") if isinstance(result, dict) else None
    return status if isinstance(status, int) else 0


def _seconds(text: str | None) -> float | None:
    """A ``Retry-After`` in seconds; a date, or nonsense, counts as none."""
    return float(text) if text and text.isascii() and text.isdigit() else None


def _refusal(status: int, body: Any) -> str:
    """A problem in one line, with all its wrong fields."""
    if not isinstance(body, dict) or "status" not in body:
        phrase = HTTPStatus(status).phrase if status in list(HTTPStatus) else "not understood"
        return f"the answer was {status} ({phrase}) and not a hub's: is --url right?"
    errors = body.get("errors") or []
    fields = [
        ": ".join(str(e[name]) for name in ("path", "message") if e.get(name)) for e in errors if isinstance(e, dict)
    ]
    detail = "; ".join(fields) or body.get("detail") or body.get("title") or ""
    return " ".join(f"{status} {body.get('code', 'refused')}: {detail}".split())


def _reason(error: Exception) -> str:
    number = getattr(error, "errno", None)
    if isinstance(number, int):
        return os.strerror(number) if number > 0 else str(error)
    return str(error) or ("no answer in time" if isinstance(error, TimeoutError) else type(error).__name__)
