"""Provider tokens: what they say, and how seldom there is a new one."""

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from hubd_apns import tokens as tokens_module
from hubd_apns.tokens import AT_LEAST_S, ISSUED_EVERY_S, ProviderTokens

from hubd.testing import FakeClock

KEY = generate_private_key(SECP256R1())
START = 1_800_000_000.0  # a full half hour


def provider(clock: FakeClock) -> ProviderTokens:
    return ProviderTokens(KEY, "KEY1234567", "TEAM123456", clock)


def test_a_token_is_what_apple_asks_for() -> None:
    token = provider(FakeClock(START + 60)).get_header().removeprefix("bearer ")
    assert jwt.get_unverified_header(token) == {"alg": "ES256", "kid": "KEY1234567"}
    claims = jwt.decode(token, KEY.public_key(), algorithms=["ES256"], options={"verify_iat": False})
    assert claims == {"iss": "TEAM123456", "iat": int(START)}


def issued(header: str) -> int:
    claims = jwt.decode(header.removeprefix("bearer "), options={"verify_signature": False, "verify_iat": False})
    found: int = claims["iat"]
    return found


@pytest.mark.parametrize("begun", [0, 1, 600, 1199, 1200, 1799])
def test_over_a_day_it_is_never_older_than_an_hour_nor_new_within_20_minutes(begun: int) -> None:
    clock = FakeClock(START + begun)
    source = provider(clock)
    last, changed = source.get_header(), []
    for _ in range(24 * 60 * 2):
        clock.advance(30)
        header = source.get_header()
        assert 0 <= clock.now() - issued(header) < 3600 - 300
        if header != last:
            changed.append(clock.now())
            last = header
    assert all(after - before >= AT_LEAST_S for before, after in zip([START + begun, *changed], changed, strict=False))
    assert len(changed) == source.signed - 1 <= 24 * 3600 / ISSUED_EVERY_S + 1


def test_a_hub_that_is_restarted_has_the_same_token() -> None:
    assert len({provider(FakeClock(START + second)).get_header() for second in range(0, 1800, 100)}) == 1


def test_a_library_without_deterministic_signatures_does_too(monkeypatch: pytest.MonkeyPatch) -> None:
    from cryptography.exceptions import UnsupportedAlgorithm

    class Old:
        def sign(self, data: bytes, algorithm: object) -> bytes:
            if algorithm.deterministic_signing:  # type: ignore[attr-defined]
                raise UnsupportedAlgorithm("too old")
            return KEY.sign(data, algorithm)  # type: ignore[arg-type]

    header = tokens_module._signed(Old(), "KEY1234567", "TEAM123456", int(START))  # type: ignore[arg-type]
    jwt.decode(header, KEY.public_key(), algorithms=["ES256"], options={"verify_iat": False})


def test_one_that_apple_takes_for_expired_is_replaced_once() -> None:
    clock = FakeClock(START)
    source = provider(clock)
    first = source.get_header()
    clock.advance(AT_LEAST_S - 1)
    assert not source.refresh(first) and source.get_header() == first
    clock.advance(1)
    assert source.refresh(first)
    second = source.get_header()
    assert second != first and issued(second) == START + AT_LEAST_S
    assert source.refresh(first) and source.get_header() == second  # the others who had the first
    assert not source.refresh(second)


def test_a_machine_that_slept_has_a_new_one() -> None:
    clock = FakeClock(START)
    source = provider(clock)
    source.get_header()
    clock._now += 7200  # the monotonic clock stood still
    assert issued(source.get_header()) == START + 7200


def test_a_clock_that_is_put_back_doesn_t_make_tokens_of_the_future_for_long() -> None:
    clock = FakeClock(START + 7200)
    source = provider(clock)
    source.get_header()
    clock._now -= 7200
    clock.advance(AT_LEAST_S)
    assert issued(source.get_header()) == START
