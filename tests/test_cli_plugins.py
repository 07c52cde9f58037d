"""`hubd plugins`, as a real process, with and without something installed."""

from pathlib import Path

import pytest

from tests.command import ROOT, hubd

NOTE = "note: this version doesn't load plugins yet\n"


@pytest.fixture
def installed(tmp_path: Path) -> str:
    """A folder for PYTHONPATH in which a distribution with two plugins is installed."""
    info = tmp_path / "hub_extras-1.2.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: hub-extras\nVersion: 1.2\n")
    (info / "entry_points.txt").write_text("[hubd]\nwebpush = hub_extras.push\ndigest = hub_extras.digest:plugin\n")
    return f"{tmp_path}:{ROOT}"


def test_none() -> None:
    done = hubd("plugins")
    assert (done.code, done.out, done.err) == (0, "no plugins are installed\n", NOTE)


def test_what_is_installed_and_what_the_config_turns_on(installed: str) -> None:
    done = hubd("plugins", PYTHONPATH=installed, HUBD_PLUGINS__WEBPUSH__SUBJECT="mailto:a@example.com")
    assert (done.code, done.err) == (0, NOTE)
    assert done.out.splitlines() == [
        "digest  off  hub-extras 1.2  hub_extras.digest:plugin",
        "webpush  on  hub-extras 1.2  hub_extras.push",
    ]


def test_what_the_config_turns_on_and_isnt_there(installed: str) -> None:
    done = hubd("plugins", PYTHONPATH=installed, HUBD_HUBD__PLUGINS='["webpush", "nonsense"]')
    assert done.code == 1
    assert len(done.out.splitlines()) == 2
    assert done.err == NOTE + "hubd: the config turns on what isn't installed: nonsense\n"


def test_a_bad_config_is_told_as_everywhere() -> None:
    done = hubd("plugins", HUBD_HUBD__PLUGINS='["A B"]')
    assert (done.code, done.out) == (1, "")
    assert done.err.startswith("environment HUBD_HUBD__PLUGINS: hubd.plugins[0]: ")
