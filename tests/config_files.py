"""Config files for tests: written, loaded, and the errors that they give."""

import re
from collections.abc import Mapping
from pathlib import Path

import pytest

from hubd.config import Config, ConfigError, load_config


def load(text: str, tmp_path: Path, environ: Mapping[str, str] | None = None, **overrides: object) -> Config:
    path = tmp_path / "config.toml"
    path.write_text(text)
    return load_config(path, environ or {}, {name.replace("__", "."): value for name, value in overrides.items()})


def errors(text: str, tmp_path: Path, environ: Mapping[str, str] | None = None) -> list[str]:
    """Every error line, with the file's folder and the number of its line taken off."""
    with pytest.raises(ConfigError) as caught:
        load(text, tmp_path, environ)
    return [
        re.sub(r"^config\.toml:\d+:", "config.toml:", line.replace(f"{tmp_path}/", "")) for line in caught.value.lines
    ]


def lines_of_errors(text: str, tmp_path: Path) -> list[tuple[str, str]]:
    """Of every error its ``file:line`` and its path."""
    with pytest.raises(ConfigError) as caught:
        load(text, tmp_path)
    parts = [line.replace(f"{tmp_path}/", "").split(": ") for line in caught.value.lines]
    return [(part[0], part[1]) for part in parts]
