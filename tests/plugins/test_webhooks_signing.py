"""Signatures: as the specification has them, and of no use to anybody who changes anything."""

import base64

import pytest
from hubd_webhooks.signing import secret_bytes, signature, signed_headers

from tests.plugins.webhooks_world import KEY, OTHER_KEY, OTHER_SECRET, SECRET, is_genuine

NOW = 1_800_000_000


def test_the_example_of_the_specification() -> None:
    # https://github.com/standard-webhooks/standard-webhooks: the vector that its libraries are tested with.
    key = secret_bytes("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    body = b'{"test": 2432232314}'
    assert (
        signature(key, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, body)
        == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
    )


def test_a_receiver_believes_it() -> None:
    headers = signed_headers([KEY], "msg_1", NOW, b"{}")
    assert is_genuine(headers, b"{}", KEY, NOW)
    assert headers["content-type"] == "application/json"


@pytest.mark.parametrize(
    ("change", "body", "key", "now"),
    [
        ({}, b"{ }", KEY, NOW),
        ({}, b"", KEY, NOW),
        ({}, b"{}", KEY[:-1], NOW),
        ({}, b"{}", KEY, NOW + 301),
        ({}, b"{}", KEY, NOW - 301),
        ({"webhook-timestamp": str(NOW + 1)}, b"{}", KEY, NOW),
        ({"webhook-id": "msg_2"}, b"{}", KEY, NOW),
        ({"webhook-signature": "v1,"}, b"{}", KEY, NOW),
    ],
)
def test_a_receiver_finds_whatever_was_changed(change: dict[str, str], body: bytes, key: bytes, now: float) -> None:
    assert not is_genuine(signed_headers([KEY], "msg_1", NOW, b"{}") | change, body, key, now)


def test_while_a_secret_is_replaced_both_count() -> None:
    headers = signed_headers([KEY, secret_bytes(OTHER_SECRET)], "msg_1", NOW, b"{}")
    assert is_genuine(headers, b"{}", KEY, NOW) and is_genuine(headers, b"{}", OTHER_KEY, NOW)
    assert not is_genuine(headers, b"{}", OTHER_KEY[:-1], NOW)


def test_a_secret_is_the_bytes_behind_the_prefix() -> None:
    assert secret_bytes(SECRET) == KEY


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "whsec_ and base64"),
        (base64.b64encode(KEY).decode(), "whsec_ and base64"),
        ("whsec_s3cr3t!", "no base64"),
        ("whsec_s3cr3", "no base64"),
        (SECRET + "!", "no base64"),
        (SECRET + "\n", "no base64"),
        ("whsec_\u00e4\u00e4\u00e4\u00e4", "no base64"),
        ("whsec_" + base64.b64encode(bytes(23)).decode(), "at least 24 bytes, and this one has 23"),
    ],
)
def test_what_is_no_secret_is_refused_without_being_shown(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=why) as error:
        secret_bytes(text)
    assert "s3cr" not in str(error.value)
