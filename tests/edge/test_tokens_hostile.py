"""Forged, broken and absurd tokens: each is refused, and nothing but refused."""

import base64
import hmac
import itertools
import json
import math
from collections.abc import Iterator
from typing import Any

import jwt
import orjson
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import SecretStr

from hubd.config import Auth, JwtKey
from hubd.core.errors import BAD_TOKEN, EXPIRED, REVOKED, Disconnect
from hubd.core.identity import Identity
from hubd.edge import tokens as tokens_module
from hubd.edge.tokens import TokenRefused, Tokens
from hubd.tasks import Tasks
from hubd.testing import FakeClock

NOW = 1_800_000_000.0
SECRET = "s" * 64


def pem(key: Any) -> str:
    """The public half as PEM."""
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return str(key.public_key().public_bytes(serialization.Encoding.PEM, form).decode())


RSA_KEY = rsa.generate_private_key(65537, 2048)
EC_KEY = ec.generate_private_key(ec.SECP256R1())
ED_KEY = ed25519.Ed25519PrivateKey.generate()
SIGNING: dict[str, Any] = {
    "HS256": SECRET, "HS384": SECRET, "HS512": SECRET, "RS256": RSA_KEY, "ES256": EC_KEY, "EdDSA": ED_KEY,
}  # fmt: skip
VERIFYING = {name: key if isinstance(key, str) else pem(key) for name, key in SIGNING.items()}


def key_entry(algorithm: str = "HS256", **options: Any) -> JwtKey:
    return JwtKey.model_validate({"algorithm": algorithm, "key": SecretStr(VERIFYING[algorithm])} | options)


def sign(algorithm: str = "HS256", headers: dict[str, Any] | None = None, **claims: Any) -> str:
    """A token of user 42 that is good for an hour; a claim given as ``...`` is left out."""
    body = {"sub": "42", "exp": NOW + 3600, "iat": NOW} | claims
    body = {name: value for name, value in body.items() if value is not ...}
    return jwt.encode(body, SIGNING[algorithm], algorithm, headers)


def b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def sign_raw(payload: bytes, header: object = None, secret: bytes = SECRET.encode()) -> str:
    """A well signed HS256 token around anything; ``header`` as an object, or as JSON text."""
    text = header if isinstance(header, str) else json.dumps({"alg": "HS256"} if header is None else header)
    signed = f"{b64(text.encode())}.{b64(payload)}"
    return f"{signed}.{b64(hmac.digest(secret, signed.encode(), 'sha256'))}"


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(NOW)


def make(clock: FakeClock, *entries: JwtKey, **options: Any) -> Tokens:
    auth = Auth(jwt=entries or (key_entry(),), **options.pop("auth", {}))
    return Tokens(auth, clock, Tasks(), **options)


@pytest.fixture
def tokens(clock: FakeClock) -> Tokens:
    return make(clock)


async def refusal(tokens: Tokens, token: str) -> TokenRefused:
    with pytest.raises(TokenRefused) as caught:
        await tokens.verify(token)
    assert caught.value.__cause__ is None, "a cause may quote the token"
    return caught.value


async def refused_as(tokens: Tokens, token: str) -> Disconnect:
    return (await refusal(tokens, token)).disconnect


# --- whose signature it is


async def test_the_public_rsa_key_is_no_hmac_secret(clock: FakeClock) -> None:
    tokens = make(clock, key_entry("RS256"))
    body = orjson.dumps({"sub": "admin", "exp": NOW + 3600})
    public = RSA_KEY.public_key()
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    for text in (pem(RSA_KEY), pem(RSA_KEY).strip()):
        assert await refused_as(tokens, sign_raw(body, secret=text.encode())) is BAD_TOKEN
        forged = sign_raw(body, {"alg": "RS256"}, secret=text.encode())
        assert await refused_as(tokens, forged) is BAD_TOKEN
    der = public.public_bytes(serialization.Encoding.DER, form)
    assert await refused_as(tokens, sign_raw(body, secret=der)) is BAD_TOKEN


@pytest.mark.parametrize("alg", ["none", "None", "NONE", "", None, 1, ["HS256"], {"a": 1}, "hs256", "HS256 ", "ES521"])
@pytest.mark.parametrize("signature", ["", "correct"])
async def test_there_is_no_none(clock: FakeClock, alg: object, signature: str) -> None:
    tokens = make(clock, *map(key_entry, SIGNING))
    token = sign_raw(orjson.dumps({"sub": "42", "exp": NOW + 9}), {"alg": alg})
    assert await refused_as(tokens, token if signature else token.rpartition(".")[0] + ".") is BAD_TOKEN


async def test_a_missing_alg_is_refused(tokens: Tokens) -> None:
    assert await refused_as(tokens, sign_raw(orjson.dumps({"sub": "42", "exp": NOW + 9}), {"typ": "JWT"})) is BAD_TOKEN


@pytest.mark.parametrize(("algorithm", "claimed"), list(itertools.permutations(SIGNING, 2)))
async def test_a_changed_alg_is_refused(clock: FakeClock, algorithm: str, claimed: str) -> None:
    """The header of another algorithm on a token, first with the old signature, then signed anew over it."""
    tokens = make(clock, key_entry(algorithm))
    _, payload, signature = sign(algorithm).split(".")
    head = b64(orjson.dumps({"alg": claimed, "typ": "JWT"}))
    assert await refused_as(tokens, f"{head}.{payload}.{signature}") is BAD_TOKEN
    signer = jwt.get_algorithm_by_name(algorithm)
    again = signer.sign(f"{head}.{payload}".encode(), signer.prepare_key(SIGNING[algorithm]))
    assert await refused_as(tokens, f"{head}.{payload}.{b64(again)}") is BAD_TOKEN


@pytest.mark.parametrize("algorithm", SIGNING)
async def test_changed_bits_are_refused(clock: FakeClock, algorithm: str) -> None:
    tokens = make(clock, key_entry(algorithm))
    head, payload, signature = sign(algorithm).split(".")
    other_user = b64(orjson.dumps({"sub": "43", "exp": NOW + 3600}))
    bits = base64.urlsafe_b64decode(signature + "==")
    changed = bytes([bits[0] ^ 1]) + bits[1:]
    for bad in (b"", bits[:-1], bits + b"\0", changed, bytes(len(bits)), b"\xff" * len(bits)):
        assert await refused_as(tokens, f"{head}.{payload}.{b64(bad)}") is BAD_TOKEN
    assert await refused_as(tokens, f"{head}.{other_user}.{signature}") is BAD_TOKEN


async def test_a_stranger_s_key_is_refused(tokens: Tokens) -> None:
    body = orjson.dumps({"sub": "42", "exp": NOW + 9})
    assert await refused_as(tokens, sign_raw(body, secret=b"t" * 64)) is BAD_TOKEN
    # A key that travels in the token itself is nobody's.
    header = {"alg": "HS256", "jwk": {"kty": "oct", "k": b64(b"t" * 64)}, "jku": "http://127.0.0.1:1/", "kid": "../x"}
    assert await refused_as(tokens, sign_raw(body, header, secret=b"t" * 64)) is BAD_TOKEN


@pytest.mark.parametrize(
    "header",
    [
        {"alg": "HS256", "crit": ["exp"]},
        {"alg": "HS256", "crit": ["b64"], "b64": True},
        {"alg": "HS256", "crit": ["b64"], "b64": False},
        {"alg": "HS256", "b64": False},
        {"alg": "HS256", "crit": []},
        {"alg": "HS256", "crit": "x"},
        {"alg": "HS256", "kid": 7},
        ["HS256"],
        '"HS256"',
        "7",
    ],
)
async def test_odd_headers_are_refused(tokens: Tokens, header: object) -> None:
    body = orjson.dumps({"sub": "42", "exp": NOW + 9})
    assert await refused_as(tokens, sign_raw(body, header)) is BAD_TOKEN
    assert await refused_as(tokens, sign_raw(b"", header)) is BAD_TOKEN


async def test_without_a_key_the_refusal_says_what_to_configure(clock: FakeClock) -> None:
    tokens = Tokens(Auth(), clock, Tasks())
    assert "[[auth.jwt]]" in (await refusal(tokens, sign())).reason


# --- claims


WRONG_CLAIMS: list[dict[str, Any]] = [
    {"sub": ...}, {"sub": None}, {"sub": 42}, {"sub": ""}, {"sub": "a:b"}, {"sub": "x" * 65}, {"sub": "ä"},
    {"sub": "a b"}, {"sub": "42\n"}, {"sub": ["42"]}, {"sub": "*"},
    {"exp": ...}, {"exp": None}, {"exp": str(int(NOW) + 9)}, {"exp": True}, {"exp": -1}, {"exp": 10**400},
    {"exp": 2**63}, {"exp": 1e308}, {"exp": math.inf}, {"exp": math.nan}, {"exp": -math.inf}, {"exp": []}, {"exp": {}},
    {"exp": NOW * 1000},
    {"iat": "now"}, {"iat": None}, {"iat": False}, {"iat": math.nan}, {"iat": [NOW]}, {"iat": NOW + 6}, {"iat": -1},
    {"nbf": "x"}, {"nbf": None}, {"nbf": NOW + 6}, {"nbf": True},
    {"topics": None}, {"topics": "team:*"}, {"topics": [1]}, {"topics": {"a": 1}}, {"topics": ["a b"]},
    {"topics": ["**:x"]}, {"topics": [""]}, {"topics": ["a"] * 101}, {"topics": [["a"]]}, {"topics": ["x" * 65]},
    {"publish": None}, {"publish": "**"}, {"publish": ["ü"]}, {"publish": ["a"] * 101},
    {"max_priority": None}, {"max_priority": "CRITICAL"}, {"max_priority": "urgent"}, {"max_priority": 2},
    {"max_priority": ["critical"]}, {"max_priority": "crıtical"},
    {"tags": None}, {"tags": "a"}, {"tags": [1]}, {"tags": [""]}, {"tags": ["x" * 129]}, {"tags": ["a"] * 101},
]  # fmt: skip


@pytest.mark.parametrize("claims", WRONG_CLAIMS, ids=lambda claims: json.dumps(claims, default=lambda _: "absent")[:40])
async def test_wrong_claims_are_refused(tokens: Tokens, claims: dict[str, Any]) -> None:
    body = {"sub": "42", "exp": NOW + 3600} | claims
    text = json.dumps({name: value for name, value in body.items() if value is not ...})
    refused = await refusal(tokens, sign_raw(text.encode()))
    assert refused.disconnect is BAD_TOKEN
    assert not refused.temporary


@pytest.mark.parametrize(
    "payload",
    [b"", b"{", b"[]", b"7", b"null", b'"x"', b"\xff\xfe", b"{}{}", b"[" * 5000, b'{"sub":"42","exp":1e999}'],
    ids=repr,
)
async def test_payloads_that_are_no_claims_are_refused(tokens: Tokens, payload: bytes) -> None:
    assert await refused_as(tokens, sign_raw(payload)) is BAD_TOKEN


async def test_wrong_issuer_and_audience_are_refused(clock: FakeClock) -> None:
    tokens = make(clock, key_entry(issuer="https://id", audience="hubd"))
    wrong: list[dict[str, Any]] = [
        {}, {"iss": "https://id"}, {"aud": "hubd"}, {"iss": "https://no", "aud": "hubd"}, {"iss": None, "aud": "hubd"},
        {"iss": "https://id", "aud": "hub"}, {"iss": "https://id", "aud": []}, {"iss": "https://id", "aud": [["hubd"]]},
        {"iss": "https://id", "aud": {"hubd": 1}}, {"iss": ["https://id"], "aud": "hubd"},
    ]  # fmt: skip
    for claims in wrong:
        body = orjson.dumps({"sub": "42", "exp": NOW + 9} | claims)
        assert await refused_as(tokens, sign_raw(body)) is BAD_TOKEN, claims


async def test_a_reason_quotes_nothing_of_the_token(tokens: Tokens) -> None:
    for claims in (
        {"topics": ["PRIVATE text"]},
        {"sub": "PRIVATE text"},
        {"max_priority": "PRIVATE"},
        {"exp": "PRIVATE"},
    ):
        refused = await refusal(tokens, sign_raw(orjson.dumps({"sub": "42", "exp": NOW + 9} | claims)))
        assert "PRIVATE" not in refused.reason + str(refused) + repr(refused)


async def test_a_token_has_a_size(tokens: Tokens) -> None:
    tags = ["x" * 60] * 99
    fits = sign_raw(orjson.dumps({"sub": "42", "exp": NOW + 9, "tags": tags[:85]}))
    assert len(fits) < tokens_module.TOKEN_BYTES
    assert (await tokens.verify(fits)).user == "42"
    too_long = sign_raw(orjson.dumps({"sub": "42", "exp": NOW + 9, "tags": tags}))
    assert len(too_long) > tokens_module.TOKEN_BYTES
    assert await refused_as(tokens, too_long) is BAD_TOKEN
    assert await refused_as(tokens, "a" * 10_000_000) is BAD_TOKEN


# --- whatever comes: TokenRefused or an identity, nothing else


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
claim_names = st.sampled_from(["sub", "exp", "iat", "nbf", "topics", "publish", "max_priority", "tags", "iss", "aud"])
header_names = st.sampled_from(["alg", "kid", "crit", "b64", "typ", "cty", "jwk", "jku", "x5c", "zip"])


@pytest.fixture(scope="module")
def everything_configured() -> Iterator[Tokens]:
    yield make(FakeClock(NOW), key_entry(issuer="i", audience="a"), *map(key_entry, SIGNING))


async def verify_or_refuse(tokens: Tokens, token: str) -> None:
    try:
        identity = await tokens.verify(token)
    except TokenRefused as refused:
        assert refused.disconnect in (BAD_TOKEN, EXPIRED, REVOKED)
    else:
        assert isinstance(identity, Identity)


@given(claims=st.dictionaries(claim_names, json_values), header=st.dictionaries(header_names, json_values))
@example(claims={"sub": "42", "exp": NOW + 9}, header={})
async def test_any_claims(everything_configured: Tokens, claims: dict[str, Any], header: dict[str, Any]) -> None:
    for body in (claims, {"sub": "42", "exp": NOW + 9} | claims):
        text = json.dumps(body).encode("utf-8", "replace")
        await verify_or_refuse(everything_configured, sign_raw(text))
        await verify_or_refuse(everything_configured, sign_raw(text, json.dumps({"alg": "HS256"} | header)))


@given(
    token=st.text()
    | st.lists(st.text(alphabet="eyJhbGciOi.-_=+/ ", max_size=30), max_size=6).map(".".join)
    | st.lists(st.binary(max_size=40).map(b64), min_size=1, max_size=6).map(".".join)
)
@example(token="\ud800.\ud800.\ud800")
@example(token=f"{b64(b'[' * 3000)}.e30.")
@example(token=f"{b64(b'9' * 5000)}.e30.")
async def test_any_text(everything_configured: Tokens, token: str) -> None:
    await verify_or_refuse(everything_configured, token)


@given(algorithm=st.sampled_from(list(SIGNING)), header=st.binary(max_size=60), signature=st.binary(max_size=300))
async def test_any_bytes_in_a_token_of_each_algorithm(
    everything_configured: Tokens, algorithm: str, header: bytes, signature: bytes
) -> None:
    body = b64(orjson.dumps({"sub": "42", "exp": NOW + 9}))
    await verify_or_refuse(everything_configured, f"{b64(orjson.dumps({'alg': algorithm}))}.{body}.{b64(signature)}")
    await verify_or_refuse(everything_configured, f"{b64(header)}.{body}.{b64(signature)}")
