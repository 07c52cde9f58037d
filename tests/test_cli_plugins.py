"""What the command `hubd` knows of plugins: the list, their commands, their tables."""

from pathlib import Path

import pytest

from tests.command import hubd, with_plugins
from tests.plugin_folders import Folder

OWN = ["apns", "fcm", "proxy_auth", "webhooks", "webpush"]
"""Those that come with hubd."""


@pytest.fixture
def installed(tmp_path: Path) -> str:
    """A folder for PYTHONPATH in which a distribution with two plugins is installed."""
    return with_plugins(tmp_path, "pager", "parrot")


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    made = Folder(tmp_path)
    made.add("one", "two")
    return made


def test_what_comes_with_hubd() -> None:
    done = hubd("plugins")
    assert (done.code, done.err) == (0, "")
    assert [line.split("  ")[:2] for line in done.out.splitlines()] == [[name, "off"] for name in OWN]


def test_what_is_installed_and_what_the_config_turns_on(installed: str) -> None:
    done = hubd("plugins", PYTHONPATH=installed, HUBD_PLUGINS__PAGER__SUBJECT="mailto:a@example.com")
    assert (done.code, done.err) == (0, "")
    lines = [line for line in done.out.splitlines() if line.split("  ")[0] not in OWN]
    assert lines == [
        "pager  on  hub-extras 1.2  hub_extras:Pager",
        "parrot  off  hub-extras 1.2  hub_extras:Parrot",
    ]


def test_what_the_config_turns_on_and_isnt_there(installed: str) -> None:
    done = hubd("plugins", PYTHONPATH=installed, HUBD_HUBD__PLUGINS='["parrot", "nonsense", "digest"]')
    assert done.code == 1 and done.out.startswith("parrot  on  ")
    assert done.err.splitlines() == [
        "note: not in this version: digest",
        "hubd: the config turns on what isn't installed: nonsense",
    ]


def test_a_bad_config_is_told_as_everywhere() -> None:
    done = hubd("plugins", HUBD_HUBD__PLUGINS='["A B"]')
    assert (done.code, done.out) == (1, "")
    assert done.err.startswith("environment HUBD_HUBD__PLUGINS: hubd.plugins[0]: ")


def test_a_list_with_files(folder: Folder) -> None:
    folder.write("two", one={})
    done = hubd("plugins", "--config", str(folder.config))
    assert (done.code, done.err) == (0, "")
    file = folder.path / "plugins"
    assert done.out.splitlines()[:2] == [f"{name}  on  {file}/{name}.py  {file}/{name}.py" for name in ("two", "one")]


def test_commands(folder: Folder) -> None:
    folder.write(one={"greeting": "squawk"}, two={"greeting": "publish", "fails_in": ""})
    help_ = hubd("--config", str(folder.config), "--help")
    assert help_.code == 0
    assert "squawk" in help_.out and "Say it." in help_.out and "check-config" in help_.out
    assert help_.err == "note: plugin two: there is a command 'publish' already\n"
    assert hubd("--config", str(folder.config), "squawk").out == "squawk!\n"
    assert hubd("squawk", HUBD_CONFIG=str(folder.config)).out == "squawk!\n"
    assert not [line for line in folder.life if "startup" in line]


def test_a_command_of_a_plugin_that_is_not_on() -> None:
    done = hubd("squawk")
    assert done.code == 2 and "No such command 'squawk'" in done.err and "--config" in done.err


def test_one_whose_commands_fail_leaves_the_others(folder: Folder) -> None:
    folder.write(one={"greeting": "squawk"}, two={"greeting": "other", "fails_in": "commands", "token": "secret"})
    done = hubd("--config", str(folder.config), "squawk")
    assert (done.code, done.out) == (0, "squawk!\n")
    assert done.err.startswith("note: plugin two: hubd_register_commands failed: RuntimeError (")
    assert "secret" not in done.err


def test_tables(folder: Folder) -> None:
    folder.write(one={"greeting": "x"})
    done = hubd("default-config", "webhooks", "two", "--config", str(folder.config))
    assert (done.code, done.err) == (0, "")
    first, second = done.out.split("\n\n")
    assert "[plugins.webhooks]\n" in first
    assert second.startswith("# A plugin that writes down its life.\n[plugins.two]\n# Where it writes it to.\n")
    assert second.endswith('# What it says.\ngreeting = "hello"\n# A secret.\ntoken = ""\n')


def test_a_table_of_nothing() -> None:
    done = hubd("default-config", "webhoks")
    assert (done.code, done.out) == (1, "")
    assert done.err == "hubd: plugin webhoks: no plugin 'webhoks' is installed; did you mean webhooks?\n"
