"""The frames that a server sends, and its side of the handshake."""

from collections.abc import Callable

import pytest

from hubd.edge.frames import (
    NO_STATUS,
    accept_key,
    binary_frame,
    close_frame,
    is_handshake_key,
    ping_frame,
    pong_frame,
    text_frame,
)

# --- What the server sends


@pytest.mark.parametrize(
    ("length", "header_bytes"),
    [
        (0, b"\x00"),
        (125, b"\x7d"),
        (126, b"\x7e\x00\x7e"),
        (65535, b"\x7e\xff\xff"),
        (65536, b"\x7f\x00\x00\x00\x00\x00\x01\x00\x00"),
    ],
)
@pytest.mark.parametrize(("build", "first"), [(text_frame, b"\x81"), (binary_frame, b"\x82")])
def test_data_frames_are_final_unmasked_and_of_minimal_length(
    build: Callable[[bytes], bytes], first: bytes, length: int, header_bytes: bytes
) -> None:
    payload = b"x" * length
    assert build(payload) == first + header_bytes + payload


def test_ping_and_pong_frames() -> None:
    assert ping_frame() == b"\x89\x00"
    assert ping_frame(b"Hello") == b"\x89\x05Hello"  # RFC 6455, 5.7
    assert pong_frame(b"Hello") == b"\x8a\x05Hello"
    assert pong_frame(b"x" * 125) == b"\x8a\x7d" + b"x" * 125


@pytest.mark.parametrize("build", [ping_frame, pong_frame])
def test_control_frames_carry_no_more_than_125_bytes(build: Callable[[bytes], bytes]) -> None:
    with pytest.raises(ValueError, match="at most 125 bytes, not 126"):
        build(b"x" * 126)


def test_close_frame_carries_code_and_reason() -> None:
    assert close_frame(4000, "bye") == b"\x88\x05\x0f\xa0bye"
    assert close_frame(1000) == b"\x88\x02\x03\xe8"


def test_close_frame_without_status_is_empty() -> None:
    assert close_frame(NO_STATUS, "not sent") == b"\x88\x00"


@pytest.mark.parametrize(
    ("reason", "sent"),
    [
        ("x" * 123, b"x" * 123),
        ("x" * 124, b"x" * 123),
        ("x" + "é" * 61, b"x" + "é".encode() * 61),
        ("é" * 62, "é".encode() * 61),
        ("x" * 121 + "€", b"x" * 121),
        ("x" * 120 + "😀", b"x" * 120),
        ("half \ud83d pair", b"half ? pair"),
    ],
)
def test_close_reason_is_cut_to_whole_characters(reason: str, sent: bytes) -> None:
    assert close_frame(1011, reason) == bytes((0x88, len(sent) + 2)) + b"\x03\xf3" + sent


@pytest.mark.parametrize("code", [-1, 0, 999, 1004, 1006, 1015, 1016, 2999, 5000, 65536])
def test_close_frame_refuses_codes_that_may_not_be_sent(code: int) -> None:
    with pytest.raises(ValueError, match="close code"):
        close_frame(code)


# --- The handshake's key


def test_accept_key_is_the_one_of_the_rfc() -> None:
    assert accept_key("dGhlIHNhbXBsZSBub25jZQ==") == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="


def test_handshake_key_of_16_bytes() -> None:
    assert is_handshake_key("dGhlIHNhbXBsZSBub25jZQ==")


@pytest.mark.parametrize(
    "key",
    [
        "",
        "AAAAAAAAAAAAAAAAAAAA",  # 15 bytes
        "AAAAAAAAAAAAAAAAAAAAAAA=",  # 17 bytes
        "AAAAAAAAAAAAAAAAAAAAAA",  # no padding
        "AAAAAAAAAAAAAAAAAAAAAA=",
        "AAAAAAAAAAAAAAAAAAAAAA==\n",
        "AAAAAAAAAAA AAAAAAAAAAA==",
        "AAAAAAAAAAAAAAAAAAAA-_==",  # the URL alphabet
        "ÄAAAAAAAAAAAAAAAAAAAAA==",
        "================",
    ],
)
def test_handshake_key_that_is_not_16_bytes_in_base64(key: str) -> None:
    assert not is_handshake_key(key)
