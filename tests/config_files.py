"""Config files for tests: written, loaded, and the errors that they give."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from hubd.config import Config, ConfigError, load_config


def load(text: str, tmp_path: Path, environ: Mapping[str, str] | None = None, **overrides: object) -> Config:
    path = tmp_path / "config.toml"
    path.write_text(text)
    return load_config(path, environ or {}, {name.replace("__", "."): value for name, value in overrides.items()})


def errors(text: str, tmp_path: Path, environ: Mapping[str, str] | None = None) -> list[str]:
    """Every error line, with the file's folder taken off."""
    with pytest.raises(ConfigError) as caught:
        load(text, tmp_path, environ)
    return [line.replace(f"{tmp_path}/", "") for line in caught.value.lines]
