"""The stand-in's token endpoint: an assertion counts only if the account has just signed it, and for sending."""

from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from hubd.testing import FakeClock
from hubd.testing.fcm_tokens import GOOGLE, GRANT, FcmTokens, TokenRefused

URL = "http://127.0.0.1:8/token"
SCOPE = "https://www.googleapis.com/auth/firebase.messaging"
CLOCK = FakeClock()
TOKENS = FcmTokens("proj", CLOCK, CLOCK)
ACCOUNT = TOKENS.account(URL)
NOW = int(CLOCK.now())
CLAIMS: dict[str, Any] = {"iss": TOKENS.email, "aud": URL, "scope": SCOPE, "iat": NOW, "exp": NOW + 3600}


def signed(claims: dict[str, Any], *, key: Any = ACCOUNT["private_key"], algorithm: str = "RS256", **head: Any) -> str:
    return jwt.encode(claims, key, algorithm, headers={"kid": TOKENS.key_id} | head)


def exchanged(assertion: Any, grant: str = GRANT) -> dict[str, Any]:
    return TOKENS.exchange({"grant_type": grant, "assertion": assertion}, URL)


@pytest.mark.parametrize(
    "more", [{}, {"aud": GOOGLE}, {"scope": f"other {SCOPE}"}, {"iat": NOW - 299, "exp": NOW + 300}]
)
def test_a_good_one(more: dict[str, Any]) -> None:
    answer = exchanged(signed(CLAIMS | more))
    assert (answer["token_type"], answer["expires_in"]) == ("Bearer", 3600)
    assert TOKENS.is_good(f"Bearer {answer['access_token']}")


@pytest.mark.parametrize(
    "more",
    [
        {"iss": "other@proj.iam.gserviceaccount.com"},
        {"aud": "https://other"},
        {"scope": "https://www.googleapis.com/auth/userinfo.email"},
        {"scope": ""},
        {"scope": [SCOPE]},
        {"exp": NOW + 3601},
        {"exp": NOW},
        {"iat": NOW - 4000, "exp": NOW - 400},
        {"iat": NOW + 301, "exp": NOW + 600},
        {"iat": str(NOW)},
        {"iat": None},
    ],
)
def test_what_is_refused(more: dict[str, Any]) -> None:
    claims = {name: value for name, value in (CLAIMS | more).items() if value is not None}
    with pytest.raises(TokenRefused):
        exchanged(signed(claims))


def test_another_s_signature_is_refused() -> None:
    with pytest.raises(TokenRefused):
        exchanged(signed(CLAIMS, key=rsa.generate_private_key(65537, 2048)))
    with pytest.raises(TokenRefused):
        exchanged(signed(CLAIMS, kid="other"))
    with pytest.raises(TokenRefused):
        exchanged(signed(CLAIMS, algorithm="RS512"))
    with pytest.raises(TokenRefused):
        exchanged(jwt.encode(CLAIMS, "", "none", headers={"kid": TOKENS.key_id}))


@pytest.mark.parametrize("assertion", [None, "", "x", "x.y.z", signed(CLAIMS)[:-8]])
def test_what_is_no_assertion(assertion: Any) -> None:
    with pytest.raises(TokenRefused):
        exchanged(assertion)


def test_another_grant_is_refused() -> None:
    with pytest.raises(TokenRefused) as refused:
        exchanged(signed(CLAIMS), "password")
    assert refused.value.error == "unsupported_grant_type"


def test_a_token_ends() -> None:
    clock = FakeClock()
    tokens = FcmTokens("proj", clock, clock)
    header = f"Bearer {tokens.give()}"
    clock.advance(3599)
    assert tokens.is_good(header)
    clock.advance(1)
    assert not tokens.is_good(header)
    header = f"Bearer {tokens.give()}"
    tokens.revoke()
    assert not tokens.is_good(header)


@pytest.mark.parametrize("header", ["", "Bearer", "Bearer x", "Basic eA==", "ya29.stand-in-1"])
def test_what_is_no_token(header: str) -> None:
    assert not TOKENS.is_good(header)
