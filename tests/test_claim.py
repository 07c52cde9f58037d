"""The right to a saved file: one process has it at a time."""

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from hubd.claim import Claim
from tests.command import ROOT

HOLDER = """
import sys
from pathlib import Path
from hubd.claim import Claim

claim = Claim(Path(sys.argv[1]))
print(claim.take(), flush=True)
input()
"""


def test_one_has_it_until_he_gives_it_back(tmp_path: Path) -> None:
    path = tmp_path / "hubd.db.rings"
    first, second = Claim(path), Claim(path)
    assert first.take()
    assert not second.take()
    first.close()
    assert second.take()
    second.close()


def test_what_its_holder_says_is_seen_by_others(tmp_path: Path) -> None:
    path = tmp_path / "hubd.db.rings"
    first, second = Claim(path), Claim(path)
    assert first.take()
    assert not second.is_holder_stopping()
    first.say_stopping()
    assert second.is_holder_stopping()
    first.close()
    assert second.take()
    assert not second.is_holder_stopping()  # the next one hasn't said anything yet
    second.close()


def test_a_killed_holder_holds_nothing(tmp_path: Path) -> None:
    path = tmp_path / "hubd.db.rings"
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(path)], stdin=-1, stdout=-1, text=True, cwd=ROOT
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "True\n"
        claim = Claim(path)
        assert not claim.take()
        process.kill()
        process.wait()
        assert claim.take()
        claim.close()


def test_the_lock_is_its_owner_s_alone(tmp_path: Path) -> None:
    umask = os.umask(0)
    try:
        Claim(tmp_path / "x.rings").close()
    finally:
        os.umask(umask)
    assert stat.S_IMODE((tmp_path / "x.rings.lock").stat().st_mode) == 0o600


def test_no_link_is_followed(tmp_path: Path) -> None:
    (tmp_path / "x.rings.lock").symlink_to(tmp_path / "precious")
    with pytest.raises(OSError, match="symbolic"):
        Claim(tmp_path / "x.rings")
    assert not (tmp_path / "precious").exists()
