"""Which keys are taken from a published document."""

from typing import Any

import orjson
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

from hubd.edge import jwks as jwks_module
from hubd.edge.jwks import VerifyKey, published_keys

RSA_KEY = rsa.generate_private_key(65537, 2048)
EC_KEY = ec.generate_private_key(ec.SECP256R1())
ED_KEY = ed25519.Ed25519PrivateKey.generate()


def jwk(key: Any, kid: str | None = "k1", **members: Any) -> dict[str, Any]:
    kinds: dict[type, Any] = {rsa.RSAPrivateKey: RSAAlgorithm, ec.EllipticCurvePrivateKey: ECAlgorithm}
    how = next((how for kind, how in kinds.items() if isinstance(key, kind)), OKPAlgorithm)
    made: dict[str, Any] = how.to_jwk(key.public_key(), as_dict=True)
    return made | ({"kid": kid} if kid else {}) | members


def found(*entries: object, algorithm: str = "RS256") -> tuple[VerifyKey, ...]:
    try:
        return published_keys(orjson.dumps({"keys": entries}), algorithm)
    except ValueError:
        return ()


UNFIT: list[object] = [
    jwk(RSA_KEY, alg="RS512"),
    jwk(RSA_KEY, alg="HS256"),
    jwk(RSA_KEY, use="enc"),
    jwk(RSA_KEY, key_ops=["sign"]),
    jwk(RSA_KEY, key_ops=7),
    jwk(RSA_KEY) | {"kid": 7},
    jwk(RSA_KEY) | {"n": 7},
    jwk(RSA_KEY) | {"n": "ä"},
    jwk(RSA_KEY) | {"n": ""},
    jwk(RSA_KEY) | {"e": "AA"},
    jwk(RSA_KEY) | {"e": None},
    RSAAlgorithm.to_jwk(RSA_KEY, as_dict=True) | {"key_ops": ["verify"]},
    jwk(rsa.generate_private_key(65537, 1024)),
    {"kty": "oct", "k": "c2VjcmV0", "kid": "k1"},
    {"kty": ["RSA"]},
    jwk(EC_KEY),
    jwk(ED_KEY),
]


@pytest.mark.parametrize("entry", UNFIT, ids=range(len(UNFIT)))
def test_unfit_keys_are_passed_over(entry: object) -> None:
    assert found(entry) == ()
    assert [key.kid for key in found(entry, jwk(RSA_KEY, "good"))] == ["good"]


def test_the_curve_belongs_to_the_algorithm() -> None:
    assert found(jwk(ec.generate_private_key(ec.SECP384R1())), algorithm="ES256") == ()
    assert len(found(jwk(EC_KEY), algorithm="ES256")) == 1
    assert found(jwk(EC_KEY) | {"x": jwk(EC_KEY)["y"]}, algorithm="ES256") == ()
    assert found(jwk(ED_KEY) | {"x": "AAAA"}, algorithm="EdDSA") == ()


def test_a_document_has_a_length() -> None:
    assert len(found(*(jwk(RSA_KEY, str(number)) for number in range(200)))) == jwks_module.KEYS
