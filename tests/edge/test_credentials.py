"""Who is asking: which proof counts, and what is said when it is missing or bad."""

import asyncio
import base64
import hashlib
import logging
from collections.abc import AsyncIterator
from random import Random
from typing import Any
from urllib.parse import urlencode

import jwt
import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request
from multidict import CIMultiDict
from pydantic import SecretStr

from hubd.config import ApiKeyEntry, Auth, Config, JwtKey, Server
from hubd.core.errors import BAD_TOKEN, EXPIRED, REVOKED, Problem
from hubd.core.identity import ApiKey, Identity
from hubd.edge.credentials import Authenticator
from hubd.edge.keys import ApiKeys
from hubd.edge.origin import Origins
from hubd.edge.tickets import Tickets
from hubd.edge.tokens import TokenRefused, Tokens
from hubd.hooks.calls import Hooks
from hubd.ids import Ids
from hubd.tasks import Tasks
from hubd.testing import FakeClock

NOW = 1_800_000_000.0
SECRET = "s" * 64
OWN = "https://hub.example.com"
KEY = "hub_backend_0123456789abcdef"
ADMIN_KEY = "hub_ops_0123456789abcdef"


def sign(user: str = "42", **claims: Any) -> str:
    return jwt.encode({"sub": user, "exp": NOW + 3600, "iat": NOW} | claims, SECRET, "HS256")


GOOD, EXPIRED_TOKEN, FORGED = sign(), sign(exp=NOW - 60), sign()[:-4] + "AAAA"


def api_key_entry(key: str, *rights: str) -> ApiKeyEntry:
    digest = hashlib.sha256(key.encode()).hexdigest()
    return ApiKeyEntry.model_validate({"id": key.split("_")[1], "sha256": digest, "rights": rights})


class Door:
    """Everything an Authenticator needs, and it."""

    def __init__(self, dev: bool = False, query_token: bool = False, jwt_key: JwtKey | None = None) -> None:
        entries = [api_key_entry(KEY, "publish"), api_key_entry(ADMIN_KEY, "publish", "admin")]
        auth = Auth(
            jwt=(jwt_key or JwtKey(algorithm="HS256", key=SecretStr(SECRET)),),
            query_token=query_token,
            api_keys=tuple(entries),
            origins=("https://app.example.com",),
        )
        config = Config(server=Server(public_url=OWN), auth=auth)
        self.tokens = Tokens(auth, FakeClock(NOW), Tasks(), dev=dev)
        origins = Origins(config.server.public_url, auth.origins, dev)
        self.clock = FakeClock(NOW)
        self.tickets = Tickets(self.clock, Ids(self.clock, Random(1)))
        keys = ApiKeys(auth.api_keys)
        self.authenticator = Authenticator(self.tokens, self.tickets, keys, origins, config, Hooks(self.clock), dev)


def request(
    bearer: str | None = None, cookie: str | None = None, method: str = "GET", query: str = "", **headers: str
) -> web.Request:
    """A request as it arrives; a cookie comes from the hub's own page unless the headers say otherwise."""
    given = CIMultiDict({name.replace("_", "-"): value for name, value in headers.items() if value})
    if bearer is not None:
        given["Authorization"] = f"Bearer {bearer}"
    if cookie is not None:
        given["Cookie"] = f"other=1; hubd_token={cookie}; more=2"
        if "Origin" not in headers:
            given["Origin"] = OWN
    return make_mocked_request(method, f"/notifications?{query}" if query else "/notifications", given)


async def user_problem(door: Door, asked: web.Request) -> Problem:
    with pytest.raises(Problem) as caught:
        await door.authenticator.user(asked)
    return caught.value


def server_problem(asked: web.Request, right: str = "publish", door: Door | None = None) -> Problem:
    with pytest.raises(Problem) as caught:
        (door or Door()).authenticator.server(asked, right)
    return caught.value


@pytest.fixture
def door() -> Door:
    return Door()


# --- users


async def test_the_header_proves_a_user(door: Door) -> None:
    assert (await door.authenticator.user(request(GOOD))).user == "42"
    for scheme in ("bearer", "BEARER", "Bearer "):
        assert (await door.authenticator.user(request(Authorization=f"{scheme} {GOOD} "))).user == "42"


async def test_a_cookie_proves_a_user_on_the_hub_s_own_pages(door: Door) -> None:
    for method in ("GET", "POST", "PUT", "DELETE"):
        assert (await door.authenticator.user(request(cookie=GOOD, method=method))).user == "42"
    listed = request(cookie=GOOD, method="POST", Origin="https://app.example.com")
    assert (await door.authenticator.user(listed)).user == "42"
    same_origin = request(cookie=GOOD, Origin="", Sec_Fetch_Site="same-origin")
    assert (await door.authenticator.user(same_origin)).user == "42"


@pytest.mark.parametrize(
    ("method", "headers"),
    [
        ("POST", {"Origin": ""}),
        ("POST", {"Origin": "", "Sec_Fetch_Site": "same-origin"}),
        ("POST", {"Origin": "https://evil.example"}),
        ("POST", {"Origin": "null"}),
        ("DELETE", {"Origin": ""}),
        ("GET", {"Origin": "", "Sec_Fetch_Site": "none"}),
        ("GET", {"Origin": "", "Sec_Fetch_Site": "cross-site"}),
        ("GET", {"Origin": "", "Sec_Fetch_Site": "same-site"}),
        ("GET", {"Origin": "https://evil.example", "Sec_Fetch_Site": "same-origin"}),
    ],
)
async def test_elsewhere_a_cookie_is_no_proof(door: Door, method: str, headers: dict[str, str]) -> None:
    asked = request(cookie=GOOD, method=method, **headers)
    assert (await user_problem(door, asked)).code == "forbidden"
    with pytest.raises(Problem) as caught:
        await door.authenticator.connecting(asked)
    assert caught.value.code == "forbidden"


async def test_a_websocket_without_a_trace_of_a_page_may_have_a_cookie(door: Door) -> None:
    asked = request(cookie=GOOD, Origin="")
    identity = await door.authenticator.connecting(asked)
    assert identity is not None and identity.user == "42"
    assert (await user_problem(door, asked)).code == "forbidden", "a page's plain GET looks the same"


async def test_a_token_in_the_header_needs_no_origin(door: Door) -> None:
    asked = request(GOOD, cookie=GOOD, method="POST", Origin="")
    assert (await door.authenticator.user(asked)).user == "42"


async def test_the_address_only_where_it_is_switched_on(door: Door) -> None:
    asked = request(query=urlencode({"token": GOOD}))
    assert (await Door(query_token=True).authenticator.user(asked)).user == "42"
    problem = await user_problem(door, asked)
    assert problem.code == "unauthorized" and "query_token" in problem.message


async def test_in_dev_mode_a_name_is_enough(door: Door) -> None:
    asked = request(query="user=anna")
    assert (await Door(dev=True).authenticator.user(asked)).user == "anna"
    problem = await user_problem(door, asked)
    assert problem.code == "unauthorized" and "dev mode" in problem.message
    assert await door.authenticator.connecting(asked) is None
    assert (await user_problem(Door(dev=True), request(query="user=a:b"))).code == "unauthorized"


async def test_without_any_proof_the_problem_says_what_to_do(door: Door) -> None:
    for each in (door, Door(dev=True)):
        problem = await user_problem(each, request())
        assert problem.code == "unauthorized" and "Authorization: Bearer" in problem.message
    assert (await user_problem(door, request(cookie=""))).code == "unauthorized"


BAD_HEADERS = [
    "Bearer", "Bearer ", "Basic YTpi", GOOD, f"Bearer {FORGED}", f"Bearer {EXPIRED_TOKEN}", "Bearer nonsense",
    f"Bearer {GOOD} {GOOD}", f"Bearer\t{GOOD}", f"Token {GOOD}", "Bearer hub_unknown_0", " ", f"Bearer {GOOD},x",
]  # fmt: skip


@pytest.mark.parametrize("header", BAD_HEADERS, ids=range(len(BAD_HEADERS)))
async def test_a_bad_header_wins_over_everything_else(header: str) -> None:
    door = Door(dev=True, query_token=True)
    asked = request(cookie=GOOD, query=urlencode({"token": GOOD, "user": "42"}), Authorization=header)
    assert (await user_problem(door, asked)).code == "unauthorized"
    with pytest.raises(TokenRefused):
        await door.authenticator.connecting(asked)


async def test_a_bad_cookie_wins_over_the_address() -> None:
    door = Door(dev=True, query_token=True)
    asked = request(cookie=FORGED, query=urlencode({"token": GOOD, "user": "42"}))
    assert (await user_problem(door, asked)).code == "unauthorized"


async def test_two_authorization_headers_are_none(door: Door) -> None:
    twice = CIMultiDict([("Authorization", f"Bearer {GOOD}"), ("Authorization", f"Bearer {GOOD}")])
    asked = make_mocked_request("GET", "/", twice)
    assert (await user_problem(door, asked)).code == "unauthorized"


async def test_an_expired_token_says_so(door: Door) -> None:
    assert "expired" in (await user_problem(door, request(EXPIRED_TOKEN))).message


async def test_an_api_key_is_no_user(door: Door) -> None:
    assert (await user_problem(door, request(KEY))).code == "forbidden"
    assert (await user_problem(door, request(KEY + "0"))).code == "unauthorized"
    with pytest.raises(TokenRefused) as caught:
        await door.authenticator.connecting(request(KEY))
    assert caught.value.disconnect is BAD_TOKEN and "API key" in caught.value.reason


async def test_while_the_key_can_t_be_had_it_is_unavailable() -> None:
    door = Door(jwt_key=JwtKey(algorithm="RS256", jwks_url="http://127.0.0.1:1/keys"))
    header = base64.urlsafe_b64encode(b'{"alg":"RS256"}').rstrip(b"=").decode()
    asked = request(f"{header}.{GOOD.partition('.')[2]}")
    problem = await user_problem(door, asked)
    assert problem.code == "unavailable" and problem.retry_after
    with pytest.raises(Problem) as caught:
        await door.authenticator.connecting(asked)
    assert caught.value.code == "unavailable"
    await door.tokens.close()


# --- servers


def test_a_key_with_the_right_is_let_in(door: Door) -> None:
    assert door.authenticator.server(request(KEY), "publish").id == "backend"
    assert door.authenticator.server(request(ADMIN_KEY), "admin").id == "ops"


def test_a_key_without_the_right_is_forbidden() -> None:
    problem = server_problem(request(KEY), "admin")
    assert problem.code == "forbidden" and "'admin'" in problem.message


def test_a_user_s_token_is_forbidden() -> None:
    assert server_problem(request(GOOD)).code == "forbidden"


@pytest.mark.parametrize(
    "header", ["", "Bearer", "Bearer nonsense", f"Basic {KEY}", KEY, f"Bearer {KEY}0", "Bearer hub_x_y"]
)
def test_no_key_or_a_wrong_one_is_unauthorized(header: str) -> None:
    problem = server_problem(request(Authorization=header, query=f"token={KEY}&user=42"), door=Door(dev=True))
    assert problem.code == "unauthorized" and "Bearer" in problem.message


def test_neither_cookie_nor_dev_mode_makes_a_server() -> None:
    for asked in (request(cookie=KEY), request(cookie=GOOD), request(query="user=42")):
        assert server_problem(asked, door=Door(dev=True, query_token=True)).code == "unauthorized"


async def test_some_calls_are_for_both(door: Door) -> None:
    server, user = await door.authenticator.caller(request(KEY)), await door.authenticator.caller(request(GOOD))
    assert isinstance(server, ApiKey) and isinstance(user, Identity)
    assert (await door.authenticator.caller(request(cookie=GOOD))) == user
    for asked in (request(), request(KEY + "0"), request(FORGED)):
        with pytest.raises(Problem) as caught:
            await door.authenticator.caller(asked)
        assert caught.value.code == "unauthorized"


# --- connecting


async def test_connecting_with_a_proof_and_without(door: Door) -> None:
    assert await door.authenticator.connecting(request()) is None
    for asked in (request(GOOD), request(cookie=GOOD)):
        identity = await door.authenticator.connecting(asked)
        assert identity is not None and identity.user == "42"
    identity = await Door(dev=True).authenticator.connecting(request(query="user=7"))
    assert identity is not None and identity.user == "7"


async def test_connecting_with_a_bad_proof_tells_the_close_code() -> None:
    door = Door(query_token=True)
    for token, disconnect in ((EXPIRED_TOKEN, EXPIRED), (FORGED, BAD_TOKEN), ("", BAD_TOKEN)):
        asked = request(query=urlencode({"token": token}))
        with pytest.raises(TokenRefused) as caught:
            await door.authenticator.connecting(asked)
        assert caught.value.disconnect is disconnect
    door.tokens.revoke("42")
    with pytest.raises(TokenRefused) as caught:
        await door.authenticator.connecting(request(cookie=GOOD))
    assert caught.value.disconnect is REVOKED


async def test_connecting_with_a_token_where_it_doesn_t_belong(door: Door) -> None:
    with pytest.raises(TokenRefused) as caught:
        await door.authenticator.connecting(request(query=urlencode({"token": GOOD})))
    assert caught.value.disconnect is BAD_TOKEN


# --- over a real socket


@pytest.fixture
async def port(door: Door) -> AsyncIterator[int]:
    async def handle(asked: web.Request) -> web.Response:
        try:
            await door.authenticator.user(asked)
        except Problem as problem:
            return web.Response(status=problem.status)
        return web.Response()

    app = web.Application()
    app.router.add_get("/", handle)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield runner.addresses[0][1]
    await runner.cleanup()


@pytest.mark.parametrize(
    ("line", "status"),
    [
        (f"Authorization: Bearer {GOOD}".encode(), 200),
        (b"Authorization: Bearer \xff\xfe\x80", 401),
        (b"Authorization: Bearer hub_\xff_\x80", 401),
        (b"Authorization: \xff", 401),
        (b"Authorization:", 401),
        (b"Authorization: Bearer " + b"x" * 7000, 401),
        (b"Cookie: hubd_token=\xff\xfe\r\nOrigin: https://hub.example.com", 401),
        (b'Cookie: hubd_token="\\777; =;;\r\nOrigin: https://hub.example.com', 401),
        (b"Cookie: hubd_token=x\r\nOrigin: \xff", 403),
    ],
)
async def test_whatever_bytes_come(port: int, line: bytes, status: int, caplog: pytest.LogCaptureFixture) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    with caplog.at_level(logging.DEBUG, "hubd"):
        writer.write(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n" + line + b"\r\n\r\n")
        answer = await asyncio.wait_for(reader.read(), 5)
    writer.close()
    assert answer.split(b" ")[1] == str(status).encode()
    assert not [record for record in caplog.records if record.name.startswith("hubd")], "a token may be in it"
