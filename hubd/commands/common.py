"""What the commands share."""

import sys
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from collections.abc import Callable

    from hubd.config import Config
    from hubd.reload import Source


class Failure(click.ClickException):
    """It failed: one line that says why, exit code 1."""

    def show(self, file: IO[Any] | None = None) -> None:
        """Print the line on standard error."""
        click.echo(f"hubd: {self.message}", err=True)


def _config_path(ctx: click.Context, param: click.Parameter, value: Path | None) -> Path | None:
    """The config file: what stands behind the command counts before what stands in front of it."""
    return value or ctx.find_root().obj


config_option = click.option(
    "--config",
    "config_path",
    type=click.Path(path_type=Path),
    envvar="HUBD_CONFIG",
    show_envvar=True,
    callback=_config_path,
    help="The config file; without one, the defaults count.",
)


def source_of(path: Path | None, overrides: dict[str, object] | None = None) -> "Source":
    """Where the config comes from: this file, the environment, and what the flags say."""
    from hubd.reload import Source

    return Source(path, overrides or {})


def load(source: "Source") -> "Config":
    """The config, or every reason why not on standard error and exit code 1."""
    return read_or_exit(source.read)


def read_or_exit(read: "Callable[[], Config]") -> "Config":
    """The same, by whatever reads it."""
    from hubd.config import ConfigError

    try:
        return read()
    except ConfigError as error:
        for line in error.lines:
            click.echo(line, err=True)
        sys.exit(1)


def items(text: str) -> list[str]:
    """The parts of a comma-separated text."""
    return [part.strip() for part in text.split(",") if part.strip()]


def print_table(title: str, values: dict[str, Any]) -> None:
    """Print a table for config.toml."""
    import json  # what occurs here looks the same in TOML

    click.echo("\n".join([title, *(f"{name} = {json.dumps(value)}" for name, value in values.items())]))
