"""Keys in the config: strong enough, of the right kind, and never shown."""

import json
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from hubd.config import ConfigError, load_config
from tests.config_files import errors, load

SECRET = "s3cr3t-" * 10
SHA256 = "ab" * 32


def jwt_table(**values: str) -> str:
    return "[[auth.jwt]]\n" + "".join(f"{name} = {json.dumps(value)}\n" for name, value in values.items())


def api_key_table(**values: Any) -> str:
    values = {"id": "backend", "sha256": SHA256} | values
    return "[[auth.api_keys]]\n" + "".join(f"{name} = {json.dumps(value)}\n" for name, value in values.items())


@pytest.fixture(scope="module")
def pem() -> dict[str, str]:
    """Private keys of each kind, and the public half of one; and of kinds that are refused."""
    edwards = ed25519.Ed25519PrivateKey.generate()
    private: dict[str, PrivateKeyTypes] = {
        "RS256": rsa.generate_private_key(65537, 2048),
        "ES256": ec.generate_private_key(ec.SECP256R1()),
        "EdDSA": edwards,
        "weak": rsa.generate_private_key(65537, 1024),
        "P-384": ec.generate_private_key(ec.SECP384R1()),
    }
    keys = {
        name: key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
        for name, key in private.items()
    }
    public = edwards.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return keys | {"public": public.decode()}


# Keys of tokens


@pytest.mark.parametrize(("algorithm", "size"), [("HS256", 32), ("HS384", 48), ("HS512", 64)])
def test_a_shared_secret_is_at_least_as_long_as_its_hash(algorithm: str, size: int, tmp_path: Path) -> None:
    good = load(jwt_table(algorithm=algorithm, key="k" * size), tmp_path).auth.jwt[0]
    assert good.keys is not None
    assert good.keys.signing == good.keys.verifying == b"k" * size
    (line,) = errors(jwt_table(algorithm=algorithm, key="k" * (size - 1)), tmp_path)
    assert f"has {size - 1} bytes and needs at least {size}" in line


@pytest.mark.parametrize("algorithm", ["RS256", "ES256", "EdDSA"])
def test_a_private_pem_key_signs_and_verifies(algorithm: str, pem: dict[str, str], tmp_path: Path) -> None:
    keys = load(jwt_table(algorithm=algorithm, key=pem[algorithm]), tmp_path).auth.jwt[0].keys
    assert keys is not None
    token = jwt.encode({"sub": "42"}, keys.signing, algorithm=algorithm)
    assert jwt.decode(token, keys.verifying, algorithms=[algorithm]) == {"sub": "42"}
    assert not hasattr(keys.verifying, "private_bytes")


def test_a_public_pem_key_only_verifies(pem: dict[str, str], tmp_path: Path) -> None:
    keys = load(jwt_table(algorithm="EdDSA", key=pem["public"]), tmp_path).auth.jwt[0].keys
    assert keys is not None
    assert keys.signing is None
    assert keys.verifying is not None


@pytest.mark.parametrize(
    ("algorithm", "kind", "told"),
    [
        ("RS256", "weak", "needs at least 2048"),
        ("ES256", "P-384", "ec_paramgen_curve:P-256"),
        ("ES256", "EdDSA", "no key for ES256"),
        ("EdDSA", "RS256", "no key for EdDSA"),
        ("HS256", "public", "wants a shared secret"),
        ("HS512", "RS256", "wants a shared secret"),
    ],
)
def test_a_key_of_another_kind_is_refused(
    algorithm: str, kind: str, told: str, pem: dict[str, str], tmp_path: Path
) -> None:
    (line,) = errors(jwt_table(algorithm=algorithm, key=pem[kind]), tmp_path)
    assert line.startswith("config.toml: auth.jwt[0]: ")
    assert told in line


def test_a_key_file_is_found_from_the_configs_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "keys").mkdir()
    (tmp_path / "keys" / "jwt.key").write_text(f"{SECRET}\n")
    monkeypatch.chdir("/")
    (entry,) = load(jwt_table(algorithm="HS256", key_file="keys/jwt.key"), tmp_path).auth.jwt
    assert entry.keys is not None
    assert entry.keys.verifying == SECRET.encode()
    (line,) = errors(jwt_table(algorithm="HS256", key_file="other.key"), tmp_path)
    assert line == "config.toml: auth.jwt[0]: key_file 'other.key' can't be read: No such file or directory"
    (tmp_path / "raw.key").write_bytes(bytes(range(128, 192)))
    (line,) = errors(jwt_table(algorithm="HS256", key_file="raw.key"), tmp_path)
    assert "isn't text" in line


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"algorithm": "HS256"}, "exactly one of key, key_file and jwks_url (there is none)"),
        ({"algorithm": "HS256", "key": SECRET, "key_file": "x"}, "(there is key and key_file)"),
        ({"algorithm": "HS256", "jwks_url": "https://id.example.com/jwks"}, "a jwks_url publishes public keys"),
        ({"algorithm": "RS256", "jwks_url": "http://id.example.com/jwks"}, "give an https:// address"),
        ({"algorithm": "none", "key": SECRET}, "has to be 'HS256'"),
        ({"algorithm": "hs256", "key": SECRET}, "has to be 'HS256'"),
    ],
)
def test_a_jwt_table_that_makes_no_sense(values: dict[str, str], told: str, tmp_path: Path) -> None:
    (line,) = errors(jwt_table(**values), tmp_path)
    assert told in line


def test_a_jwks_url_has_no_key_yet(tmp_path: Path) -> None:
    for url in ("https://id.example.com/jwks", "http://127.0.0.1:9000/jwks", "http://localhost/jwks"):
        assert load(jwt_table(algorithm="RS256", jwks_url=url), tmp_path).auth.jwt[0].keys is None


# API keys


def test_an_api_key_may_publish_everywhere_unless_told_otherwise(tmp_path: Path) -> None:
    (entry,) = load(api_key_table(sha256=SHA256.upper()), tmp_path).auth.api_keys
    assert (entry.id, entry.sha256, entry.rights, entry.channels) == ("backend", SHA256, ("publish",), ("**",))


@pytest.mark.parametrize(
    "values",
    [
        {"id": ""}, {"id": "a b"}, {"id": "a" * 65}, {"sha256": "ab" * 31}, {"sha256": "xy" * 32}, {"rights": []},
        {"rights": ["root"]}, {"channels": ["a::b"]}, {"channels": ["a:**:b"]}, {"rights": "publish"}, {"key": "x"},
    ],
)  # fmt: skip
def test_an_api_key_that_makes_no_sense(values: dict[str, Any], tmp_path: Path) -> None:
    (line,) = errors(api_key_table(**values), tmp_path)
    assert line.startswith(f"config.toml: auth.api_keys[0].{next(iter(values))}")


def test_two_api_keys_cant_share_an_id(tmp_path: Path) -> None:
    assert errors(api_key_table() + api_key_table(id="other") + api_key_table(), tmp_path) == [
        "config.toml: auth.api_keys[2].id: 'backend' is there twice; give each key its own id"
    ]


# Secrets


def test_no_secret_is_in_a_repr(tmp_path: Path) -> None:
    text = jwt_table(algorithm="HS256", key=SECRET) + api_key_table()
    text += f'[store]\nurl = "postgresql://u:{SECRET}@h/d"\n[plugins.fcm]\ntoken = "{SECRET}"'
    config = load(text, tmp_path)
    shown = f"{config!r} {config} {config.auth.jwt[0].keys!r} {config.auth.jwt[0].keys}"
    assert SECRET not in shown
    assert SHA256 not in shown


@pytest.mark.parametrize(
    "text",
    [
        jwt_table(algorithm="HS512", key=SECRET[:40]),
        jwt_table(algorithm="RS256", key=SECRET),
        jwt_table(algorithm="HS256", key=SECRET, key_file="x"),
        jwt_table(algorithm="nope", key=SECRET),
        jwt_table(algorithm="HS256", key=SECRET, kye=SECRET),
        f'[[auth.jwt]]\nalgorithm = "HS256"\nkey = ["{SECRET}"]',
        api_key_table(sha256=f"hub_backend_{SECRET}"),
        api_key_table(key=SECRET),
        f'[store]\nurl = "mysql://u:{SECRET}@h/d"',
        f'[plugins]\nfcm = "{SECRET}"',
    ],
)
def test_no_secret_is_in_an_error(text: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load(text, tmp_path)
    shown = f"{caught.value} {caught.value!r} {caught.value.__cause__!r} {caught.value.lines}"
    assert SECRET[:20] not in shown


@pytest.mark.parametrize(
    ("mode", "environ", "told"), [(0o644, False, True), (0o640, False, False), (0o644, True, False)]
)
def test_a_config_with_a_key_that_others_can_read(mode: int, environ: bool, told: bool, tmp_path: Path) -> None:
    entry = {"algorithm": "HS256", "key": SECRET * 3}
    path = tmp_path / "config.toml"
    path.write_text("" if environ else f'[[auth.jwt]]\nalgorithm = "HS256"\nkey = "{entry["key"]}"')
    path.chmod(mode)
    config = load_config(path, {"HUBD_AUTH__JWT": json.dumps([entry])} if environ else {})
    assert config.readable_secrets() == (["auth.jwt[0].key"] if told else [])
