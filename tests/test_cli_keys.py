"""`hubd gen-key vapid`, as a real process."""

import stat
import tomllib
from base64 import urlsafe_b64decode, urlsafe_b64encode
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

from tests.command import hubd


def public_of(pem: str) -> str:
    """The public key of a private one, as browsers take it."""
    key = load_pem_private_key(pem.encode(), None)
    assert isinstance(key, EllipticCurvePrivateKey) and isinstance(key.curve, SECP256R1)
    point = key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    return urlsafe_b64encode(point).decode().rstrip("=")


def test_the_private_key_goes_into_a_file_of_its_owner(tmp_path: Path) -> None:
    done = hubd("gen-key", "vapid", "--out", "vapid.pem", cwd=tmp_path)
    assert (done.code, done.err) == (0, "")
    public, table = done.out.split("\n", 1)
    assert len(urlsafe_b64decode(public + "=")) == 65
    path = tmp_path / "vapid.pem"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert path.read_text().startswith("-----BEGIN PRIVATE KEY-----\n")
    assert public_of(path.read_text()) == public
    assert tomllib.loads(table)["plugins"]["webpush"]["vapid_private_key_file"] == "vapid.pem"
    assert "PRIVATE" not in done.out


def test_without_a_file_it_is_printed() -> None:
    done = hubd("gen-key", "vapid")
    assert (done.code, done.err) == (0, "")
    public, rest = done.out.split("\n", 1)
    assert public_of(rest[rest.index("-----BEGIN") :]) == public
    assert hubd("gen-key", "vapid").out.split("\n")[0] != public


def test_a_file_that_is_there_is_never_written_over(tmp_path: Path) -> None:
    (tmp_path / "vapid.pem").write_text("mine")
    done = hubd("gen-key", "vapid", "--out", "vapid.pem", cwd=tmp_path)
    assert (done.code, done.out) == (1, "")
    assert done.err == "hubd: vapid.pem is there already, and nothing was changed: a key is never written over\n"
    assert (tmp_path / "vapid.pem").read_text() == "mine"
    done = hubd("gen-key", "vapid", "--out", "no/where.pem", cwd=tmp_path)
    assert (done.code, done.err) == (1, "hubd: no/where.pem can't be written: No such file or directory\n")
