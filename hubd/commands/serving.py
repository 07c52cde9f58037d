"""`hubd serve` and `hubd reload`, and what shows or checks the config they use."""

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from hubd.commands.common import Failure, config_option, load, read_or_exit, source_of

if TYPE_CHECKING:
    from hubd.config import Config
    from hubd.control import RunningHub
    from hubd.reload import Source


@click.command()
@config_option
@click.option(
    "--dev", is_flag=True, help="For trying things on this machine: ?user=42 is enough, and a key is printed."
)
@click.option(
    "--phones", is_flag=True, help="With --dev: made-up phones of ada and bob, and a line whenever one of them rings."
)
@click.option("--host", help="Listen on this address instead of server.host.")
@click.option("--port", type=click.IntRange(0, 65535), help="Listen on this port instead of server.port; 0: any free.")
def serve(config_path: Path | None, dev: bool, phones: bool, host: str | None, port: int | None) -> None:
    """Run the hub until SIGTERM or Ctrl-C.

    One line on standard output says where, as soon as it is ready; everything else goes to standard error.

    \b
    SIGTERM, Ctrl-C   tell everybody to come back in a while, finish what was begun, end with 0;
                      that takes [server] drain_s seconds at most
    Ctrl-C again      end at once, with 130: connections are cut and nothing is saved
    SIGHUP            read the config again, as `hubd reload` does
    """
    given = {"server.host": host, "server.port": port}
    source = source_of(config_path, {name: value for name, value in given.items() if value is not None})
    if phones and not dev:
        raise click.UsageError("--phones goes with --dev alone: those phones are made up")
    config = load(source)
    sys.exit(_with_phones(source, config) if phones else _run(source, config, dev))


def _run(source: "Source", config: "Config", dev: bool) -> int:
    from hubd.server import serve as run

    if dev:
        from hubd.trying import with_webpush

        source = with_webpush(source, config)
        config = load(source)
    return run(source, config, dev)


def _with_phones(source: "Source", config: "Config") -> int:
    try:
        from hubd.phones import Phones
    except ImportError as error:
        raise Failure(f"--phones needs what isn't installed: {error.name}") from None
    from hubd.server import serve as run
    from hubd.trying import with_phones

    with Phones() as phones:
        source = with_phones(source, phones.tables)
        return run(source, load(source), dev=True, on_ready=phones.register)


@click.command("check-config")
@config_option
@click.argument("file", required=False, type=click.Path(path_type=Path))
def check_config(config_path: Path | None, file: Path | None) -> None:
    """Check the config (FILE, or --config) together with the environment, without starting anything.

    Lists everything that is wrong, each with its place, and ends with 1.
    """
    if config_path and file and config_path != file:
        raise click.UsageError("give one file, as FILE or with --config")
    path = file or config_path
    config = load(source_of(path))
    for setting in config.unused_settings():
        click.echo(f"note: {setting} is not used by this version", err=True)
    for option in config.readable_secrets():
        click.echo(f"note: {option}: others on this machine can read this file (chmod o-r)", err=True)
    click.echo(f"{path} is fine" if path else "the defaults and the environment are fine (no --config was given)")


@click.command("default-config")
@config_option
@click.argument("names", nargs=-1, metavar="[PLUGIN]...")
def default_config(config_path: Path | None, names: tuple[str, ...]) -> None:
    """Print config.toml: every option with its default and what it means.

    With names of plugins: the table of each, to be put into config.toml. They have to be installed, or to lie in one
    of the folders that [hubd] plugin_dirs of the --config names.
    """
    from hubd.config import default_config_text

    click.echo("\n".join(_plugin_table(name, config_path) for name in names) or default_config_text(), nl=False)


def _plugin_table(name: str, config_path: Path | None) -> str:
    from hubd.config import load_config
    from hubd.config_text import plugin_table_text
    from hubd.faults import PluginError
    from hubd.hooks.catalog import config_class as of

    config = read_or_exit(lambda: load_config(config_path, os.environ))
    try:
        return plugin_table_text(name, of(source_of(config_path).catalog(config).load(name)))
    except PluginError as error:
        raise Failure(f"plugin {name}: {error}") from None


@click.command()
@config_option
@click.option("--pid", type=click.IntRange(1), help="The hub's process id, where several run.")
def reload(config_path: Path | None, pid: int | None) -> None:
    """Have the running hub read its config again; nobody is disconnected.

    All of it counts, or nothing: when anything is wrong, everything that is wrong is listed, the hub goes on with the
    config that it has, and the exit code is 1. Options that need a restart are named, and stay as they were.

    Without options it is the hub that runs on this machine under your user. Where several do, say which one: by its
    config file or its process id. The signal SIGHUP does the same, and then the log says how it went.
    """
    from hubd.control import ControlError, ask, running_hubs

    try:
        hub = _chosen(running_hubs(), config_path, pid)
        answer = ask(hub.name, "reload")
        errors, changed, restart = (list(answer[name]) for name in ("errors", "changed", "restart"))
    except (ControlError, KeyError, TypeError) as error:
        raise Failure(str(error)) from None
    for line in errors:
        click.echo(line, err=True)
    if errors:
        raise Failure(f"nothing was changed: the hub ({hub}) goes on with the config that it has")
    click.echo(f"reloaded ({hub}); changed: {', '.join(changed) or 'nothing'}")
    for option in restart:
        click.echo(f"note: {option} needs a restart, and stays as it was until then", err=True)


def _chosen(hubs: "list[RunningHub]", config_path: Path | None, pid: int | None) -> "RunningHub":
    found = hubs
    if pid is not None:
        found = [hub for hub in hubs if hub.pid == pid]
    elif config_path is not None:
        found = [hub for hub in hubs if hub.config == os.path.realpath(config_path)]
    if len(found) == 1:
        return found[0]
    if not hubs:
        raise Failure("no hub runs on this machine under your user (another user's: sudo -u USER hubd reload)")
    what = "several hubs run, choose one with --pid" if found else "the hub that you named doesn't run; these do"
    raise Failure(f"{what}: {'; '.join(map(str, found or hubs))}")


@click.command()
@config_option
def plugins(config_path: Path | None) -> None:
    """List the plugins that are installed, and whether the config turns them on.

    Those that are on come first, in the order in which they are called. A plugin is turned on by its name in
    [hubd] plugins, or by a table [plugins.NAME].
    """
    from hubd.config import load_config
    from hubd.hooks.catalog import OWN

    source = source_of(config_path)
    # Names that don't exist are told below, with those that do.
    config = read_or_exit(lambda: load_config(config_path, os.environ))
    catalog = source.catalog(config)
    on = list(dict.fromkeys([*config.hubd.plugins, *config.plugins]))
    for name in [*(name for name in on if name in catalog.plugins), *sorted(catalog.plugins.keys() - {*on})]:
        found = catalog.plugins[name]
        click.echo(f"{name}  {'on' if name in on else 'off'}  {found.version}  {found.place}")
    if not catalog.plugins:
        click.echo("no plugins are installed")
    for error in (*catalog.errors, *catalog.ambiguous.values()):
        click.echo(f"note: {error}", err=True)
    if early := [name for name in on if name in OWN and name not in catalog.plugins]:
        click.echo(f"note: not in this version: {', '.join(early)}", err=True)
    if missing := [name for name in on if name not in catalog.plugins and name not in OWN]:
        raise Failure(f"the config turns on what isn't installed: {', '.join(missing)}")
