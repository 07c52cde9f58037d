"""The service account: the file from the Firebase console by which the hub may send in a project's name."""

import json
import re
import stat
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from hubd.plugin import check_url

FILE_BYTES = 64 * 1024
"""The longest file that is read; real ones have 2,400 bytes."""
_NEEDED = ("project_id", "private_key_id", "private_key", "client_email", "token_uri")
_PROJECT = re.compile("[a-z][a-z0-9-]{4,28}[a-z0-9]|[a-z0-9.-]{1,100}:[a-z0-9-]{6,30}")
_HOW = "make one in the Firebase console: Project settings, Service accounts, Generate new private key"


class Account(NamedTuple):
    """A service account. ``info`` is the whole file, the private key among it."""

    project: str
    email: str
    token_url: str
    info: Mapping[str, Any]
    others_can_read: bool

    def __repr__(self) -> str:
        return f"Account(project={self.project!r})"  # never the key


def read_account(path: Path, allow_hosts: Iterable[str]) -> Account:
    """The account in this file; ``ValueError`` says what is wrong with it, and quotes nothing secret."""
    info = _json_of(path)
    kind = info.get("type")
    if kind != "service_account":
        said = f'its "type" is {kind!r}' if isinstance(kind, str) and len(kind) < 40 else 'it has no "type"'
        raise ValueError(f"is no service account's file ({said}): {_HOW}")
    if missing := [name for name in _NEEDED if not isinstance(info.get(name), str) or not info[name]]:
        raise ValueError(f"has no {', '.join(missing)}: {_HOW}")
    project = info["project_id"]
    if not _PROJECT.fullmatch(project):
        raise ValueError("has a project_id that isn't one")
    _check_key(info["private_key"])
    try:
        check_url(info["token_uri"], allow_hosts)
    except ValueError as error:
        raise ValueError(f"has a token_uri that is not called: {error}") from None
    return Account(project, info["client_email"], info["token_uri"], info, _others_can_read(path))


def _json_of(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            if not stat.S_ISREG(path.stat().st_mode):
                raise ValueError("is no file")
            content = file.read(FILE_BYTES + 1)
    except OSError as error:
        raise ValueError(f"can't be read: {error.strerror}") from None
    if len(content) > FILE_BYTES:
        raise ValueError(f"has more than {FILE_BYTES} bytes, so it is no service account's file: {_HOW}")
    try:
        info = json.loads(content)
    except (ValueError, RecursionError):
        raise ValueError(f"isn't JSON: {_HOW}") from None
    if not isinstance(info, dict):
        raise ValueError(f"is no service account's file: {_HOW}")
    return info


def _check_key(text: str) -> None:
    from cryptography.exceptions import UnsupportedAlgorithm  # late: takes a while to load
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        key = load_pem_private_key(text.encode(), None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise ValueError("has a private_key that is no key in PEM form; was the file edited?") from None
    if not isinstance(key, RSAPrivateKey):
        raise ValueError("has a private_key that is no RSA key")


def _others_can_read(path: Path) -> bool:
    """Whether users of this machine who are neither owner nor in the group can."""
    return bool(path.stat().st_mode & stat.S_IROTH)
