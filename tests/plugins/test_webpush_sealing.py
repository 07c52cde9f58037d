"""Encrypting and signing: the examples of the RFCs byte for byte, and pywebpush's own way beside ours."""

import re
from pathlib import Path

import http_ece
import pytest
from cryptography.hazmat.primitives.asymmetric.ec import (
    SECP256R1,
    EllipticCurvePrivateKey,
    derive_private_key,
    generate_private_key,
)
from hubd_webpush import sealing
from hypothesis import given, settings
from hypothesis import strategies as st
from py_vapid import Vapid02
from pywebpush import WebPusher

from hubd.testing.webpush_checks import checked_claims, decrypted
from tests.plugins.webpush_world import base64url, from_base64url, point_of

# RFC 8291 section 5 and appendix A
PLAIN = b"When I grow up, I want to be a watermelon"
SENDER = "yfWPiYE-n46HLnH0KqZOF1fJJU3MYrct3AELtAQ-oRw"
RECEIVER = "q1dXpw3UpT5VOmu_cf_v6ih07Aems3njxI-JWgLcM94"
RECEIVER_POINT = "BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4"
SALT, AUTH = "DGv6ra1nlYgDCS1FRnbzlw", "BTBZMqHH6r4Tts7J_aSIgg"
BODY = (
    "DGv6ra1nlYgDCS1FRnbzlwAAEABBBP4z9KsN6nGRTbVYI_c7VJSPQTBtkgcy27ml"
    "mlMoZIIgDll6e3vCYLocInmYWAmS6TlzAC8wEqKK6PBru3jl7A_yl95bQpu6cVPT"
    "pK4Mqgkf1CXztLVBSt2Ks3oZwbuwXPXLWyouBWLVWGNWQexSgSxsj_Qulcy4a-fN"
)
# RFC 8292 section 2.4
TOKEN = (
    "eyJ0eXAiOiJKV1QiLCJhbGciOiJFUzI1NiJ9.eyJhdWQiOiJodHRwczovL3B1c2guZXhhbXBsZS5uZXQiLCJleHAiOjE0NTM1MjM3NjgsInN1YiI6"
    "Im1haWx0bzpwdXNoQGV4YW1wbGUuY29tIn0.i3CYb7t4xfxCDquptFOepC9GAu_HLGkMlMuCGSK2rpiUfnK9ojFwDXb1JrErtmysazNjjvW2L9OkSSHz"
    "voD1oA"
)
SIGNER = "BA1Hxzyi1RUM1b5wjxsn7nGxAszw2u61m164i3MrAIxHF6YK5h4SDYic-dRuU_RCPCfA5aq9ojSwk5Y2EmClBPs"
EXAMPLE = f"vapid t={TOKEN}, k={SIGNER}"
ORIGIN, END = "https://push.example.net", 1_453_523_768


def key(text: str) -> EllipticCurvePrivateKey:
    return derive_private_key(int.from_bytes(from_base64url(text), "big"), SECP256R1())


def test_the_example_of_rfc_8291_byte_for_byte() -> None:
    body = sealing.encrypt(
        from_base64url(RECEIVER_POINT), from_base64url(AUTH), PLAIN, sender=key(SENDER), salt=from_base64url(SALT)
    )
    assert base64url(body) == BODY
    assert len(body) == len(PLAIN) + sealing.ADDED_BYTES
    assert decrypted(body, key(RECEIVER), from_base64url(AUTH)) == PLAIN


def test_the_stand_in_reads_the_rfcs_own_body() -> None:
    assert decrypted(from_base64url(BODY), key(RECEIVER), from_base64url(AUTH)) == PLAIN


@settings(max_examples=60, deadline=None)
@given(st.binary(min_size=1, max_size=3993), st.binary(min_size=16, max_size=16), st.binary(min_size=16, max_size=16))
def test_the_same_bytes_as_the_library_beneath_pywebpush(data: bytes, salt: bytes, auth: bytes) -> None:
    sender, receiver = generate_private_key(SECP256R1()), generate_private_key(SECP256R1())
    made = sealing.encrypt(point_of(receiver), auth, data, sender=sender, salt=salt or b"")
    theirs = http_ece.encrypt(
        data, salt=salt, private_key=sender, dh=point_of(receiver), auth_secret=auth, version="aes128gcm"
    )
    assert made == theirs
    assert decrypted(made, receiver, auth) == data and len(made) <= 4096


def test_what_pywebpush_encrypts_reads_the_same() -> None:
    receiver, auth = generate_private_key(SECP256R1()), b"0123456789abcdef"
    keys = {"p256dh": base64url(point_of(receiver)), "auth": base64url(auth)}
    theirs = WebPusher({"endpoint": "https://push.example.net/", "keys": keys}).encode(PLAIN)["body"]
    ours = sealing.encrypt(point_of(receiver), auth, PLAIN)
    assert decrypted(theirs, receiver, auth) == decrypted(ours, receiver, auth) == PLAIN
    assert len(ours) == len(theirs)


def test_key_and_salt_are_new_each_time() -> None:
    receiver, auth = generate_private_key(SECP256R1()), b"0123456789abcdef"
    bodies = [sealing.encrypt(point_of(receiver), auth, PLAIN) for _ in range(20)]
    assert len({body[:16] for body in bodies}) == len({body[21:86] for body in bodies}) == 20


def test_the_example_of_rfc_8292_is_good() -> None:
    assert Vapid02.verify(EXAMPLE.replace(", ", ","))
    claims = checked_claims(EXAMPLE, ORIGIN, END - 3600, SIGNER)
    assert claims == {"aud": ORIGIN, "exp": END, "sub": "mailto:push@example.com"}


@pytest.mark.parametrize(
    "subject", ["mailto:push@example.com", "https://example.com/contact", "https://example.com", "mailto:a@localhost"]
)
def test_a_signature_of_ours_says_what_the_example_says(subject: str) -> None:
    private = generate_private_key(SECP256R1())
    header = sealing.sign(private, ORIGIN, END, subject)
    assert re.fullmatch(r"vapid t=[\w-]+\.[\w-]+\.[\w-]+,k=[\w-]{87}", header)
    claims = checked_claims(header, ORIGIN, END - 3600, base64url(point_of(private)))
    assert claims == {"aud": ORIGIN, "exp": END, "sub": subject}


def test_nothing_of_it_is_loaded_before_the_hub_starts() -> None:
    folder = Path(sealing.__file__).parent
    importing = [
        path.name for path in folder.glob("*.py") if re.search(r"^(from|import) .*sealing", path.read_text(), re.M)
    ]
    assert importing == []
