"""What dev mode adds: Web Push with a key of its own, unless the config says something of it."""

from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from hubd.reload import Source
from hubd.trying import say_dev, webpush_table, with_phones, with_webpush


@pytest.fixture(autouse=True)
def nothing_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HUBD_STORE__URL", "HUBD_PLUGINS", "HUBD_HUBD__PLUGINS"):
        monkeypatch.delenv(name, raising=False)


def source_of(text: str, folder: Path, **overrides: object) -> Source:
    path = folder / "hub.toml"
    path.write_text(text)
    return Source(path, {name.replace("__", "."): value for name, value in overrides.items()})


def key_of(options: Any) -> str:
    return str(options.vapid_private_key.get_secret_value())


def test_web_push_is_on_with_a_key_that_nobody_else_has(tmp_path: Path) -> None:
    source = source_of("", tmp_path, server__port=0)
    keys = set()
    for _ in range(2):
        found = with_webpush(source, source.read())
        config = found.read()
        keys.add(key_of(config.plugins["webpush"]))
        assert key_of(found.read().plugins["webpush"]) in keys  # a reload is no new start
        assert config.server.port == 0
    assert len(keys) == 2
    assert "webpush" not in source.read().plugins


def test_what_the_config_says_counts(tmp_path: Path) -> None:
    key = webpush_table()["vapid_private_key"]
    own = f'[plugins.webpush]\nsubject = "mailto:me@example.com"\nvapid_private_key = """{key}"""\n'
    source = source_of(own, tmp_path)
    assert with_webpush(source, source.read()) is source


def test_without_the_plugin_there_is_nothing_to_turn_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = source_of("", tmp_path)
    config = source.read()
    catalog = source.catalog(config)
    catalog.plugins.pop("webpush")
    monkeypatch.setattr(Source, "catalog", lambda self, config: catalog)
    assert with_webpush(source, config) is source


def test_the_key_is_one_for_web_push() -> None:
    table = webpush_table()
    key: Any = load_pem_private_key(table["vapid_private_key"].encode(), None)
    assert key.curve.name == "secp256r1"


def test_phones_come_before_what_the_config_says_and_nothing_is_stored(tmp_path: Path) -> None:
    own = '[plugins.webpush]\nvapid_private_key_file = "gone.pem"\nsubject = "mailto:me@example.com"\n'
    source = with_phones(source_of(own, tmp_path), {"webpush": webpush_table(), "apns": {}})
    config = source.read()
    assert set(config.plugins) == {"webpush", "apns"}
    assert config.store.url == "off"


def test_it_says_how_to_try_it(capsys: pytest.CaptureFixture[str]) -> None:
    say_dev("http://127.0.0.1:1", "hub_dev_x")
    said = capsys.readouterr()
    assert "http://127.0.0.1:1/demo/?user=ada" in said.err and "Bearer hub_dev_x" in said.err
    assert said.out == ""
