"""`hubd plugins`, as a real process, with and without something installed."""

from pathlib import Path

import pytest

from tests.command import hubd, with_plugins

NOTE = "note: this version doesn't load plugins yet\n"


@pytest.fixture
def installed(tmp_path: Path) -> str:
    """A folder for PYTHONPATH in which a distribution with two plugins is installed."""
    return with_plugins(tmp_path, "webpush", "digest")


def test_none() -> None:
    done = hubd("plugins")
    assert (done.code, done.out, done.err) == (0, "no plugins are installed\n", NOTE)


def test_what_is_installed_and_what_the_config_turns_on(installed: str) -> None:
    done = hubd("plugins", PYTHONPATH=installed, HUBD_PLUGINS__WEBPUSH__SUBJECT="mailto:a@example.com")
    assert (done.code, done.err) == (0, NOTE)
    assert done.out.splitlines() == [
        "digest  off  hub-extras 1.2  hub_extras.digest",
        "webpush  on  hub-extras 1.2  hub_extras.webpush",
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


@pytest.mark.parametrize("command", [["check-config"], ["serve", "--port", "0"]])
def test_a_name_that_isnt_there_is_an_error_in_its_place(command: list[str], installed: str, tmp_path: Path) -> None:
    config = tmp_path / "config.toml"
    config.write_text(
        '[limits]\nping_s = "x"\n[hubd]\nplugins = ["digest", "nosuch"]\n[plugins.webpush]\n[plugins.other]\n'
    )
    done = hubd(*command, "--config", str(config), PYTHONPATH=installed)
    assert (done.code, done.out) == (1, "")
    lines = done.err.splitlines()
    assert lines[0] == (
        f"{config}:4: hubd.plugins[1]: no plugin 'nosuch' is installed; `hubd plugins` lists those that are"
    )
    assert lines[1].startswith(f"{config}:6: plugins.other: no plugin 'other'")
    assert lines[2].startswith(f"{config}:2: limits.ping_s: ")
    assert len(lines) == 3
