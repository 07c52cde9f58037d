"""What the application is asked: what a client brought, as far as it is to be passed on."""

import hashlib
import json
from dataclasses import dataclass, field

from hubd.plugin import Credentials
from hubd_proxy_auth.options import Options

HUB_COOKIE = "hubd_token"
"""The cookie with a token of the hub's own."""


@dataclass(frozen=True, slots=True)
class Question:
    """One question. ``body`` is its JSON, and secret; ``key`` stands for it where answers are kept."""

    body: bytes = field(repr=False)
    key: bytes = field(repr=False)
    address: str = ""


def question_of(credentials: Credentials, config: Options) -> Question | None:
    """What to ask about somebody; None when he brought nothing of what is passed on.

    ``ValueError`` when it can't be passed on as text.
    """
    token = credentials.token if "authorization" in config.forward_headers else None
    headers = {name: credentials.headers[name] for name in config.forward_headers if name in credentials.headers}
    query = {name: credentials.query[name] for name in config.forward_query if name in credentials.query}
    if token is None and not headers and not query:
        return None
    asked = {"token": token, "headers": headers, "query": query, "address": credentials.address}
    body = json.dumps(asked, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode()
    return Question(body, hashlib.sha256(body).digest(), credentials.address)


def has_proof_for_hub(credentials: Credentials) -> bool:
    """Whether somebody brought what the hub would take for a token of its own."""
    return credentials.token is not None or HUB_COOKIE in credentials.cookies or "token" in credentials.query
