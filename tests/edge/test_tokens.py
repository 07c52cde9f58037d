"""Users' tokens: who is accepted, with which permissions, and for how long."""

import hashlib
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from pydantic import SecretStr

from hubd.config import Auth, JwtKey
from hubd.core.channel import parse_channel
from hubd.core.errors import BAD_TOKEN, EXPIRED, REVOKED, Disconnect
from hubd.core.identity import Identity
from hubd.core.notification import Priority
from hubd.edge import tokens as tokens_module
from hubd.edge.tokens import Revocations, TokenRefused, Tokens, dev_identity
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


# --- what is accepted


@pytest.mark.parametrize("algorithm", SIGNING)
async def test_each_algorithm_is_accepted_with_its_own_key(clock: FakeClock, algorithm: str) -> None:
    tokens = make(clock, key_entry(algorithm))
    identity = await tokens.verify(sign(algorithm))
    assert (identity.user, identity.expires_at, identity.issued_at) == ("42", NOW + 3600, NOW)


@pytest.mark.parametrize("algorithm", SIGNING)
async def test_each_algorithm_among_all_the_keys_at_once(clock: FakeClock, algorithm: str) -> None:
    tokens = make(clock, *map(key_entry, SIGNING))
    assert (await tokens.verify(sign(algorithm, sub="x"))).user == "x"


async def test_a_private_key_in_the_config_verifies_too(clock: FakeClock) -> None:
    form, encryption = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    text = RSA_KEY.private_bytes(serialization.Encoding.PEM, form, encryption).decode()
    tokens = make(clock, JwtKey(algorithm="RS256", key=SecretStr(text)))
    assert (await tokens.verify(sign("RS256"))).user == "42"


async def test_all_claims_arrive(tokens: Tokens) -> None:
    token = sign(topics=["team:*"], publish=["chat:**"], max_priority="critical", tags=["beta", "staff", "beta"])
    identity = await tokens.verify(token)
    assert identity.may_subscribe(parse_channel("team:x")) and not identity.may_subscribe(parse_channel("team:x:y"))
    assert identity.may_publish(parse_channel("chat:1:2")) and not identity.may_publish(parse_channel("team:x"))
    assert identity.max_priority is Priority.CRITICAL
    assert identity.tags == ("beta", "staff")


async def test_a_bare_token_may_do_little(tokens: Tokens) -> None:
    identity = await tokens.verify(sign())
    assert not identity.topics and not identity.publish and identity.tags == ()
    assert identity.max_priority is Priority.IMPORTANT
    assert identity.may_subscribe(parse_channel("user:42")) and identity.may_subscribe(parse_channel("notifications"))


@pytest.mark.parametrize("pattern", ["**", "*:*", "user:**", "user:7", "*:*:*", "user:7:notifications"])
async def test_no_topic_pattern_opens_another_users_channel(tokens: Tokens, pattern: str) -> None:
    identity = await tokens.verify(sign(topics=[pattern]))
    assert not identity.may_subscribe(parse_channel("user:7"))


@pytest.mark.parametrize(
    ("configured", "dev", "claims", "granted"),
    [
        ((), False, {}, False),
        ((), True, {}, True),
        (("news:*",), False, {}, True),
        (("sport:*",), True, {}, False),
        (("news:*",), False, {"topics": []}, False),
        ((), True, {"topics": ["sport:*"]}, False),
    ],
)
async def test_default_topics(
    clock: FakeClock, configured: tuple[str, ...], dev: bool, claims: dict[str, Any], granted: bool
) -> None:
    tokens = make(clock, auth={"default_topics": configured}, dev=dev)
    assert (await tokens.verify(sign(**claims))).may_subscribe(parse_channel("news:x")) is granted


@pytest.mark.parametrize("user", ["a", "x" * 64, "auth0|12", "anna@example.com", "A-Za.z_0+9="])
async def test_every_user_id_of_the_grammar(tokens: Tokens, user: str) -> None:
    assert (await tokens.verify(sign(sub=user))).user == user


async def test_issuer_and_audience_where_they_are_configured(clock: FakeClock) -> None:
    tokens = make(clock, key_entry(issuer="https://id", audience="hubd"))
    for audience in ("hubd", ["other", "hubd"]):
        assert (await tokens.verify(sign(iss="https://id", aud=audience))).user == "42"


async def test_one_key_for_two_issuers(clock: FakeClock) -> None:
    tokens = make(clock, key_entry(issuer="a"), key_entry(issuer="b"))
    assert (await tokens.verify(sign(iss="b"))).user == "42"
    assert "'iss'" in (await refusal(tokens, sign(iss="c"))).reason


async def test_issuer_and_audience_don_t_matter_elsewhere(tokens: Tokens) -> None:
    assert (await tokens.verify(sign(iss="anybody", aud="anything"))).user == "42"


# --- time


async def test_expiry_at_the_edge_of_the_leeway(tokens: Tokens, clock: FakeClock) -> None:
    kept, fresh = sign(exp=NOW + 10), sign(exp=NOW + 10, tags=["x"])
    await tokens.verify(kept)
    clock.advance(15)
    assert (await tokens.verify(kept)).user == (await tokens.verify(fresh)).user == "42"
    clock.advance(0.001)
    assert await refused_as(tokens, kept) is EXPIRED
    assert await refused_as(tokens, fresh) is EXPIRED
    assert await refused_as(tokens, sign(exp=NOW + 10, tags=["y"])) is EXPIRED


async def test_expired_is_said_only_when_nothing_else_is_wrong(tokens: Tokens) -> None:
    assert await refused_as(tokens, sign(exp=NOW - 60)) is EXPIRED
    assert await refused_as(tokens, sign(exp=NOW - 60, sub="a:b")) is BAD_TOKEN
    assert await refused_as(tokens, sign(exp=NOW - 60, topics="x")) is BAD_TOKEN
    foreign = jwt.encode({"sub": "42", "exp": NOW - 60}, "t" * 64, "HS256")
    assert await refused_as(tokens, foreign) is BAD_TOKEN
    tokens.revoke("42")
    assert await refused_as(tokens, sign(exp=NOW - 60)) is REVOKED


async def test_not_before_and_issued_at_have_the_same_leeway(tokens: Tokens, clock: FakeClock) -> None:
    assert (await tokens.verify(sign(nbf=NOW + 5, iat=NOW + 5))).issued_at == NOW + 5
    early = sign(nbf=NOW + 5.001)
    assert await refused_as(tokens, early) is BAD_TOKEN
    assert await refused_as(tokens, sign(iat=NOW + 5.001)) is BAD_TOKEN
    clock.advance(0.001)
    assert (await tokens.verify(early)).user == "42"


async def test_fractions_of_seconds_are_kept(tokens: Tokens) -> None:
    identity = await tokens.verify(sign(exp=NOW + 0.5, iat=NOW - 0.5))
    assert (identity.expires_at, identity.issued_at) == (NOW + 0.5, NOW - 0.5)


# --- revocation


async def test_revocation_refuses_what_was_issued_until_then(tokens: Tokens, clock: FakeClock) -> None:
    seen, unseen = sign(), sign(tags=["unseen"])
    live = await tokens.verify(seen)
    assert not tokens.revoked(live)
    clock.advance(10)
    tokens.revoke("42")
    assert tokens.revoked(live)
    assert await refused_as(tokens, seen) is REVOKED
    assert await refused_as(tokens, unseen) is REVOKED
    assert await refused_as(tokens, sign(iat=NOW + 10)) is REVOKED
    assert await refused_as(tokens, sign(iat=...)) is REVOKED
    assert (await tokens.verify(sign(sub="43"))).user == "43"
    later = await tokens.verify(sign(iat=NOW + 10.001))
    assert not tokens.revoked(later)


async def test_a_second_revocation_counts(tokens: Tokens, clock: FakeClock) -> None:
    tokens.revoke("42")
    clock.advance(10)
    between = sign(iat=NOW + 5)
    await tokens.verify(between)
    tokens.revoke("42")
    assert await refused_as(tokens, between) is REVOKED


async def test_a_token_without_iat_is_good_until_the_first_revocation(tokens: Tokens) -> None:
    token = sign(iat=...)
    assert (await tokens.verify(token)).issued_at is None
    tokens.revoke("42")
    assert await refused_as(tokens, token) is REVOKED
    assert await refused_as(tokens, token) is REVOKED


async def test_revocations_outlive_a_new_config(clock: FakeClock, tokens: Tokens) -> None:
    tokens.revoke("42")
    assert await refused_as(make(clock, revocations=tokens.revocations), sign()) is REVOKED


def test_the_oldest_revocations_give_way(clock: FakeClock) -> None:
    revocations = Revocations(clock, limit=2)
    for user in ("a", "b", "a", "c"):
        revocations.add(user)
    nothing = dev_identity("x").topics
    covered = [revocations.cover(Identity(name, nothing, nothing, Priority.CRITICAL, None, None)) for name in "abc"]
    assert covered == [True, False, True]


# --- the cache


async def test_a_known_token_is_not_verified_again(tokens: Tokens, monkeypatch: pytest.MonkeyPatch) -> None:
    token = sign()
    first = await tokens.verify(token)
    monkeypatch.setattr(tokens_module, "_take_apart", lambda _: pytest.fail("it was verified again"))
    assert await tokens.verify(token) is first


async def test_the_cache_revives_neither_expired_nor_revoked(tokens: Tokens, clock: FakeClock) -> None:
    short, revoked = sign(exp=NOW + 1), sign(sub="43")
    for _ in range(2):
        await tokens.verify(short)
        await tokens.verify(revoked)
    tokens.revoke("43")
    clock.advance(7)
    for _ in range(2):
        assert await refused_as(tokens, short) is EXPIRED
        assert await refused_as(tokens, revoked) is REVOKED


async def test_the_cache_is_bounded_and_keeps_what_is_used(tokens: Tokens, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tokens_module, "CACHED_TOKENS", 3)
    users = {name: sign(sub=name) for name in "abcd"}
    known = {name: await tokens.verify(users[name]) for name in "abc"}
    assert await tokens.verify(users["a"]) is known["a"]
    await tokens.verify(users["d"])
    assert len(tokens._cache) == 3
    assert await tokens.verify(users["a"]) is known["a"]
    assert await tokens.verify(users["b"]) is not known["b"]


async def test_refused_tokens_take_no_place_in_the_cache(tokens: Tokens) -> None:
    for number in range(20):
        await refusal(tokens, sign(sub=f"a:{number}"))
        await refusal(tokens, sign(exp=NOW - 10 - number))
    assert not tokens._cache


async def test_the_cache_holds_no_token(tokens: Tokens) -> None:
    token = sign()
    await tokens.verify(token)
    assert list(tokens._cache) == [hashlib.sha256(token.encode()).digest()]


# --- dev mode


def test_dev_mode_believes_everything() -> None:
    identity = dev_identity("42")
    assert identity.may_subscribe(parse_channel("any:thing")) and identity.may_publish(parse_channel("user:7"))
    assert (identity.max_priority, identity.expires_at, identity.issued_at) == (Priority.CRITICAL, None, None)
    with pytest.raises(TokenRefused):
        dev_identity("a:b")


def test_no_secret_shows_in_a_repr(tokens: Tokens) -> None:
    assert SECRET not in repr(tokens._issuers)
