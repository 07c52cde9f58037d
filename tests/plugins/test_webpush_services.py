"""Which endpoints are called: forms of addresses, names whose answers change; nothing but what is public is dialled."""

import asyncio
import socket
from collections.abc import AsyncIterator
from typing import Any

import pytest
from hubd_webpush.backend import WebPushBackend
from hubd_webpush.services import HOSTS, ORIGINS, SERVICES, Services

from hubd.core.errors import Problem
from hubd.egress import Egress
from hubd.egress_guard import is_public
from hubd.hooks.push import Device, Outcome
from hubd.testing import FakeClock
from tests.egress_servers import Names
from tests.plugins.webpush_world import AUTH, ENDPOINT, LOOPBACK, POINT, config, push, subscription
from tests.test_egress_urls import FORMS

GOOD = [
    ENDPOINT,
    "https://fcm.googleapis.com:443/fcm/send/x",
    "HTTPS://FCM.GoogleAPIs.com/wp/x",
    "https://android.googleapis.com/gcm/send/x",
    "https://updates.push.services.mozilla.com/wpush/v2/gAAAA",
    "https://push.services.mozilla.com/x",
    "https://web.push.apple.com/QGuQyavXutnMH",
    "https://wns2-par02p.notify.windows.com/w/?token=BQYAAAB%2f",
    "https://fcm.googleapis.com/@evil.example/?next=http://127.0.0.1/",
    "https://fcm.googleapis.com/" + "a" * (2048 - len("https://fcm.googleapis.com/")),
]
BAD = [
    # Hosts that only look like a push service's
    "https://evilgoogleapis.com/", "https://xfcm.googleapis.com.evil.example/", "https://fcm.googleapis.com.evil.example/",
    "https://fcm.googleapis.co/", "https://fcm.googleapis.comm/", "https://googleapis.com.co/", "https://fcm-googleapis.com/",
    "https://push.services.mozilla.com.example/", "https://services.mozilla.com/", "https://mozilla.com/",
    "https://evilpush.services.mozilla.com/", "https://apple.com/", "https://push.apple.com.evil.example/",
    "https://xpush.apple.com/", "https://windows.com/", "https://notify.windows.com.evil.example/",
    "https://evilnotify.windows.com/", "https://com/", "https://example.com/fcm.googleapis.com/",
    "https://example.com/?https://fcm.googleapis.com/", "https://example.com/https://fcm.googleapis.com/",
    "https://google.com/", "https://8.8.8.8/fcm.googleapis.com", "https://127.0.0.1/fcm.googleapis.com",
    "https://[::1]/fcm.googleapis.com", "https://fcm.googleapis.com.127.0.0.1/", "https://fcm.googleapis.com.0x7f000001/",
    # Readings of one text that differ
    "https://fcm.googleapis.com@127.0.0.1/", "https://fcm.googleapis.com:443@127.0.0.1/",
    "https://127.0.0.1@fcm.googleapis.com/", "https://user:pw@fcm.googleapis.com/", "https://@fcm.googleapis.com/",
    "https://fcm.googleapis.com\\@127.0.0.1/", "https://127.0.0.1\\@fcm.googleapis.com/",
    "https://127.0.0.1#@fcm.googleapis.com/", "https://127.0.0.1?@fcm.googleapis.com/",
    "https://127.0.0.1/@fcm.googleapis.com/", "https://127.0.0.1;.googleapis.com/",
    "https://127.0.0.1%2f.googleapis.com/",
    "https://127.0.0.1%00.googleapis.com/", "https://127.0.0.1\x00.googleapis.com/",
    "https://127.0.0.1 .googleapis.com/",
    "https://127.0.0.1\t.googleapis.com/", "https://127.0.0.1\n.googleapis.com/", "https://127.0.0.1,.googleapis.com/",
    "https://127.0.0.1&.googleapis.com/", "https://fcm.googleapis.com%40127.0.0.1/", "https://fcm%2egoogleapis.com/",
    "https://fcm。googleapis。com/", "https://ｆｃｍ.googleapis.com/", "https://fcm.googleapis.com。/",
    "https://fcm.googleapis.com./", "https://fcm..googleapis.com/", "https://.googleapis.com/", "https://*.googleapis.com/",
    "https://-.googleapis.com/", "https://[fcm.googleapis.com]/", "https://fcm.googleapis.com]/",
    "https:///fcm.googleapis.com/", "https:/fcm.googleapis.com/", "https:fcm.googleapis.com/", "//fcm.googleapis.com/",
    "fcm.googleapis.com/", "https:\\\\fcm.googleapis.com\\",
    " https://fcm.googleapis.com/", "https://fcm.googleapis.com/ ",
    "https://fcm.googleapis.com/\r\nHost: 127.0.0.1", "https://fcm.googleapis.com/ HTTP/1.1",
    "https://fcm.googleapis.com/#x",
    "https://fcm.googleapis.com/\u2028", "https://fcm.googleapis.com/\ud800", "https://fcm.googleapis.com/ü",
    # Schemes and ports
    "http://fcm.googleapis.com/", "http://fcm.googleapis.com:443/", "ws://fcm.googleapis.com/", "wss://fcm.googleapis.com/",
    "ftp://fcm.googleapis.com/", "file://fcm.googleapis.com/etc/passwd", "gopher://fcm.googleapis.com/",
    "https://fcm.googleapis.com:80/", "https://fcm.googleapis.com:22/", "https://fcm.googleapis.com:8443/",
    "https://fcm.googleapis.com:444/", "https://fcm.googleapis.com:0/", "https://fcm.googleapis.com:65536/",
    "https://fcm.googleapis.com:-443/", "https://fcm.googleapis.com:/", "https://fcm.googleapis.com:443:443/",
    "https://fcm.googleapis.com:٤٤٣/", "https://web.push.apple.com:2197/",
    "https://fcm.googleapis.com/" + "a" * 2048,
]  # fmt: skip
OTHERS = sorted({text.replace("{port}", "443") for text, _, _ in FORMS})


@pytest.fixture
async def dials(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[list[str]]:
    """The addresses that were about to be dialled; none of them is."""
    found: list[str] = []

    async def dial(sock: socket.socket, address: Any) -> None:
        found.append(address[0])
        raise ConnectionRefusedError

    monkeypatch.setattr(asyncio.get_running_loop(), "sock_connect", dial)
    yield found


class Everywhere(Names):
    """Any name leads to this machine."""

    async def resolve(self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET) -> Any:
        self._answers[host] = [["127.0.0.1", "::1"]]
        return await super().resolve(host, port, family)


def forged(endpoint: str) -> Device:
    """As if it had been stored, in whatever way."""
    address = {"endpoint": endpoint, "keys": {"p256dh": POINT, "auth": AUTH}, "vapid": config().key.id, "said": True}
    return Device("d1", "ada", "webpush", address)


async def reason_of(endpoint: str, names: Names) -> str:
    backend, egress = WebPushBackend(config()), Egress(resolver=names)
    backend.open(egress, FakeClock())
    try:
        result = await backend.send(forged(endpoint), push())
    finally:
        await egress.close()
    assert result.outcome in (Outcome.REFUSED, Outcome.LATER)
    return result.reason


@pytest.mark.parametrize("endpoint", [*BAD, *OTHERS], ids=lambda text: ascii(text)[1:70])
async def test_what_is_no_push_service_is_refused_twice_and_never_looked_up(endpoint: str, dials: list[str]) -> None:
    """When it registers, and once more when it is sent to."""
    with pytest.raises(Problem) as refused:
        WebPushBackend(config()).check(subscription(endpoint))
    assert [error.path for error in refused.value.errors] == ["endpoint"]
    assert "s3cret" not in str(refused.value.errors)
    names = Everywhere()
    assert await reason_of(endpoint, names) == "not allowed"
    assert (names.asked, dials) == ([], [])


def test_there_are_many_of_them() -> None:
    assert len({*BAD, *OTHERS}) >= 200


@pytest.mark.parametrize("endpoint", GOOD, ids=lambda text: text[:70])
async def test_a_push_service_that_leads_inside_is_not_dialled(endpoint: str, dials: list[str]) -> None:
    WebPushBackend(config()).check(subscription(endpoint))
    names = Everywhere()
    assert await reason_of(endpoint, names) == "not allowed"
    assert names.asked and dials == []


async def test_a_resolver_that_changes_its_answer_gains_nothing(dials: list[str]) -> None:
    inside = [
        "127.0.0.1",
        "10.0.0.1",
        "169.254.169.254",
        "::1",
        "fd00::1",
        "::ffff:127.0.0.1",
        "64:ff9b::7f00:1",
        "0.0.0.0",
    ]
    answers = [[address] for one in inside for address in ("8.8.8.8", one)] + [["8.8.8.8", *inside]]
    names = Names(fcm_googleapis_com=answers)
    asked = len(answers)
    reasons = [await reason_of(ENDPOINT, names) for _ in range(asked)]
    assert reasons == ["connection refused", "not allowed"] * len(inside) + ["connection refused"]
    assert dials == ["8.8.8.8"] * (len(inside) + 1) and all(map(is_public, dials))


@pytest.mark.parametrize("endpoint", [None, 5, True, [], {}, b"https://fcm.googleapis.com/", ""])
def test_what_is_no_text_is_no_endpoint(endpoint: Any) -> None:
    with pytest.raises(Problem) as refused:
        WebPushBackend(config()).check(subscription(endpoint))
    assert [error.path for error in refused.value.errors] == ["endpoint"]


def services(*more: str, allow: tuple[str, ...] = ()) -> Services:
    return Services((*SERVICES, *more), allow)


@pytest.mark.parametrize(
    ("endpoint", "name", "audience", "is_shared"),
    [
        (ENDPOINT, "fcm.googleapis.com", "https://fcm.googleapis.com", False),
        ("https://FCM.googleapis.com:443/x", "fcm.googleapis.com", "https://fcm.googleapis.com", False),
        ("https://a.googleapis.com/x", "googleapis.com", "https://a.googleapis.com", True),
        ("https://wns2-x.notify.windows.com/w/", "notify.windows.com", "https://wns2-x.notify.windows.com", True),
        ("https://push.example.com/x", "push.example.com", "https://push.example.com", False),
        ("https://eu.push.example.com/x", "push.example.com", "https://eu.push.example.com", True),
        ("http://127.0.0.1:8443/x", "127.0.0.1", "http://127.0.0.1:8443", False),
        ("http://10.1.2.3/x", "10.0.0.0/8", "http://10.1.2.3", True),
        ("https://inner:8000/x", "inner", "https://inner:8000", False),
    ],
)
def test_by_which_names_they_go(endpoint: str, name: str, audience: str, is_shared: bool) -> None:
    found = services("push.example.com", allow=(*LOOPBACK, "10.0.0.0/8", "inner")).origin_of(endpoint)
    assert (found.name, found.audience, found.is_shared, found.why_not) == (name, audience, is_shared, None)


def test_whoever_makes_up_hosts_makes_no_more_destinations() -> None:
    found = services()
    names = {found.origin_of(f"https://h{number}.googleapis.com/x").name for number in range(3 * ORIGINS)}
    assert names == {"googleapis.com"} and len(found._known) <= ORIGINS
    assert {found.origin_of(f"https://{host}/x").name for host in HOSTS} == HOSTS


def test_only_chromes_service_is_chromes() -> None:
    assert {endpoint for endpoint in GOOD if services().origin_of(endpoint).is_fcm} == {
        endpoint for endpoint in GOOD if "googleapis" in endpoint.lower()
    }


def test_one_device_however_its_address_is_spelled() -> None:
    check = WebPushBackend(config()).check
    same = (
        "https://fcm.googleapis.com/a/B?c",
        "https://FCM.googleapis.com:443/a/B?c",
        "HTTPS://fcm.googleapis.com/a/B?c",
    )
    assert len({check(subscription(text)).key for text in same}) == 1
    other = ("https://fcm.googleapis.com/a/b?c", "https://fcm.googleapis.com/a/B", "https://fcm.googleapis.com/a%2FB?c")
    assert len({check(subscription(text)).key for text in (same[0], *other)}) == 4
    assert check(subscription(same[1])).fields["endpoint"] == same[1]  # it is called as it came
