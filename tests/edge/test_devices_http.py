"""Devices over HTTP: registered by their users or by a server, listed without secrets, dropped by whose they are."""

import base64
from collections.abc import AsyncIterator
from typing import Any

import pytest

from hubd.hooks.push import Address
from hubd.testing.backend import RecordingBackend
from tests.edge.conftest import StartHub
from tests.edge.live_hub import OWN_ORIGIN, Answer, LiveHub


def base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


KEYS = {"p256dh": base64url(b"\x04" + bytes(range(64))), "auth": base64url(bytes(range(16)))}
ENDPOINT = "https://push.example.com/wpush/v2/secret-of-this-browser"
TOKEN = "0123456789abcdef" * 4


def subscription(endpoint: str = ENDPOINT, **more: Any) -> dict[str, Any]:
    return {"endpoint": endpoint, "expirationTime": None, "keys": KEYS} | more


def paths(answer: Answer) -> list[str]:
    return sorted(answer.paths)


async def post(hub: LiveHub, path: str, body: Any, user: str = "ada", **more: Any) -> Answer:
    return await hub.call("POST", path, body, token=hub.token(user), **more)


async def listed(hub: LiveHub, user: str) -> list[dict[str, Any]]:
    answer = await hub.call("GET", "/api/devices", token=hub.token(user))
    assert answer.status == 200 and [*answer.body] == ["devices"]
    found: list[dict[str, Any]] = answer.body["devices"]
    return found


# --- Registering


async def test_a_browsers_own_words_are_enough(hub: LiveHub) -> None:
    first = await post(hub, "/api/push-subscriptions", subscription())
    assert first.status == 201 and [*first.body] == ["id"] and first.body["id"].startswith("dev_")
    again = await post(hub, "/api/push-subscriptions", subscription(expirationTime=1_900_000_000_000))
    assert (again.status, again.body) == (200, first.body)
    (shown,) = await listed(hub, "ada")
    assert shown == {
        "id": first.body["id"], "platform": "webpush", "app": "", "host": "push.example.com",
        "registered_at": int(hub.clock.now() * 1000),
    }  # fmt: skip


@pytest.mark.parametrize("way", ["cookie", "query", "bearer"])
async def test_any_proof_of_a_user_does(start_hub: StartHub, way: str) -> None:
    hub = await start_hub(dev=way == "query")
    ways: dict[str, dict[str, Any]] = {
        "cookie": {"headers": {"Cookie": f"hubd_token={hub.token('ada')}", "Origin": OWN_ORIGIN}, "key": None},
        "query": {"key": None},
        "bearer": {"token": hub.token("ada")},
    }
    path = "/api/push-subscriptions" + ("?user=ada" if way == "query" else "")
    assert (await hub.call("POST", path, subscription(), **ways[way])).status == 201
    (shown,) = hub.hub.devices.listed("ada")
    assert shown[0].address["endpoint"] == ENDPOINT


async def test_without_one_nothing_is_taken(hub: LiveHub) -> None:
    for method, path in (
        ("POST", "/api/push-subscriptions"), ("POST", "/api/devices"), ("GET", "/api/devices"),
        ("DELETE", "/api/devices/dev_1"),
    ):  # fmt: skip
        body = subscription() if method == "POST" else None
        assert (await hub.call(method, path, body, key=None)).status == 401
        assert (await hub.call(method, path, body, key="backend")).status == 403
    assert (await post(hub, "/api/devices/batch", [])).status == 403
    assert (await hub.call("POST", "/api/devices/batch", [], key="publisher")).status == 403
    assert len(hub.hub.devices) == 0


async def test_a_foreign_page_registers_nothing_by_the_cookie(hub: LiveHub) -> None:
    cookie = f"hubd_token={hub.token('ada')}"
    for origin in ({}, {"Origin": "https://evil.example"}):
        headers = {"Cookie": cookie, **origin}
        answer = await hub.call("POST", "/api/push-subscriptions", subscription(), headers=headers, key=None)
        assert answer.status == 403


async def test_whoever_signed_in_last_has_the_browser(hub: LiveHub) -> None:
    first = await post(hub, "/api/push-subscriptions", subscription(), "ada")
    second = await post(hub, "/api/push-subscriptions", subscription(), "bob")
    assert first.body == second.body and second.status == 200
    assert (await listed(hub, "ada"), len(await listed(hub, "bob"))) == ([], 1)


async def test_an_apps_token(hub: LiveHub) -> None:
    for platform in ("apns", "fcm"):
        assert (await post(hub, "/api/devices", {"platform": platform, "token": TOKEN})).status == 201
    assert (await post(hub, "/api/devices", {"platform": "apns", "token": TOKEN})).status == 200
    assert (await post(hub, "/api/devices", {"platform": "webpush", **subscription()})).status == 201
    assert sorted(one["platform"] for one in await listed(hub, "ada")) == ["apns", "fcm", "webpush"]


@pytest.mark.parametrize(
    ("path", "body", "wrong"),
    [
        ("/api/push-subscriptions", {}, ["endpoint", "keys"]),
        ("/api/push-subscriptions", [], [""]),
        ("/api/push-subscriptions", "x", [""]),
        ("/api/push-subscriptions", subscription(user="bob"), ["user"]),
        ("/api/push-subscriptions", subscription(user="ada", platform="webpush"), ["platform", "user"]),
        ("/api/push-subscriptions", subscription("http://x/", user="bob", keys={}, more=1),
         ["endpoint", "keys.auth", "keys.p256dh", "more", "user"]),
        ("/api/devices", {"platform": "apns"}, ["token"]),
        ("/api/devices", {"token": TOKEN}, ["platform"]),
        ("/api/devices", {"platform": "sms", "token": TOKEN}, ["platform"]),
        ("/api/devices", {"platform": ["apns"], "token": TOKEN}, ["platform"]),
        ("/api/devices", {"platform": None, "user": "bob"}, ["platform", "user"]),
        ("/api/devices", {"platform": "fcm", "token": "a b", "user": "bob", "x": {}}, ["token", "user", "x"]),
    ],
)  # fmt: skip
async def test_everything_wrong_is_named_at_once(hub: LiveHub, path: str, body: Any, wrong: list[str]) -> None:
    answer = await post(hub, path, body)
    assert paths(answer) == wrong and len(hub.hub.devices) == 0
    assert ENDPOINT not in str(answer.body) and TOKEN not in str(answer.body)


async def test_a_body_is_small(hub: LiveHub) -> None:
    large = subscription(more="x" * 16_384)
    for path in ("/api/push-subscriptions", "/api/devices"):
        assert (await post(hub, path, large)).code == "too_large"

    async def chunks() -> AsyncIterator[bytes]:
        yield b'{"token": "'
        yield b"x" * 20_000 + b'"}'

    chunked = await hub.call("POST", "/api/devices", data=chunks(), token=hub.token("ada"))
    assert (chunked.status, chunked.code) == (413, "too_large")


async def test_a_backend_has_the_say_about_its_platform(hub: LiveHub) -> None:
    hub.hub.pushing.backends = {"toy": RecordingBackend("toy"), "fcm": RecordingBackend("fcm")}
    assert (await post(hub, "/api/devices", {"platform": "toy", "token": "t", "host": "h"})).status == 201
    assert paths(await post(hub, "/api/devices", {"platform": "toy", "x": 1, "user": "bob"})) == ["token", "user", "x"]
    assert paths(await post(hub, "/api/devices", {"platform": "fcm", "token": "t", "app": "a"})) == ["app"]
    assert "toy" in (await post(hub, "/api/devices", {"platform": "sms"})).body["detail"]
    ((device, _),) = hub.hub.devices.listed("ada")
    assert (device.platform, device.address) == ("toy", {"token": "t", "host": "h"})


async def test_no_backend_is_shown_whose_it_is(hub: LiveHub) -> None:
    backend = RecordingBackend("webpush")
    backend.check = lambda fields: Address(str(fields["endpoint"]), fields)  # type: ignore[method-assign]  # takes all
    hub.hub.pushing.backends = {"webpush": backend}
    answer = await post(hub, "/api/push-subscriptions", subscription(user="bob", platform="webpush"))
    assert paths(answer) == ["platform", "user"]
    assert paths(await post(hub, "/api/devices", {"platform": "webpush", **subscription(user="bob")})) == ["user"]
    await post(hub, "/api/devices", {"platform": "webpush", **subscription()})
    ((device, _),) = hub.hub.devices.listed("ada")
    assert device.address == subscription()


# --- Listing, dropping


async def test_what_is_shown_has_no_secrets(hub: LiveHub) -> None:
    await post(hub, "/api/push-subscriptions", subscription())
    await post(hub, "/api/devices", {"platform": "apns", "token": TOKEN})
    for answer in (
        await hub.call("GET", "/api/devices", token=hub.token("ada")),
        await hub.call("GET", "/api/users/ada"),
    ):
        assert len(answer.body["devices"]) == 2
        for secret in (ENDPOINT, "secret-of-this-browser", TOKEN, *KEYS.values(), "unchecked"):
            assert secret not in str(answer.body)
    assert (await hub.call("GET", "/api/users/bob")).body["devices"] == []


async def test_one_drops_ones_own_and_nobody_elses(hub: LiveHub) -> None:
    id = (await post(hub, "/api/push-subscriptions", subscription())).body["id"]
    for user, path in (("bob", id), ("ada", "dev_none"), ("ada", id.upper())):
        answer = await hub.call("DELETE", f"/api/devices/{path}", token=hub.token(user))
        assert (answer.status, answer.code) == (404, "not_found")
    assert len(await listed(hub, "ada")) == 1
    assert (await hub.call("DELETE", f"/api/devices/{id}", token=hub.token("ada"))).status == 204
    assert (await hub.call("DELETE", f"/api/devices/{id}", token=hub.token("ada"))).status == 404
    assert await listed(hub, "ada") == []


async def test_a_revoked_token_registers_nothing(hub: LiveHub) -> None:
    token = hub.token("ada")
    await hub.call("POST", "/api/users/ada/revoke")
    assert (await hub.call("POST", "/api/push-subscriptions", subscription(), token=token)).status == 401


# --- Many


async def test_a_server_registers_many_each_with_its_answer(hub: LiveHub) -> None:
    bodies: list[Any] = [
        {"user": "ada", "platform": "webpush", **subscription()},
        {"user": "bob", "platform": "fcm", "token": "t1"},
        {"user": "bob", "platform": "fcm", "token": "t1"},
        {"platform": "fcm"},
        {"user": "not one", "platform": "sms"},
        "x",
        {"user": "eve", "platform": "apns", "token": TOKEN},
    ]
    answer = await hub.call("POST", "/api/devices/batch", bodies)
    assert answer.status == 200
    assert [one["status"] for one in answer.body] == [201, 201, 200, 422, 422, 422, 201]
    assert answer.body[1]["id"] == answer.body[2]["id"]
    assert [sorted(error["path"] for error in one.get("errors", ())) for one in answer.body[3:6]] == [
        ["token", "user"], ["platform", "user"], [""],
    ]  # fmt: skip
    assert [len(await listed(hub, user)) for user in ("ada", "bob", "eve")] == [1, 1, 1]
    again = await hub.call("POST", "/api/devices/batch", bodies)
    assert [one["status"] for one in again.body] == [200, 200, 200, 422, 422, 422, 200]


async def test_in_a_batch_too_the_last_one_has_the_device(hub: LiveHub) -> None:
    bodies = [{"user": f"u{n}", "platform": "fcm", "token": "t"} for n in range(50)]
    answer = await hub.call("POST", "/api/devices/batch", bodies)
    assert [one["status"] for one in answer.body] == [201, *[200] * 49]
    assert [user for user in (f"u{n}" for n in range(50)) if hub.hub.devices.listed(user)] == ["u49"]


async def test_an_import_takes_no_phone_from_whoever_has_it_by_now(hub: LiveHub) -> None:
    await post(hub, "/api/devices", {"platform": "fcm", "token": "t"}, "bob")
    for more in ({}, {"registered_at": int(hub.clock.now() * 1000) - 1}):
        answer = await hub.call(
            "POST", "/api/devices/batch", [{"user": "ada", "platform": "fcm", "token": "t", **more}]
        )
        assert [one["status"] for one in answer.body] == [200]
        assert (len(await listed(hub, "ada")), len(await listed(hub, "bob"))) == (0, 1)


async def test_an_import_says_when_it_was_registered(hub: LiveHub) -> None:
    at = int(hub.clock.now() * 1000) - 5000
    bodies = [
        {"user": "ada", "platform": "fcm", "token": "t1"},
        {"user": "ada", "platform": "fcm", "token": "t2", "registered_at": at},
        {"user": "ada", "platform": "fcm", "token": "t3", "registered_at": at + 0.5},
    ]
    answer = await hub.call("POST", "/api/devices/batch", bodies)
    assert [one["status"] for one in answer.body] == [201, 201, 201]
    assert [one["registered_at"] for one in await listed(hub, "ada")] == [0, at, at]
    wrong = [{"user": "ada", "platform": "fcm", "token": "t", "registered_at": at} for at in ("x", -1, True, 1e300)]
    answer = await hub.call("POST", "/api/devices/batch", wrong)
    assert [[error["path"] for error in one["errors"]] for one in answer.body] == [["registered_at"]] * 4


@pytest.mark.parametrize("bodies", [{}, "x", [{}] * 1001])
async def test_what_is_no_batch(hub: LiveHub, bodies: Any) -> None:
    assert paths(await hub.call("POST", "/api/devices/batch", bodies)) == [""]


async def test_a_full_batch_and_its_limits(start_hub: StartHub) -> None:
    hub = await start_hub(push={"devices": 900})
    bodies = [{"user": f"u{n}", "platform": "fcm", "token": f"t{n}"} for n in range(1000)]
    answer = await hub.call("POST", "/api/devices/batch", bodies)
    assert [one["status"] for one in answer.body[:900]] == [201] * 900
    assert {one["status"] for one in answer.body[900:]} == {503} and answer.body[900]["code"] == "unavailable"
    assert len(hub.hub.devices) == 900
