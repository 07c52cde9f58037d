"""Which pages may call and connect, cookies, and development mode's own door, over real requests."""

from typing import Any

import pytest

from tests.command import hubd
from tests.edge.conftest import StartHub
from tests.edge.live_hub import LISTED_ORIGIN, OWN_ORIGIN, LiveHub
from tests.edge.ws_client import JSON, Refused

FOREIGN = [
    *("https://evil.example", "https://app.example.com.evil.example", "http://app.example.com", "null"),
    *("https://app.example.com:8443", "https://hub.example.com@evil.example", "http://localhost:3000"),
]
GOOD = [OWN_ORIGIN, LISTED_ORIGIN, "https://APP.example.com", "https://app.example.com:443"]
ASKS = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization, content-type"}


@pytest.mark.parametrize("origin", GOOD)
async def test_a_good_pages_preflight_and_call(hub: LiveHub, origin: str) -> None:
    answer = await hub.call("OPTIONS", "/api/notifications", key=None, headers={"Origin": origin} | ASKS)
    assert answer.status == 204
    assert answer.headers["Access-Control-Allow-Origin"] == origin
    assert answer.headers["Access-Control-Allow-Credentials"] == "true"
    assert "POST" in answer.headers["Access-Control-Allow-Methods"]
    assert {"authorization", "content-type"} <= _words(answer.headers["Access-Control-Allow-Headers"])
    answer = await hub.call("GET", "/api/subscriptions", token=hub.token(), headers={"Origin": origin})
    assert answer.status == 200
    assert answer.headers["Access-Control-Allow-Origin"] == origin
    assert "Origin" in answer.headers["Vary"]


def _words(value: str) -> set[str]:
    return {word.strip().lower() for word in value.split(",")}


async def test_a_good_page_can_read_problems_and_when_to_try_again(start_hub: StartHub) -> None:
    hub = await start_hub(limits={"publish_per_s": 1})
    for status in (202, 429):
        answer = await hub.call(
            "POST",
            "/api/notifications",
            {"to": "a", "notification": {"type": "x"}},
            headers={"Origin": LISTED_ORIGIN},
        )
        assert answer.status == status
        assert answer.headers["Access-Control-Allow-Origin"] == LISTED_ORIGIN
        assert "retry-after" in _words(answer.headers["Access-Control-Expose-Headers"])
    answer = await hub.call("GET", "/nowhere", headers={"Origin": LISTED_ORIGIN})
    assert (answer.status, answer.headers["Access-Control-Allow-Origin"]) == (404, LISTED_ORIGIN)


@pytest.mark.parametrize("origin", FOREIGN)
async def test_a_foreign_page_gets_nothing_done(hub: LiveHub, origin: str) -> None:
    client, _ = await hub.welcomed()
    calls: list[tuple[str, str, Any, dict[str, str]]] = [
        ("OPTIONS", "/api/notifications", None, ASKS),
        ("POST", "/api/notifications", {"to": "notifications", "notification": {"type": "x"}}, {}),
        ("GET", "/api/channels", None, {}),
        ("GET", "/health/live", None, {}),
    ]
    for method, path, body, more in calls:
        answer = await hub.call(method, path, body, headers={"Origin": origin} | more)
        assert (answer.status, answer.code) == (403, "forbidden"), method
        assert "Access-Control-Allow-Origin" not in answer.headers
    assert await client.messages() == []


@pytest.mark.parametrize("origin", FOREIGN)
@pytest.mark.parametrize("proof", ["header", "cookie", "frame"])
async def test_a_foreign_page_is_refused_before_the_upgrade(hub: LiveHub, origin: str, proof: str) -> None:
    headers = {"Origin": origin}
    if proof == "header":
        headers["Authorization"] = f"Bearer {hub.token()}"
    elif proof == "cookie":
        headers |= {"Cookie": f"hubd_token={hub.token()}", "Sec-Fetch-Site": "same-origin"}
    with pytest.raises(Refused) as refused:
        await hub.open(headers=headers, subprotocol=JSON)
    assert (refused.value.status, refused.value.code) == (403, "forbidden")
    assert hub.is_empty()


@pytest.mark.parametrize("origin", [*GOOD, ""])
async def test_a_good_page_and_no_page_at_all_connect(hub: LiveHub, origin: str) -> None:
    client = await hub.open(headers={"Origin": origin, "Authorization": f"Bearer {hub.token()}"}, subprotocol=JSON)
    assert (await client.next())["hub"] == "welcome"


# Cookies


async def test_the_cookie_of_a_good_page_connects(hub: LiveHub) -> None:
    cookie = {"Cookie": f"a=b; hubd_token={hub.token('7')}"}
    for more in ({"Origin": OWN_ORIGIN}, {"Origin": LISTED_ORIGIN}, {"Sec-Fetch-Site": "same-origin"}):
        client = await hub.open(headers=cookie | more, subprotocol=JSON)
        assert (await client.next())["user"] == "7"


async def test_so_does_that_of_no_page_at_all(hub: LiveHub) -> None:
    """Every browser sends Origin with this handshake: without one it is somebody's script, and his own cookie."""
    client = await hub.open(headers={"Cookie": f"hubd_token={hub.token('7')}"}, subprotocol=JSON)
    assert (await client.next())["user"] == "7"


@pytest.mark.parametrize("site", ["cross-site", "same-site", "none"])
async def test_that_of_nobody_knows_which_page_does_not(hub: LiveHub, site: str) -> None:
    with pytest.raises(Refused) as refused:
        await hub.open(headers={"Cookie": f"hubd_token={hub.token()}", "Sec-Fetch-Site": site})
    assert (refused.value.status, refused.value.code) == (403, "forbidden")


@pytest.mark.parametrize(
    ("method", "more", "status"),
    [
        ("GET", {"Sec-Fetch-Site": "same-origin"}, 200),
        ("GET", {"Origin": LISTED_ORIGIN}, 200),
        ("GET", {}, 403),
        ("PUT", {"Origin": OWN_ORIGIN}, 201),
        ("PUT", {"Sec-Fetch-Site": "same-origin"}, 403),
        ("PUT", {}, 403),
        ("DELETE", {}, 403),
        ("PUT", {"Origin": "https://evil.example"}, 403),
    ],
)
async def test_a_cookie_alone_and_calls_that_change_something(
    hub: LiveHub, method: str, more: dict[str, str], status: int
) -> None:
    path = "/api/subscriptions" if method == "GET" else "/api/subscriptions/team:a"
    cookie = {"Cookie": f"hubd_token={hub.token(topics=['**'])}"}
    answer = await hub.call(method, path, key=None, headers=cookie | more)
    assert answer.status == status
    if status == 403:
        assert answer.code == "forbidden"
        made = await hub.call("GET", "/api/users/42/subscriptions")
        assert made.body == {"subscriptions": []}


async def test_a_header_counts_before_the_cookie_and_a_bad_one_is_not_passed_over(hub: LiveHub) -> None:
    cookie = {"Cookie": f"hubd_token={hub.token('7')}", "Origin": OWN_ORIGIN}
    client = await hub.open(headers=cookie | {"Authorization": f"Bearer {hub.token('8')}"}, subprotocol=JSON)
    assert (await client.next())["user"] == "8"
    client = await hub.open(headers=cookie | {"Authorization": "Bearer nonsense"}, subprotocol=JSON)
    assert await client.closed() == 4500


# Development mode


async def test_in_dev_mode_a_name_is_enough_and_may_everything(start_hub: StartHub) -> None:
    hub = await start_hub(dev=True)
    client = await hub.open(query={"user": "ada", "topics": "team:a"}, subprotocol=JSON)
    welcome = await client.next()
    assert (welcome["user"], welcome["topics"]) == ("ada", ["team:a"])
    reply = await client.ask("publish", to="team:a", notification={"type": "x"}, priority="critical")
    assert reply["ok"] is True
    answer = await hub.call("PUT", "/api/subscriptions/team:b?user=ada", key=None)
    assert answer.status == 201
    bad = await hub.open(query={"user": "a b"})
    assert await bad.closed() == 4500


async def test_in_dev_mode_a_token_without_topics_has_all(start_hub: StartHub) -> None:
    hub = await start_hub(dev=True)
    client = await hub.open(headers={"Authorization": f"Bearer {hub.token()}"}, subprotocol=JSON)
    await client.next()
    assert (await client.ask("subscribe", topic="any:thing"))["ok"] is True


async def test_without_it_a_name_is_nothing(hub: LiveHub) -> None:
    client = await hub.open(query={"user": "42"}, subprotocol=JSON)
    assert (await client.refused("ping"))["code"] == "not_authenticated"
    answer = await hub.call("GET", "/api/subscriptions?user=42", key=None)
    assert (answer.status, answer.code) == (401, "unauthorized")
    assert (await hub.call("GET", "/demo/", key=None)).status == 404


GOOD_HOSTS = ["localhost", "localhost:8080", "127.0.0.1", "127.0.0.1:1", "127.0.0.2", "[::1]", "[::1]:80", "LOCALHOST"]
BAD_HOSTS = ["evil.example", "localhost.evil.example", "127.0.0.1.evil.example", "192.168.0.1", "0.0.0.0", "[::]"]


@pytest.mark.parametrize("host", GOOD_HOSTS)
async def test_dev_mode_answers_to_this_machines_names(start_hub: StartHub, host: str) -> None:
    hub = await start_hub(dev=True)
    assert (await hub.call("GET", "/health/live", key=None, headers={"Host": host})).status == 200


@pytest.mark.parametrize("host", BAD_HOSTS)
async def test_and_to_no_other(start_hub: StartHub, host: str) -> None:
    hub = await start_hub(dev=True)
    for path in ("/health/live", "/demo/", "/api/subscriptions?user=42"):
        answer = await hub.call("GET", path, key=None, headers={"Host": host})
        assert (answer.status, answer.code) == (403, "forbidden")
    with pytest.raises(Refused) as refused:
        await hub.open(query={"user": "42"}, headers={"Host": host})
    assert refused.value.status == 403


async def test_without_it_every_name_will_do(hub: LiveHub) -> None:
    for host in BAD_HOSTS:
        assert (await hub.call("GET", "/health/live", key=None, headers={"Host": host})).status == 200


@pytest.mark.parametrize("origin", ["http://localhost:3000", "http://127.0.0.1", "http://[::1]:8080"])
async def test_in_dev_mode_pages_of_this_machine_are_good(start_hub: StartHub, origin: str) -> None:
    hub = await start_hub(dev=True)
    client = await hub.open(query={"user": "42"}, headers={"Origin": origin}, subprotocol=JSON)
    assert (await client.next())["hub"] == "welcome"
    with pytest.raises(Refused):
        await hub.open(query={"user": "42"}, headers={"Origin": "https://evil.example"})


@pytest.mark.parametrize("host", ["0.0.0.0", "example.com"])
def test_dev_mode_listens_on_loopback_only(host: str) -> None:
    ended = hubd("serve", "--dev", "--host", host, "--port", "0")
    assert ended.code == 1
    assert ended.out == ""
    assert "127.0.0.1" in ended.err and len(ended.err.splitlines()) == 1
