"""The commands that plugins add to `hubd`, those that the config turns on."""

from pathlib import Path
from typing import Any

import click

ABOUT = "Commands of plugins appear here too, if the config turns them on: give it with --config, or as HUBD_CONFIG."


class Commands(click.Group):
    """hubd's own commands, and behind them those of plugins, which are looked for only when they are needed."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All names."""
        return [*super().list_commands(ctx), *self._of_plugins(ctx)]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """One by its name; hubd's own first."""
        return super().get_command(ctx, cmd_name) or self._of_plugins(ctx).get(cmd_name)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The command that is meant; for one that isn't known, also how a plugin's would be found."""
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            raise click.UsageError(f"{error.message}\n{ABOUT}", ctx) from None

    def _of_plugins(self, ctx: click.Context) -> dict[str, click.Command]:
        known: dict[str, click.Command] | None = ctx.meta.get("hubd.plugin_commands")
        if known is None:
            known = ctx.meta["hubd.plugin_commands"] = _load(ctx.obj, set(self.commands))
        return known


def take_config(ctx: click.Context, param: click.Parameter, value: Path | None) -> Path | None:
    """Remember the config file that stands before the command."""
    ctx.obj = value
    return value


def _load(path: Path | None, taken: set[str]) -> dict[str, click.Command]:
    if path is None:
        return {}
    from hubd.clock import SystemClock
    from hubd.commands.common import source_of
    from hubd.config import ConfigError
    from hubd.faults import PluginError
    from hubd.hooks.calls import Hooks
    from hubd.hooks.manager import Plugins

    source = source_of(path)
    try:
        config = source.read()
        hooks = Hooks(SystemClock())
        Plugins.of(config, source.catalog(config), hooks)
    except (ConfigError, PluginError) as error:
        first = str(error).partition("\n")[0]
        click.echo(f"note: without the commands of plugins: {first}", err=True)
        return {}
    found: dict[str, click.Command] = {}
    for impl in hooks.each["register_commands"].impls:
        for command in _commands_of(impl.plugin.name, impl.call):
            name = command.name or ""
            if name in taken or name in found:
                click.echo(f"note: plugin {impl.plugin.name}: there is a command {name!r} already", err=True)
            else:
                found[name] = command
    return found


def _commands_of(plugin: str, register: Any) -> list[click.Command]:
    from hubd.faults import described, place_of

    group = click.Group(plugin)
    try:
        register(group)
    except (Exception, SystemExit) as error:  # its commands are missing, the others are not
        click.echo(
            f"note: plugin {plugin}: hubd_register_commands failed: {described(error)} ({place_of(error)})", err=True
        )
        return []
    return list(group.commands.values())
