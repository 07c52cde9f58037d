"""The options: keys and certificates are read and checked with the config, and no error shows what is in them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from hubd_apns.config import ApnsConfig
from pydantic import ValidationError

from hubd.config import ConfigError, load_config
from hubd.testing.authority import Authority, private_pem

KEY = ec.generate_private_key(ec.SECP256R1())


def app(folder: Path, **changed: Any) -> dict[str, Any]:
    (folder / "key.p8").write_bytes(private_pem(KEY))
    usual = {"team_id": "TEAM123456", "key_id": "KEY1234567", "key_file": "key.p8", "topic": "com.example.app"}
    return {**usual, **changed}


def load(folder: Path, *apps: dict[str, Any], **options: Any) -> ApnsConfig:
    return ApnsConfig.model_validate({"apps": list(apps), **options}, context={"folder": str(folder)})


def error_of(folder: Path, *apps: dict[str, Any], **options: Any) -> str:
    with pytest.raises(ValidationError) as caught:
        load(folder, *apps, **options)
    (error,) = caught.value.errors()
    return f"{'.'.join(map(str, error['loc']))}: {error['msg']}"


def test_what_has_to_be_given_is_little(tmp_path: Path) -> None:
    (found,) = load(tmp_path, app(tmp_path)).apps
    assert (found.label, found.environment, found.host, found.port) == ("com.example.app", "production", "", 443)
    assert found.key.private_numbers() == KEY.private_numbers()
    assert "private" not in repr(found).lower() and "BEGIN" not in repr(found)


def pem(key: Any) -> bytes:
    found: bytes = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return found


BAD: dict[str, tuple[Callable[[], bytes], str]] = {
    "empty": (lambda: b"", "is no private key"),
    "garbage": (lambda: b"\xff\x00secret", "is no private key"),
    "public": (
        lambda: KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
        "is no private key",
    ),
    "rsa": (lambda: pem(rsa.generate_private_key(65537, 2048)), "is a key of another kind"),
    "p384": (lambda: pem(ec.generate_private_key(ec.SECP384R1())), "is a key of another kind"),
    "large": (lambda: b"x" * (2 << 20), "is too large"),
}


@pytest.mark.parametrize("what", BAD)
def test_a_key_that_is_no_good_is_named_by_its_path(what: str, tmp_path: Path) -> None:
    make, says = BAD[what]
    (tmp_path / "bad.p8").write_bytes(make())
    error = error_of(tmp_path, app(tmp_path, key_file="bad.p8"))
    assert error.startswith(f"apps.0.key_file: 'bad.p8' {says}")


def test_a_file_that_can_t_be_read_is_named(tmp_path: Path) -> None:
    missing = error_of(tmp_path, app(tmp_path, key_file="no.p8"))
    assert missing == "apps.0.key_file: 'no.p8' can't be read: No such file or directory"
    assert error_of(tmp_path, app(tmp_path, key_file=".")).endswith("Is a directory")
    assert error_of(tmp_path, app(tmp_path, key_file="a\0b")).endswith("not a path")
    assert error_of(tmp_path, app(tmp_path, ca_file="no.pem")).startswith("apps.0.ca_file: 'no.pem' can't be read")
    assert error_of(tmp_path, app(tmp_path, ca_file="key.p8")).endswith("has no certificates in PEM")


def test_a_ca_file_is_found_beside_the_config(tmp_path: Path) -> None:
    Authority(tmp_path)
    (found,) = load(tmp_path, app(tmp_path, ca_file="ca.pem")).apps
    assert Path(found.ca_path) == tmp_path / "ca.pem"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("team_id", "team"),
        ("key_id", "KEY123456"),
        ("topic", ""),
        ("topic", "com example"),
        ("name", "a:b"),
        ("environment", "test"),
        ("port", 0),
        ("host", "http://x/"),
    ],
)
def test_what_can_t_be_right_is_refused(name: str, value: Any, tmp_path: Path) -> None:
    assert error_of(tmp_path, app(tmp_path, **{name: value})).startswith(f"apps.0.{name}: ")


@pytest.mark.parametrize("given", [{"topic": "com.example.app"}, {"apps": {"topic": "com.example.app"}}])
def test_an_app_that_isn_t_in_the_list_is_told_where_it_belongs(given: dict[str, Any]) -> None:
    with pytest.raises(ValidationError) as caught:
        ApnsConfig.model_validate(given)
    (error,) = caught.value.errors()
    assert error["loc"] == tuple(given) and "[[plugins.apns.apps]]" in error["msg"]


def test_two_apps_need_two_names(tmp_path: Path) -> None:
    error = error_of(tmp_path, app(tmp_path), app(tmp_path))
    assert error == "apps.1.name: 'com.example.app' is there twice: give each app its own name"
    assert len(load(tmp_path, app(tmp_path), app(tmp_path, name="other")).apps) == 2


def test_the_config_file_says_it_with_its_line(tmp_path: Path) -> None:
    from hubd.hooks.catalog import Catalog

    (tmp_path / "config.toml").write_text(
        '[[plugins.apns.apps]]\ntopic = "com.example.app"\nteam_id = "TEAM123456"\nkey_id = "KEY1234567"\n'
        'key_file = "nowhere.p8"\n'
    )
    with pytest.raises(ConfigError) as caught:
        load_config(tmp_path / "config.toml", {}, plugin_types=Catalog)
    assert "nowhere.p8" in str(caught.value) and "key_file" in str(caught.value)
