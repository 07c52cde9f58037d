"""What a browser says as it registers."""

from typing import Any

import pytest
from hubd_webpush.backend import WebPushBackend
from hubd_webpush.keys import key_id

from hubd.core.errors import Problem
from tests.plugins.webpush_world import AUTH, ENDPOINT, POINT, base64url, config, from_base64url, subscription

OFF_CURVE = base64url(b"\x04" + b"\x01" * 64)
COMPRESSED = base64url(b"\x02" + from_base64url(POINT)[1:33])


def keys(**more: Any) -> dict[str, Any]:
    return {"keys": {"p256dh": POINT, "auth": AUTH, **more}}


def test_what_is_kept() -> None:
    made = config()
    address = WebPushBackend(made).check(subscription())
    own = {"endpoint": ENDPOINT, "keys": {"p256dh": POINT, "auth": AUTH}, "vapid": made.key.id, "said": False}
    assert (address.key, address.fields, address.app) == (ENDPOINT, own, made.key.id)


def test_which_key_it_subscribed_with() -> None:
    made = config()
    address = WebPushBackend(made).check(subscription(applicationServerKey=made.key.public))
    assert (address.fields["vapid"], address.fields["said"]) == (made.key.id, True)
    assert made.key.id == key_id(from_base64url(made.key.public))
    assert WebPushBackend(made).check(subscription(applicationServerKey=None)).fields["said"] is False


@pytest.mark.parametrize(
    "more",
    [
        {}, {"expirationTime": 1_800_000_000_000}, {"expirationTime": 1.5}, {"expirationTime": None},
        keys(p256dh=POINT + "="), keys(auth=AUTH + "=="),
    ],
)  # fmt: skip
def test_padding_and_times_make_no_difference(more: dict[str, Any]) -> None:
    check = WebPushBackend(config()).check
    assert check(subscription(**more)) == check({name: subscription()[name] for name in ("endpoint", "keys")})


@pytest.mark.parametrize(
    ("more", "paths"),
    [
        ({"user": "ada"}, ["user"]),
        ({"expirationTime": "soon"}, ["expirationTime"]),
        ({"expirationTime": True}, ["expirationTime"]),
        ({"expirationTime": float("nan")}, ["expirationTime"]),
        ({"expirationTime": float("inf")}, ["expirationTime"]),
        ({"keys": None}, ["keys"]),
        ({"keys": []}, ["keys"]),
        ({"keys": {}}, ["keys.p256dh", "keys.auth"]),
        (keys(more="x"), ["keys.more"]),
        (keys(p256dh=OFF_CURVE), ["keys.p256dh"]),
        (keys(p256dh=COMPRESSED), ["keys.p256dh"]),
        (keys(p256dh=POINT[:-2]), ["keys.p256dh"]),
        (keys(p256dh=POINT + "AA"), ["keys.p256dh"]),
        (keys(p256dh="!" + POINT), ["keys.p256dh"]),
        (keys(p256dh=POINT + "==="), ["keys.p256dh"]),
        (keys(p256dh=5), ["keys.p256dh"]),
        (keys(auth=AUTH[:-2] + "+/"), ["keys.auth"]),
        (keys(p256dh="ö"), ["keys.p256dh"]),
        (keys(auth=""), ["keys.auth"]),
        (keys(auth=base64url(bytes(15))), ["keys.auth"]),
        (keys(auth=base64url(bytes(17))), ["keys.auth"]),
        (keys(auth=None), ["keys.auth"]),
        ({"applicationServerKey": POINT}, ["applicationServerKey"]),
        ({"applicationServerKey": OFF_CURVE}, ["applicationServerKey"]),
        ({"applicationServerKey": 5}, ["applicationServerKey"]),
        ({"applicationServerKey": {}, "x": 1, "keys": {"auth": AUTH}}, ["x", "keys.p256dh", "applicationServerKey"]),
    ],
)
def test_everything_that_is_wrong_is_named(more: dict[str, Any], paths: list[str]) -> None:
    with pytest.raises(Problem) as refused:
        WebPushBackend(config()).check(subscription(**more))
    assert [error.path for error in refused.value.errors] == paths
