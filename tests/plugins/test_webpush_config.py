"""The options, and the keys that they lead to."""

import stat
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, SECP384R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, NoEncryption, PrivateFormat
from hubd_webpush import WebPush
from hubd_webpush.config import WebPushConfig
from hubd_webpush.keys import FILE_BYTES
from pydantic import ValidationError

from hubd.cli import main
from hubd.config import load_config
from hubd.hooks.catalog import Catalog
from hubd.testing import hub_for
from tests.plugins.webpush_world import PEM, SUBJECT, base64url, config, pem, pem_of, point_of


def wrong(**options: Any) -> dict[str, str]:
    with pytest.raises(ValidationError) as error:
        WebPushConfig.model_validate({"subject": SUBJECT, **options})
    return {".".join(map(str, one["loc"])): one["msg"] for one in error.value.errors()}


def test_without_a_key_it_says_how_to_make_one() -> None:
    assert "`hubd gen-key vapid --out vapid.pem`" in wrong()["vapid_private_key_file"]


def test_the_key_in_a_file_or_in_the_options() -> None:
    key = generate_private_key(SECP256R1())
    public = base64url(point_of(key))
    bare = base64url(key.private_numbers().private_value.to_bytes(32, "big"))
    for text in (pem_of(key), bare, bare + "=", f" {bare}\n"):
        assert config(vapid_private_key=text).key.public == public
    sec1 = key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption()).decode()
    assert config(vapid_private_key=sec1).key.public == public


def test_what_hubd_gen_key_writes_is_one(tmp_path: Path) -> None:
    made = CliRunner().invoke(main, ["gen-key", "vapid", "--out", str(tmp_path / "vapid.pem")])
    assert made.exit_code == 0
    public, _, table = made.output.partition("\n")
    (tmp_path / "hub.toml").write_text(table)
    loaded = load_config(tmp_path / "hub.toml", {}, {}, Catalog).plugins["webpush"]
    assert isinstance(loaded, WebPushConfig) and loaded.key.public == public and loaded.readable == ()
    printed = CliRunner().invoke(main, ["gen-key", "vapid"]).output
    assert config(vapid_private_key=printed[printed.index("-----BEGIN") :]).key.public == printed.partition("\n")[0]


@pytest.mark.parametrize(
    "text",
    [
        "no key", "AAAA", base64url(bytes(32)), base64url(b"\xff" * 32), "ключ",
        PEM.replace("M", "N"), PEM[:100], pem_of(generate_private_key(SECP384R1())),
        Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode(),
        generate_private_key(SECP256R1())
        .private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"pw")).decode(),
    ],
    ids=range(10),
)  # fmt: skip
def test_what_is_no_key(text: str, tmp_path: Path) -> None:
    said = wrong(vapid_private_key=text)["vapid_private_key"]
    (tmp_path / "key.pem").write_text(text)
    assert wrong(vapid_private_key_file=str(tmp_path / "key.pem")) == {"vapid_private_key_file": said}
    assert "P-256" in said or "hubd gen-key vapid" in said
    assert text not in said


def test_files_that_are_none(tmp_path: Path) -> None:
    (tmp_path / "long.pem").write_text("x" * FILE_BYTES + PEM)
    for name in ("missing.pem", "", "long.pem"):
        path = str(tmp_path / name)
        assert [*wrong(vapid_private_key_file=path)] == ["vapid_private_key_file"]
        assert [*wrong(vapid_private_key=PEM, old_vapid_private_key_files=[path])] == ["old_vapid_private_key_files.0"]


def test_two_keys_are_too_many(tmp_path: Path) -> None:
    (tmp_path / "key.pem").write_text(PEM)
    assert "given twice" in wrong(vapid_private_key=PEM, vapid_private_key_file="key.pem")["vapid_private_key"]


def test_old_keys_are_known_by_their_ids(tmp_path: Path) -> None:
    (tmp_path / "old.pem").write_text(pem())
    made = config(old_vapid_private_key_files=[str(tmp_path / "old.pem")])
    assert len(made.keys) == 2 and [*made.keys][-1] == made.key.id
    assert len(config(old_vapid_private_key_files=[]).keys) == 1


async def test_a_key_that_everybody_can_read_is_said_so(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "key.pem"
    path.write_text(PEM)
    for mode, is_said in ((0o644, True), (0o640, False), (0o600, False)):
        path.chmod(mode)
        assert stat.S_IMODE(path.stat().st_mode) == mode
        caplog.clear()
        async with hub_for(WebPush, {"vapid_private_key_file": str(path), "subject": SUBJECT}):
            pass
        assert ("can read a private key" in caplog.text) == is_said


@pytest.mark.parametrize(
    "subject",
    ["", "ops@example.com", "mailto:", "mailto:ops", "http://example.com", "https://", "https://a b", "mailto:ö@b.c"],
)
def test_what_is_no_contact(subject: str) -> None:
    assert [*wrong(vapid_private_key=PEM, subject=subject)] == ["subject"]


def test_the_subject_has_to_be_said() -> None:
    with pytest.raises(ValidationError, match="subject"):
        WebPushConfig.model_validate({"vapid_private_key": PEM})


@pytest.mark.parametrize(
    ("options", "paths"),
    [
        ({"services": ["com"]}, ["services.0"]),
        ({"services": ["https://push.example.com"]}, ["services.0"]),
        ({"services": ["*.example.com"]}, ["services.0"]),
        ({"services": ["10.0.0.1"]}, ["services.0"]),
        ({"services": ["10.0.0.0/8"]}, ["services.0"]),
        ({"services": ["fd00::1"]}, ["services.0"]),
        ({"allow_hosts": ["a:80"]}, ["allow_hosts.0"]),
        ({"data_bytes": 999}, ["data_bytes"]),
        ({"data_bytes": 3991}, ["data_bytes"]),
        ({"timeout_s": 0}, ["timeout_s"]),
        ({"color": "red"}, ["color"]),
        ({"old_vapid_private_key_files": ["x"] * 6}, ["old_vapid_private_key_files"]),
    ],
)
def test_what_is_wrong(options: dict[str, Any], paths: list[str]) -> None:
    assert [*wrong(vapid_private_key=PEM, **options)] == paths


def test_nothing_secret_in_what_is_shown() -> None:
    made = config()
    shown = f"{made!r} {made} {made.key!r} {made.keys} {made.model_dump()}"
    assert PEM.splitlines()[1] not in shown
