"""Which plugins there are, and what their classes say. What is refused, and how, is in the zoo."""

import sys
from pathlib import Path
from typing import Any

import pytest

from hubd.faults import PluginError
from hubd.hooks.catalog import Catalog, PluginConfig, config_class, wrong_hooks
from hubd.plugin import hookimpl


class Good:
    """A plugin in which nothing is wrong."""

    class Config(PluginConfig):
        word: str = "x"

    not_a_hook = 5

    @hookimpl
    def hubd_published(self, live: int) -> None: ...

    @hookimpl
    async def hubd_store_notification(self, notification: Any) -> None: ...

    @hookimpl
    def hubd_shutdown(self) -> None: ...

    def published(self) -> None: ...


def distribution(folder: Path, name: str, **entries: str) -> None:
    info = folder / f"{name}-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    lines = [f"{entry} = {value}" for entry, value in entries.items()]
    (info / "entry_points.txt").write_text("\n".join(["[hubd]", *lines, ""]))


def installed(monkeypatch: pytest.MonkeyPatch, *folders: Path) -> None:
    monkeypatch.setattr(sys, "path", [*map(str, folders), *sys.path])


def test_nothing_is_wrong_with_a_good_one() -> None:
    assert list(wrong_hooks(Good)) == []
    assert config_class(Good) is Good.Config


def test_a_plugin_needs_no_config_of_its_own() -> None:
    class Bare: ...

    assert config_class(Bare) is PluginConfig
    assert list(wrong_hooks(Bare)) == []


def test_options_are_frozen_strict_and_closed() -> None:
    with pytest.raises(ValueError, match="extra"):
        Good.Config(word="a", other=1)  # type: ignore[call-arg]  # on purpose
    with pytest.raises(ValueError, match="string"):
        Good.Config(word=5)  # type: ignore[arg-type]  # on purpose
    with pytest.raises(ValueError, match="frozen"):
        Good.Config().word = "b"


def test_installed_ones_and_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    distribution(tmp_path / "site", "extras", parrot="tests.hooks.test_catalog:Good")
    installed(monkeypatch, tmp_path / "site")
    (tmp_path / "greeter.py").write_text("class Plugin: ...\n")
    (tmp_path / "_helper.py").write_text("raise RuntimeError\n")
    (tmp_path / "Upper.py").write_text("raise RuntimeError\n")
    (tmp_path / "notes.txt").write_text("")
    catalog = Catalog([tmp_path])
    assert {"parrot", "greeter"} <= {*catalog.plugins} and not catalog.errors
    assert not {"_helper", "Upper", "notes"} & {*catalog.plugins}
    assert catalog.find("parrot").version == "extras 1.0"
    assert catalog.load("parrot").__name__ == "Good"
    assert catalog.load("greeter").__name__ == "Plugin"
    assert catalog.find("greeter").place == str(tmp_path / "greeter.py")


def test_a_file_is_loaded_once(tmp_path: Path) -> None:
    (tmp_path / "once.py").write_text("class Plugin: ...\n")
    assert Catalog([tmp_path]).load("once") is Catalog([tmp_path]).load("once")


def test_a_file_that_fails_is_tried_again(tmp_path: Path) -> None:
    (tmp_path / "mended.py").write_text("1 / 0\n")
    with pytest.raises(PluginError, match=r"ZeroDivisionError: division by zero \(.*mended.py:1\)"):
        Catalog([tmp_path]).load("mended")
    (tmp_path / "mended.py").write_text("class Plugin: ...\n# mended\n")
    assert Catalog([tmp_path]).load("mended")


def test_one_environment_that_is_listed_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for place in ("a", "b"):
        distribution(tmp_path / place, "extras", parrot="tests.hooks.test_catalog:Good")
    installed(monkeypatch, tmp_path / "a", tmp_path / "b", tmp_path / "a")
    assert Catalog().load("parrot").__name__ == "Good"


def test_one_folder_that_is_named_twice(tmp_path: Path) -> None:
    (tmp_path / "twice.py").write_text("class Plugin: ...\n")
    (tmp_path / "link").symlink_to(tmp_path)
    assert Catalog([tmp_path, tmp_path, tmp_path / "link"]).load("twice")


@pytest.mark.parametrize("other", ["distribution", "file"])
def test_two_of_one_name_are_refused_both(other: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    distribution(tmp_path / "a", "extras", parrot="tests.hooks.test_catalog:Good")
    installed(monkeypatch, tmp_path / "a", tmp_path / "b")
    if other == "distribution":
        distribution(tmp_path / "b", "more", parrot="elsewhere:Parrot")
    else:
        (tmp_path / "parrot.py").write_text("class Plugin: ...\n")
    catalog = Catalog([tmp_path])
    said = catalog.config_class("parrot")
    assert isinstance(said, str) and said.startswith("two plugins have the name 'parrot': ")
    assert "extras 1.0" in said and ("more 1.0" in said or str(tmp_path / "parrot.py") in said)
    with pytest.raises(PluginError):
        catalog.load("parrot")


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    assert Catalog([tmp_path / "no"]).errors == [f"there is no folder {tmp_path / 'no'}"]


def test_one_that_comes_later_is_no_error() -> None:
    catalog = Catalog()
    assert catalog.config_class("quiet_hours") == ""
    assert catalog.config_class("nonsense") == "no plugin 'nonsense' is installed; `hubd plugins` lists those that are"
