"""Bodies in, answers and problems out: what all calls of the HTTP API share."""

import asyncio
import logging
import math
from collections.abc import Awaitable, Callable
from typing import Any

import orjson
from aiohttp import web

from hubd.core.document import read_document
from hubd.core.errors import STATUS_OF, TITLE_OF, FieldError, Problem, invalid
from hubd.counts import Counts
from hubd.edge.origin import Origins, is_preflight
from hubd.log_events import log_event

BODY_S = 10.0
"""How long a client may take to send a body."""
MSGPACK_TYPE = "application/msgpack"
PROBLEM_TYPE = "application/problem+json"

log = logging.getLogger("hubd.http")
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


async def read_body(request: web.Request, most: int | None = None) -> Any:
    """The body as a document, JSON or msgpack; ``Problem``: invalid_body, invalid, too_large.

    ``most``: how many bytes it may have in this call, if that is less than ``[limits] body_bytes``.
    """
    if most is not None and (request.content_length or 0) > most:
        raise _too_large(most)
    if request.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise Problem("invalid_body", "send the body without Content-Encoding")
    try:
        if (request.content_length or 0) > request.client_max_size:
            raise web.HTTPRequestEntityTooLarge(request.client_max_size, request.content_length or 0)
        if request.content.is_eof():  # the usual case: it came with the head
            data = await request.read()
        else:
            async with asyncio.timeout(BODY_S):
                data = await request.read()
    except web.HTTPRequestEntityTooLarge:
        raise Problem(
            "too_large", f"a body has at most {request.client_max_size} bytes ([limits] body_bytes)"
        ) from None
    except web.RequestPayloadError as error:
        error.__traceback__ = None  # it leads to the body, which keeps the error: a circle with all that has come
        raise Problem("invalid_body", "the body breaks off, or breaks the rules of HTTP") from None
    except TimeoutError:
        raise Problem("invalid_body", f"the body didn't arrive within {BODY_S:.0f} s") from None
    if most is not None and len(data) > most:
        raise _too_large(most)
    return read_document(data, "msgpack" if request.content_type == MSGPACK_TYPE else "json")


def _too_large(most: int) -> Problem:
    return Problem("too_large", f"the body of this call has at most {most} bytes")


def answer(value: Any, status: int = 200) -> web.Response:
    """An answer in JSON."""
    return web.Response(body=orjson.dumps(value), status=status, content_type="application/json")


def problem_fields(problem: Problem) -> dict[str, Any]:
    """A problem as RFC 9457 wants it."""
    fields: dict[str, Any] = {
        "type": f"urn:hubd:problem:{problem.code}",
        "title": TITLE_OF[problem.code],
        "status": STATUS_OF[problem.code],
        "detail": problem.message,
        "code": problem.code,
    }
    if problem.errors:
        fields["errors"] = [error._asdict() for error in problem.errors]
    return fields


def problem_item(problem: Problem) -> dict[str, Any]:
    """A problem as it stands in the answer to a batch."""
    fields = problem_fields(problem)
    if problem.retry_after is not None:
        fields["retry_after_s"] = problem.retry_after
    return fields


def problem_headers(problem: Problem) -> dict[str, str]:
    """The headers that go with a problem."""
    headers = {}
    if problem.retry_after is not None:
        headers["Retry-After"] = str(max(1, math.ceil(problem.retry_after)))
    if problem.status == STATUS_OF["unauthorized"]:
        headers["WWW-Authenticate"] = "Bearer"
    if problem.code == "upgrade_required":
        headers |= {"Upgrade": "websocket", "Sec-WebSocket-Version": "13"}
    return headers


def problem_response(problem: Problem) -> web.Response:
    """The answer to a request that is refused."""
    body = orjson.dumps(problem_fields(problem))
    return web.Response(body=body, status=problem.status, content_type=PROBLEM_TYPE, headers=problem_headers(problem))


def query_int(request: web.Request, name: str, default: int, most: int) -> int:
    """A whole number from the query, 1 to ``most``."""
    text = request.query.get(name)
    if text is None:
        return default
    if not (text.isascii() and text.isdigit() and len(text) <= 9 and 1 <= int(text) <= most):
        raise invalid([FieldError(name, f"must be a whole number from 1 to {most}")])
    return int(text)


def middleware(origins: Origins, counts: Counts) -> Any:
    """Around every call: foreign pages refused, CORS headers added, whatever goes wrong told as a problem."""

    def refused(problem: Problem) -> web.StreamResponse:
        counts.problems[problem.code] += 1
        return problem_response(problem)

    @web.middleware
    async def around(request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            if not origins.host_allowed(request.headers.get("Host")):
                raise Problem("forbidden", "in dev mode hubd answers only under this machine's own names")
            if is_preflight(request.method, request.headers):
                return _preflight(request, origins)
            if not origins.allowed(request.headers):
                raise Problem("forbidden", "pages of this origin may not use the hub (see [auth] origins)")
            response = await handler(request)
        except Problem as problem:
            response = refused(problem)
        except web.HTTPException as error:
            found = _problem_of(error)
            response = _plain(error) if found is None else refused(found)
            if "Allow" in error.headers:
                response.headers["Allow"] = error.headers["Allow"]
            error.__traceback__ = None  # the request keeps it, and it would keep the request: a circle
        except ConnectionResetError as error:
            error.__traceback__ = None  # a circle, as in `read_body`
            response = web.Response(status=400)  # the client has gone: nobody will see it
        except Exception as error:
            # Not the address: it may have a token, and the name of an id or a topic is nobody's business either.
            log_event(log, "request_failed", error, method=request.method, route=route_of(request))
            response = refused(Problem("internal", "the hub failed; the failure was logged"))
        if not response.prepared:
            response.headers.update(origins.response_headers(request.headers))
            response.headers["Server"] = "hubd"  # aiohttp would tell everybody which versions run here
        return response

    return around


def route_of(request: web.Request) -> str:
    """The pattern of a request's route, of which there are few; not its address, which is the client's."""
    resource = request.match_info.route.resource
    return resource.canonical if resource is not None else "none"


def _preflight(request: web.Request, origins: Origins) -> web.Response:
    headers = origins.preflight_headers(request.headers)
    if headers is None:
        raise Problem("forbidden", "pages of this origin may not use the hub (see [auth] origins)")
    return web.Response(status=204, headers=headers)


def _plain(error: web.HTTPException) -> web.Response:
    """The same answer as a response: aiohttp wants exceptions raised, not returned."""
    return web.Response(status=error.status, reason=error.reason, headers=error.headers, body=error.body)


def _problem_of(error: web.HTTPException) -> Problem | None:
    """aiohttp's own refusals as problems; None for redirects, which stay what they are."""
    if isinstance(error, web.HTTPMethodNotAllowed):
        return Problem("method_not_allowed", f"use {', '.join(sorted(error.allowed_methods))}")
    if isinstance(error, web.HTTPNotFound):
        return Problem("not_found", "there is nothing at this address")
    if isinstance(error, web.HTTPRequestEntityTooLarge):
        return Problem("too_large", "the body is too large")
    return None
