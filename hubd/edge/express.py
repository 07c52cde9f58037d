"""The express: a publish that came whole is answered within the step in which it came, or in which it was stored.

aiohttp gives each request an object, a task and four turns of the loop, and that costs more than publishing does. Here
nothing waits but for the store: no plugin is asked, the broker is within the process, and the body is there. Whatever
is in any way unusual isn't taken, and goes the usual way; both ways have the same answers.
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Mapping
from functools import partial
from typing import Any, NamedTuple

import orjson
from aiohttp import web
from multidict import CIMultiDictProxy, istr

from hubd.core.document import read_document
from hubd.core.errors import Problem
from hubd.edge.api.notifications import Notifications
from hubd.edge.http import PROBLEM_TYPE, problem_fields, problem_headers
from hubd.edge.origin import Origins
from hubd.hub import Hub
from hubd.log_events import log_event

PATH = "/api/notifications"
BODY_BYTES = 16384
"""Larger bodies are no express's: they may come in parts."""
_DIGITS = len(str(BODY_BYTES))
_LENGTH, _TYPE, _HOST = istr("Content-Length"), istr("Content-Type"), istr("Host")
_ORIGIN, _EXPECT, _ENCODING = istr("Origin"), istr("Expect"), istr("Content-Encoding")

log = logging.getLogger("hubd.http")
Headers = CIMultiDictProxy[str]
_Work = Coroutine[Any, Any, dict[str, Any]]


class Answer(NamedTuple):
    """What is to be sent; ``headers`` besides those that each answer has."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Express:
    """Publishes without a task. Ask whether it ``takes`` a request, and then for the ``answer`` to it."""

    def __init__(self, hub: Hub, notifications: Notifications, origins: Origins) -> None:
        self._hub = hub
        self._notifications = notifications
        self._origins = origins

    def takes(self, method: str, path: str, headers: Headers) -> bool:
        """Whether a request is a plain publish that waits for nothing but the store."""
        if path != PATH or method != "POST" or not self._hub.publishes_at_once:
            return False
        length = headers.get(_LENGTH, "")
        return (
            length.isdecimal()
            and 0 < int(length) <= min(BODY_BYTES, self._hub.config.limits.body_bytes)
            and _ORIGIN not in headers
            and _EXPECT not in headers
            and _ENCODING not in headers
            and "msgpack" not in headers.get(_TYPE, "").lower()
            and self._origins.host_allowed(headers.get(_HOST))
        )

    def answer(self, headers: Headers, body: bytes, later: Callable[[Answer], None]) -> Answer | None:
        """Do it. None: something has to be stored first, and ``later`` gets the answer."""
        begun = self._hub.clock.monotonic()
        try:
            work = self._notifications.begin(headers, lambda: read_document(body, "json"))
        except Exception as error:
            return self._counted(self._failure(error), begun)
        return self._go_on(work, begun, later)

    def _go_on(self, work: _Work, begun: float, later: Callable[[Answer], None]) -> Answer | None:
        """Run it up to where it waits, and see to it that it goes on behind that; or its answer."""
        try:
            awaited = work.send(None)
        except StopIteration as done:
            fields = done.value
            answer = Answer(fields.pop("status"), _JSON, orjson.dumps(fields))
        except (Exception, asyncio.CancelledError) as error:
            answer = self._failure(error)
        else:
            awaited._asyncio_future_blocking = False  # as a task does, for which this stands
            awaited.add_done_callback(partial(self._go_on_later, work, begun, later))
            return None
        return self._counted(answer, begun)

    def _go_on_later(self, work: _Work, begun: float, later: Callable[[Answer], None], _: object) -> None:
        if (answer := self._go_on(work, begun, later)) is not None:
            later(answer)

    def _counted(self, answer: Answer, begun: float) -> Answer:
        self._hub.counts.note_request("POST", PATH, answer.status, self._hub.clock.monotonic() - begun)
        return answer

    def _failure(self, error: BaseException) -> Answer:
        if isinstance(error, Problem):
            return self._refusal(error)
        if isinstance(error, asyncio.CancelledError):
            return self._refusal(Problem("unavailable", "the hub is stopping; try again", retry_after=1.0))
        log_event(log, "request_failed", error, method="POST", route=PATH)
        return self._refusal(Problem("internal", "the hub failed; the failure was logged"))

    def _refusal(self, problem: Problem) -> Answer:
        self._hub.counts.problems[problem.code] += 1
        headers = {"Content-Type": PROBLEM_TYPE, **problem_headers(problem)}
        return Answer(problem.status, headers, orjson.dumps(problem_fields(problem)))


_JSON = {"Content-Type": "application/json"}
EXPRESS = web.AppKey("express", Express)
"""An application's express, where it has one."""
