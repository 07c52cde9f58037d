"""The command ``hubd``."""

from pathlib import Path

import click

from hubd import __version__
from hubd.commands.explaining import explain
from hubd.commands.importing import import_devices
from hubd.commands.keys import gen_key, gen_token
from hubd.commands.of_plugins import ABOUT, Commands, take_config
from hubd.commands.publishing import publish
from hubd.commands.serving import check_config, default_config, plugins, reload, serve


# No auto_envvar_prefix: options of the hub come from HUBD_SECTION__KEY, and a second name for each (HUBD_SERVE_PORT)
# would only raise the question which one wins.
@click.group(
    cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100}, epilog=ABOUT
)
@click.option(
    "--config",
    type=click.Path(path_type=Path),
    envvar="HUBD_CONFIG",
    show_envvar=True,
    is_eager=True,
    expose_value=False,
    callback=take_config,
    help="The config file, for whatever command follows.",
)
@click.version_option(__version__, message="%(prog)s %(version)s")
def main() -> None:
    """A notification hub: publish once, and everybody who should see it does.

    \b
    Try it:
      hubd serve --dev
      hubd publish --key KEY --to user:42 --title "It works"      (serve --dev prints a KEY)
      hubd explain --key KEY ID 42                                did user 42 get it, and if not, why?

    \b
    Set it up:
      hubd default-config > config.toml
      hubd gen-key jwt >> config.toml                for users' tokens
      hubd gen-key api --id backend                  prints a key, and its table for config.toml
      hubd check-config --config config.toml
      hubd serve --config config.toml
      hubd reload                                    after a change; nobody is disconnected

    Every option of the config is also an environment variable: HUBD_LIMITS__PING_S=5 is ping_s in [limits].
    The file counts least, then the environment, then the command line.

    Exit codes: 0 done; 1 failed, and one line says why; 2 wrong usage.
    """


OF_KEYS = (gen_key, gen_token)
for command in (serve, publish, explain, check_config, default_config, reload, *OF_KEYS, import_devices, plugins):
    main.add_command(command)
