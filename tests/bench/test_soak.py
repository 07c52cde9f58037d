"""A soak of four seconds: a sound hub passes, and each fault planted on purpose is found and called by its name."""

import shutil
import subprocess
import sys
from subprocess import CompletedProcess

import pytest

from tests.command import ROOT

TINY = ("--connections", "50", "--minutes", "0.067", "--targeted", "200", "--broadcast-every", "1", "--churn", "10")


@pytest.fixture(scope="module", autouse=True)
def compiler() -> None:
    if shutil.which("cc") is None:
        pytest.fail("bench/native/ needs a C compiler. On Debian: apt-get install gcc libc6-dev")


def soak(*options: str) -> CompletedProcess[str]:
    command = [sys.executable, "-m", "bench", "soak", *TINY, "--unsaved", *options]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=50)


def test_a_sound_hub_loses_nothing() -> None:
    done = soak()
    assert (done.returncode, done.stderr) == (0, "")
    assert "resumed" in done.stdout
    assert " 0 resumed" not in done.stdout


@pytest.mark.parametrize("fault", ["lost", "doubled", "reordered"])
def test_a_planted_fault_is_found(fault: str) -> None:
    done = soak("--plant", fault)
    assert done.returncode == 1
    assert done.stderr.startswith(f"FAILED: {fault}: u")
    assert done.stderr.count("\n") == 1
