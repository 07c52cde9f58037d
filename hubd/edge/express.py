"""The express: a publish that came whole is answered within the step in which it came.

aiohttp gives each request an object, a task and four turns of the loop, and that costs more than publishing does. Here
nothing has to wait: no plugin is asked, the broker is within the process, the body is there, and nothing has to be
stored first. Whatever is in any way unusual isn't taken, and goes the usual way; both ways have the same answers.
"""

import logging
from collections.abc import Mapping
from typing import NamedTuple

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


class Answer(NamedTuple):
    """What is to be sent; ``headers`` besides those that each answer has."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Express:
    """Publishes without waiting. Ask whether it ``takes`` a request, and then for the ``answer`` to it."""

    def __init__(self, hub: Hub, notifications: Notifications, origins: Origins) -> None:
        self._hub = hub
        self._notifications = notifications
        self._origins = origins

    def takes(self, method: str, path: str, headers: Headers) -> bool:
        """Whether a request is a plain publish that nobody has to wait for."""
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

    def answer(self, headers: Headers, body: bytes) -> Answer | None:
        """Do it; None: this one has to wait for something after all, and nothing was done."""
        hub = self._hub
        begun = hub.clock.monotonic()
        try:
            fields = self._notifications.publish_at_once(headers, lambda: read_document(body, "json"))
            if fields is None:
                return None
            answer = Answer(fields.pop("status"), _JSON, orjson.dumps(fields))
        except Problem as problem:
            answer = self._refusal(problem)
        except Exception as error:
            log_event(log, "request_failed", error, method="POST", route=PATH)
            answer = self._refusal(Problem("internal", "the hub failed; the failure was logged"))
        hub.counts.note_request("POST", PATH, answer.status, hub.clock.monotonic() - begun)
        return answer

    def _refusal(self, problem: Problem) -> Answer:
        self._hub.counts.problems[problem.code] += 1
        headers = {"Content-Type": PROBLEM_TYPE, **problem_headers(problem)}
        return Answer(problem.status, headers, orjson.dumps(problem_fields(problem)))


_JSON = {"Content-Type": "application/json"}
EXPRESS = web.AppKey("express", Express)
"""An application's express, where it has one."""
