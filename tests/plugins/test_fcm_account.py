"""The service account's file: what is wrong with it is said, and nothing secret with it."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from hubd_fcm.account import FILE_BYTES, read_account

from hubd.clock import SystemClock
from hubd.testing.fcm_tokens import FcmTokens

TOKEN_URL = "https://oauth2.googleapis.com/token"
GOOD = FcmTokens("hubd-stand-in", SystemClock(), SystemClock()).account(TOKEN_URL)


def written(folder: Path, content: Any, mode: int = 0o600) -> Path:
    path = folder / "account.json"
    path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
    path.chmod(mode)
    return path


def test_a_good_one(tmp_path: Path) -> None:
    account = read_account(written(tmp_path, GOOD), ())
    assert (account.project, account.email, account.token_url) == ("hubd-stand-in", GOOD["client_email"], TOKEN_URL)
    assert account.info == GOOD
    assert not account.others_can_read
    assert "PRIVATE" not in repr(account) and "PRIVATE" not in str(account)


def test_others_can_read_it(tmp_path: Path) -> None:
    assert read_account(written(tmp_path, GOOD, 0o644), ()).others_can_read


def without(*names: str) -> dict[str, str]:
    return {name: text for name, text in GOOD.items() if name not in names}


def ec_key() -> str:
    key = ec.generate_private_key(ec.SECP256R1())
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "isn't JSON"),
        (b"\xff\xfe", "isn't JSON"),
        (b"[" * 60_000, "isn't JSON"),
        (b" " * (FILE_BYTES + 1), "has more than"),
        ([GOOD], "no service account's file"),
        ({}, 'it has no "type"'),
        ({"type": "authorized_user"}, "its \"type\" is 'authorized_user'"),
        ({"project_info": {}, "client": []}, "Generate new private key"),  # google-services.json
        (without("private_key", "client_email"), "has no private_key, client_email"),
        (GOOD | {"project_id": 7}, "has no project_id"),
        (GOOD | {"project_id": "../../other"}, "a project_id that isn't one"),
        (GOOD | {"private_key": "-----BEGIN PRIVATE KEY-----\nabc\n"}, "no key in PEM form"),
        (GOOD | {"private_key": ec_key()}, "no RSA key"),
        (GOOD | {"token_uri": "http://169.254.169.254/token"}, "token_uri that is not called"),
        (GOOD | {"token_uri": "file:///etc/passwd"}, "token_uri that is not called"),
    ],
)
def test_what_is_wrong_is_said(tmp_path: Path, content: Any, says: str) -> None:
    with pytest.raises(ValueError, match=".") as refused:
        read_account(written(tmp_path, content), ())
    assert says in str(refused.value)
    assert GOOD["private_key"][40:80] not in str(refused.value)


@pytest.mark.parametrize(
    ("path_of", "says"),
    [
        (lambda folder: folder / "none.json", "No such file"),
        (lambda folder: folder, "Is a directory"),
        (lambda folder: Path("/dev/zero"), "is no file"),
    ],
)
def test_what_cannot_be_read(tmp_path: Path, path_of: Callable[[Path], Path], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        read_account(path_of(tmp_path), ())


def test_a_token_endpoint_that_is_allowed(tmp_path: Path) -> None:
    path = written(tmp_path, GOOD | {"token_uri": "http://127.0.0.1:8/token"})
    assert read_account(path, ["127.0.0.1"]).token_url == "http://127.0.0.1:8/token"
