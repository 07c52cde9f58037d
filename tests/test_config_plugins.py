"""Tables of plugins in the config. What is told of bad plugins is in tests/hooks/test_zoo_refused.py."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from hubd.config import Config, ConfigError, load_config
from hubd.config_text import plugin_table_text
from hubd.hooks.catalog import Catalog, PluginConfig
from hubd.plugin import Field, SecretStr

SOURCE = """
from typing import Literal
from hubd.plugin import Field, PluginConfig, SecretStr

class Plugin:
    class Config(PluginConfig):
        word: str = "hello"
        token: SecretStr | None = None
        count: int = Field(1, ge=1)
        ratio: float = 0.5
        way: Literal["5", "b"] = "b"
        names: tuple[str, ...] = Field((), strict=False)
        table: dict[str, int] = {}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("one", "two", "three"):
        (tmp_path / f"{name}.py").write_text(SOURCE)
    return tmp_path


def load(folder: Path, text: str, environ: Mapping[str, str] | None = None) -> Config:
    path = folder / "config.toml"
    path.write_text(text)
    return load_config(path, environ or {}, None, Catalog)


def errors(folder: Path, text: str, environ: Mapping[str, str] | None = None) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load(folder, text, environ)
    return [line.replace(f"{folder}/", "") for line in caught.value.lines]


HEAD = '[hubd]\nplugin_dirs = ["."]\n'


def test_order_is_that_of_the_list_and_then_of_the_tables(folder: Path) -> None:
    text = HEAD + 'plugins = ["three", "one"]\n[plugins.two]\n[plugins.one]\nword = "x"\n'
    config = load(folder, text)
    assert [*config.plugins] == ["three", "one", "two"]
    assert [options.word for options in config.plugins.values()] == ["hello", "x", "hello"]


def test_a_variable_turns_one_on_and_beats_the_file(folder: Path) -> None:
    config = load(folder, HEAD + '[plugins.two]\nword = "x"\n', {
        "HUBD_PLUGINS__TWO__WORD": "y",
        "HUBD_PLUGINS__ONE__COUNT": "5",
        "HUBD_PLUGINS__ONE__NAMES": '["a", "b"]',
    })  # fmt: skip
    assert [*config.plugins] == ["two", "one"]
    assert config.plugins["two"].word == "y"
    assert (config.plugins["one"].count, config.plugins["one"].names) == (5, ("a", "b"))


@pytest.mark.parametrize("text", ["12345", "true", "null", '"quoted"', "[1]", "1e5", "", "a b", "{"])
def test_texts_are_taken_as_they_are_written(text: str, folder: Path) -> None:
    environ = {"HUBD_PLUGINS__ONE__WORD": text, "HUBD_PLUGINS__ONE__TOKEN": text}
    options: Any = load(folder, HEAD, environ).plugins["one"]
    assert options.word == options.token.get_secret_value() == text
    assert text in ("", "a b") or text not in repr(options.token)


def test_a_choice_is_a_text_too(folder: Path) -> None:
    assert load(folder, HEAD, {"HUBD_PLUGINS__ONE__WAY": "5"}).plugins["one"].way == "5"


def test_errors_name_where_it_came_from_and_no_secret(folder: Path) -> None:
    environ = {"HUBD_PLUGINS__ONE__COUNT": "secret", "HUBD_PLUGINS__TWO__CUONT": "secret"}
    said = errors(folder, HEAD + '[plugins.two]\ntoken = 12345\nratio = "secret"\ntable = {a = "secret"}\n', environ)
    assert said == [
        "config.toml:4: plugins.two.token: has to be a text in quotes",
        "config.toml:5: plugins.two.ratio: has to be a number, without quotes",
        "config.toml:6: plugins.two.table.a: has to be a whole number, without quotes",
        "environment HUBD_PLUGINS__TWO__CUONT: plugins.two.cuont: unknown key; did you mean count?",
        "environment HUBD_PLUGINS__ONE__COUNT: plugins.one.count: has to be a whole number, without quotes",
    ]


def test_what_is_no_table_is_told(folder: Path) -> None:
    assert errors(folder, HEAD + "[plugins]\none = 5\n") == ["config.toml:4: plugins.one: has to be a table"]


class Table(PluginConfig):
    """What it says,
    and to whom."""

    address: str = Field(description="Where it goes.", examples=["https://example.com"])
    count: int = Field(description="How many.", ge=1, le=9)
    word: str = Field('hé "l"', description="What it says.")
    token: SecretStr | None = Field(None, description="A secret.")
    names: tuple[str, ...] = Field(("a", "b"), description="Who.", strict=False)
    table: dict[str, Any] = Field(default_factory=lambda: {"a b": [1, {"c": True}]})


def test_its_table_is_written_with_every_option() -> None:
    assert (
        plugin_table_text("greeter", Table)
        == """\
# What it says, and to whom.
[plugins.greeter]
# Where it goes. Required.
#address = "https://example.com"
# How many. From 1 to 9. Required.
#count = 0
# What it says.
word = "hé \\"l\\""
# A secret.
#token = ""
# Who.
names = ["a", "b"]
table = {"a b" = [1, {"c" = true}]}
"""
    )


def test_the_table_that_is_written_is_one_that_can_be_read(folder: Path) -> None:
    model = Catalog([folder]).config_class("one")
    assert not isinstance(model, str)
    assert load(folder, HEAD + plugin_table_text("one", model)).plugins["one"] == model()
