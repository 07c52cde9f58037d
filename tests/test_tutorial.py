"""The tutorial of docs/plugins.md is followed word by word: a stranger's plugin, from nothing to a package."""

import os
import re
import socket
import subprocess
import sys
import zipfile
from collections.abc import Iterable, Iterator
from importlib.metadata import Distribution, PathDistribution, distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from tests.docs import ROOT, section
from tests.tutorial import Tutorial, commands, pattern, steps

PAGE = (ROOT / "docs/plugins.md").read_text()
TUTORIAL = section("An afternoon: from nothing to a package", PAGE)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """hubd's own wheel, as the index would have it."""
    folder = tmp_path_factory.mktemp("wheels")
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(folder), str(ROOT)]
    subprocess.run(command, check=True, timeout=200)
    return next(folder.glob("hubd-*.whl"))


@pytest.fixture
def environ(wheel: Path, tmp_path: Path) -> dict[str, str]:
    """What a stranger's terminal has; where he installs `hubd` he gets this one."""
    constraints = tmp_path / "constraints.txt"
    constraints.write_text(f"hubd @ {wheel.as_uri()}\n")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("HUBD_", "PYTHON", "VIRTUAL_"))}
    return kept | {"PIP_CONSTRAINT": str(constraints), "PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_NO_COMPILE": "1"}


# A minute is for those who type by hand.
FASTER = {"""user=ada" -d '{"seconds": 60}'""": """user=ada" -d '{"seconds": 8}'"""}
FASTER |= {'{"user":"ada","seconds":60}': '{"user":"ada","seconds":8}', "user=ada seconds=60": "user=ada seconds=8"}


def needed(wheel: Path) -> dict[str, Distribution]:
    """The packages of this environment that a wheel requires, and those that they require, by their names."""
    found: dict[str, Distribution] = {}
    metadata = next(path for path in zipfile.Path(wheel).iterdir() if path.name.endswith(".dist-info"))
    todo = [(Requirement(text), "") for text in PathDistribution(metadata).requires or ()]
    while todo:
        one, extra = todo.pop()
        if one.marker is None or one.marker.evaluate({"extra": extra}):
            package = found[one.name] = distribution(one.name)
            todo += [(Requirement(text), extra) for text in package.requires or () for extra in one.extras or {""}]
    return found


def files_of(packages: Iterable[Distribution]) -> Iterator[Path]:
    """What packages consist of, but for their commands."""
    for package in packages:
        for file in package.files or ():
            path = Path(str(file.locate()))
            if ".." not in file.parts and path.is_file():
                yield path


@pytest.fixture(params=[True, pytest.param(False, marks=pytest.mark.long)], ids=["with_packages", "from_the_index"])
def stranger(
    request: pytest.FixtureRequest, wheel: Path, environ: dict[str, str], tmp_path: Path
) -> Iterator[Tutorial]:
    """Somebody in an empty folder. To save time, the packages that hubd requires are in each of his environments."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    folder = tmp_path / "stranger"
    folder.mkdir()
    have = files_of(needed(wheel).values()) if request.param else ()
    tutorial = Tutorial(folder, environ, port, FASTER, have)
    yield tutorial
    tutorial.close()


@pytest.mark.timeout(300)
def test_the_tutorial_works_word_by_word(stranger: Tutorial) -> None:
    for step in steps(TUTORIAL):
        stranger.follow(step)
    typed = "\n".join(stranger.done)
    # What the tutorial is there to show; each was compared with what the page says it prints.
    for shown in (
        "python -m build", "tar tzf", "fresh/bin/pip install", "fresh/bin/hubd plugins",
        "fresh/bin/hubd --config config.toml --help",
        "fresh/bin/hubd serve", "/api/snooze", "fresh/bin/hubd --config config.toml snoozing", "/metrics", "pytest -q",
    ):  # fmt: skip
        assert shown in typed


def test_every_step_of_the_tutorial_is_followed() -> None:
    """A block that nobody follows would be one that nobody tries: only the upload is one."""
    followed = {step.text for step in steps(TUTORIAL)}
    left = [text for text in re.findall(r"(?ms)^```[^\n]*\n(.*?)^```$", TUTORIAL) if text not in followed]
    assert left == ["pip install twine\ntwine upload dist/*\n"]


@pytest.mark.parametrize(
    ("shown", "printed", "matches"),
    [
        ("a ... c\n", "a b c\n", True),
        ("a ... c\n", "a b d\n", False),
        ("...\nb\n", "a\na\nb\n", True),
        ("...\nb\n", "b\n", True),
        ("b\n...\n", "b\nc\n", True),
        ("b\n", "b\nc\n", False),
        ("b.\n", "bc\n", False),
    ],
)
def test_output_is_compared(shown: str, printed: str, matches: bool) -> None:
    assert bool(re.fullmatch(pattern(shown), printed)) is matches


def test_whoever_types_has_a_minute() -> None:
    for slow in FASTER:
        assert slow in TUTORIAL


def test_what_is_typed_is_told_from_what_is_shown() -> None:
    assert list(commands("$ a\nb\n$ c\n")) == [("a", "b\n"), ("c", "")]
    assert list(commands("b\n^C\n")) == [("", "b\n"), ("^C", "")]
