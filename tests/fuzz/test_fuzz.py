"""Fuzzing: a million inputs of each kind, led by what they reach in the hub's code, and none does any harm."""

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fuzz.every_target import TARGETS
from tests.model.histories import SEED

ROOT = Path(__file__).parents[2]
INPUTS = int(os.environ.get("HUBD_FUZZ_INPUTS") or 1_000_000)
HANGS_S = 5
"""When libFuzzer ends what doesn't come back. Over a second of thinking is found by the targets themselves."""
MEMORY_MB = 1024
LONGEST_S = 1700
HOW_TO_INSTALL = "make test-long installs it; there are wheels for Linux on x86-64: pip install -e '.[dev,fuzz]'"


@pytest.mark.long
@pytest.mark.parametrize("name", TARGETS)
def test_no_input_does_harm(name: str, tmp_path: Path) -> None:
    ended = fuzz(name, tmp_path, f"-runs={INPUTS}", f"-seed={SEED + 1}")
    found = [f"{path.name}: {path.read_bytes()!r}" for path in tmp_path.iterdir()]
    assert ended.returncode == 0 and not found, f"seed {SEED}: {found}\n{ended.stderr[-4000:]}"
    assert "Traceback" not in ended.stderr and "Traceback" not in ended.stdout
    done = re.search(r"(?m)^Done (\d+) runs in (\d+) second", ended.stderr)
    assert done and int(done[1]) >= INPUTS, ended.stderr[-2000:]
    print(f"{name}: {done[1]} inputs in {done[2]} s, seed {SEED}")


@pytest.mark.long
def test_what_does_harm_is_told(tmp_path: Path) -> None:
    """So that silence means something: an input that a target refuses ends the run, and is kept."""
    told = tmp_path / "told"
    told.mkdir()
    ended = fuzz("planted", told, "-runs=200000", "-seed=1")
    assert ended.returncode != 0
    assert "AssertionError: found" in ended.stderr + ended.stdout
    (crash,) = told.iterdir()
    assert crash.read_bytes().startswith(b"HUB")


def fuzz(name: str, found: Path, *options: str) -> subprocess.CompletedProcess[str]:
    assert importlib.util.find_spec("atheris"), f"there is no atheris: {HOW_TO_INSTALL}"
    limits = [f"-timeout={HANGS_S}", f"-rss_limit_mb={MEMORY_MB}", f"-artifact_prefix={found}/"]
    return subprocess.run(
        [sys.executable, "-m", "tests.fuzz.run", name, *options, *limits],
        cwd=ROOT,
        capture_output=True,
        text=True,
        errors="replace",
        timeout=LONGEST_S,
    )
