"""Capabilities: good for one user, one notification and a time; whatever else is brought is none."""

import base64
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hubd.push.capability import PREFIX, SECRET_BYTES, Capabilities
from hubd.testing import FakeClock

SECRET = bytes(range(SECRET_BYTES))
IDS = st.from_regex(r"[A-Za-z0-9._:-]{1,128}", fullmatch=True)
USERS = st.from_regex(r"[A-Za-z0-9_.@|+=-]{1,64}", fullmatch=True)


def made(clock: FakeClock | None = None, *, secret: bytes = SECRET, **revoked: float) -> Capabilities:
    return Capabilities(lambda: secret, clock or FakeClock(), revoked)


def flipped(text: str, place: int) -> str:
    """The same with one bit of what it says changed."""
    data = bytearray(base64.urlsafe_b64decode(text[len(PREFIX) :] + "=" * (-len(text[len(PREFIX) :]) % 4)))
    data[place % len(data)] ^= 1 << place % 8
    return PREFIX + base64.urlsafe_b64encode(data).decode().rstrip("=")


@given(IDS, USERS, st.integers(0, 2**39))
def test_it_names_its_user_for_its_notification(id: str, user: str, more_s: int) -> None:
    clock = FakeClock()
    capabilities = made(clock)
    text = capabilities.sign(id, user, clock.now() + more_s)
    assert text.startswith("cap_") and capabilities.user_of(text, id) == user
    assert len(text) < 140 and (len(user) > 40 or len(text) < 120)
    assert text.removeprefix("cap_").replace("-", "").replace("_", "").isalnum(), "it can stand in a header"
    assert "." not in text, "nobody takes it for a JWT"


@given(IDS, IDS, USERS)
def test_for_another_notification_it_is_none(id: str, other: str, user: str) -> None:
    clock = FakeClock()
    capabilities = made(clock)
    assert (capabilities.user_of(capabilities.sign(id, user, clock.now() + 1), other) is None) == (id != other)


@given(st.integers(0, 10_000))
def test_any_bit_of_it_counts(place: int) -> None:
    clock = FakeClock()
    capabilities = made(clock)
    text = capabilities.sign("n1", "ada", clock.now() + 60)
    assert capabilities.user_of(flipped(text, place), "n1") is None


CHANGES: list[Callable[[str], str]] = [
    lambda text: text + "=",
    lambda text: text + "A",
    lambda text: text[:-1],
    lambda text: text + "\n",
    lambda text: " " + text,
    lambda text: text.replace("cap_", "CAP_"),
    lambda text: text.removeprefix("cap_"),
    lambda text: text[:20] + "é" + text[21:],
    lambda text: text[:20] + "!" + text[20:],
    lambda text: "cap_",
    lambda text: "",
    lambda text: "cap_" + "A" * 10_000,
    lambda text: "cap_" + "A" * 44,
]


@pytest.mark.parametrize("change", CHANGES)
def test_what_is_written_otherwise_is_none(change: Callable[[str], str]) -> None:
    clock = FakeClock()
    capabilities = made(clock)
    text = capabilities.sign("n1", "ada", clock.now() + 60)
    assert capabilities.user_of(text, "n1") == "ada"
    assert capabilities.user_of(change(text), "n1") is None


@given(st.text(max_size=200))
def test_no_text_breaks_it(text: str) -> None:
    assert made().user_of(text, "n1") is None
    assert made().user_of(PREFIX + text, "n1") is None
    assert made().user_of("cap_AAAA", text) is None


def test_an_id_that_none_can_have_has_none() -> None:
    clock = FakeClock()
    capabilities = made(clock)
    said = capabilities.sign("n1\0", "ada", clock.now() + 60)
    assert capabilities.user_of(said, "n1\0") is None


def test_it_is_good_until_its_end() -> None:
    clock = FakeClock()
    capabilities = made(clock)
    text = capabilities.sign("n1", "ada", int(clock.now()) + 60)
    clock.advance(59.5)
    assert capabilities.user_of(text, "n1") == "ada"
    clock.advance(1)
    assert capabilities.user_of(text, "n1") is None


def test_a_revocation_covers_those_from_before_it_and_nobody_elses() -> None:
    clock = FakeClock()
    revoked: dict[str, float] = {}
    capabilities = Capabilities(lambda: SECRET, clock, revoked)
    until = clock.now() + 3600
    ada, bob = capabilities.sign("n1", "ada", until), capabilities.sign("n1", "bob", until)
    clock.advance(0.5)
    revoked["ada"] = clock.now()
    assert (capabilities.user_of(ada, "n1"), capabilities.user_of(bob, "n1")) == (None, "bob")
    assert capabilities.user_of(capabilities.sign("n1", "ada", until), "n1") is None, "of the same moment"
    clock.advance(0.002)
    assert capabilities.user_of(capabilities.sign("n1", "ada", until), "n1") == "ada"


def test_another_secret_makes_it_worthless() -> None:
    clock = FakeClock()
    text = made(clock).sign("n1", "ada", clock.now() + 60)
    assert made(clock, secret=bytes(SECRET_BYTES)).user_of(text, "n1") is None


def test_a_short_secret_is_refused() -> None:
    with pytest.raises(ValueError, match=f"{SECRET_BYTES} bytes"):
        made(secret=SECRET[1:]).sign("n1", "ada", 1.0)
