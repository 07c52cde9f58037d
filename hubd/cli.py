"""The command ``hubd``. What a command needs is imported when it runs, so that ``hubd --help`` is quick."""

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, TypeVar

import click

from hubd import __version__

if TYPE_CHECKING:
    from hubd.config import Config
    from hubd.feed import Template

Command = TypeVar("Command", bound=Callable[..., Any])
DEFAULT_URL = "http://127.0.0.1:8080"
_ONE_TRY_S, _FEED_TRY_S = 5.0, 60.0


class Failure(click.ClickException):
    """It failed: one line that says why, exit code 1."""

    def show(self, file: IO[Any] | None = None) -> None:
        """Print the line on standard error."""
        click.echo(f"hubd: {self.message}", err=True)


config_option = click.option(
    "--config",
    "config_path",
    type=click.Path(path_type=Path),
    envvar="HUBD_CONFIG",
    show_envvar=True,
    help="The config file; without one, the defaults count.",
)


# No auto_envvar_prefix: options of the hub come from HUBD_SECTION__KEY, and a second name for each (HUBD_SERVE_PORT)
# would only raise the question which one wins.
@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, message="%(prog)s %(version)s")
def main() -> None:
    """A notification hub: publish once, and everybody who should see it does.

    \b
    Try it:
      hubd serve --dev
      hubd publish --key KEY --to user:42 --title "It works"      (serve --dev prints a KEY)

    \b
    Set it up:
      hubd default-config > config.toml
      hubd gen-key jwt >> config.toml                for users' tokens
      hubd gen-key api --id backend                  prints a key, and its table for config.toml
      hubd check-config --config config.toml
      hubd serve --config config.toml

    Every option of the config is also an environment variable: HUBD_LIMITS__PING_S=5 is ping_s in [limits].
    The file counts least, then the environment, then the command line.

    Exit codes: 0 done; 1 failed, and one line says why; 2 wrong usage.
    """


@main.command()
@config_option
@click.option(
    "--dev", is_flag=True, help="For trying things on this machine: ?user=42 is enough, and a key is printed."
)
@click.option("--host", help="Listen on this address instead of server.host.")
@click.option("--port", type=click.IntRange(0, 65535), help="Listen on this port instead of server.port; 0: any free.")
def serve(config_path: Path | None, dev: bool, host: str | None, port: int | None) -> None:
    """Run the hub until SIGTERM or Ctrl-C.

    One line on standard output says where, as soon as it is ready; everything else goes to standard error.
    """
    given = {"server.host": host, "server.port": port}
    config = _load(config_path, {name: value for name, value in given.items() if value is not None})
    from hubd.server import serve as run

    sys.exit(run(config, dev))


@main.command("check-config")
@config_option
@click.argument("file", required=False, type=click.Path(path_type=Path))
def check_config(config_path: Path | None, file: Path | None) -> None:
    """Check the config (FILE, or --config) together with the environment, without starting anything.

    Lists everything that is wrong, each with its place, and ends with 1.
    """
    if config_path and file and config_path != file:
        raise click.UsageError("give one file, as FILE or with --config")
    path = file or config_path
    config = _load(path)
    for setting in config.unused_settings():
        click.echo(f"note: {setting} is not used by this version", err=True)
    click.echo(f"{path} is fine" if path else "the defaults and the environment are fine (no --config was given)")


@main.command("default-config")
def default_config() -> None:
    """Print config.toml: every option with its default and what it means."""
    from hubd.config import default_config_text

    click.echo(default_config_text(), nl=False)


@main.group("gen-key")
def gen_key() -> None:
    """Make a key, and the config that belongs to it."""


@gen_key.command("api")
@click.option("--id", "name", required=True, help="A name for the key, such as the application's.")
@click.option("--rights", default="publish", show_default=True, help="Comma-separated: publish, admin.")
@click.option("--channels", default="**", show_default=True, help="Comma-separated patterns of channels.")
def gen_key_api(name: str, rights: str, channels: str) -> None:
    """Make an API key, with which an application's server publishes.

    The first line is the key, which is shown only this once; the rest goes into config.toml.
    """
    from pydantic import ValidationError

    from hubd.config import ApiKeyEntry
    from hubd.edge.keys import new_key

    key, digest = new_key(name)
    table = {"id": name, "sha256": digest, "rights": _items(rights), "channels": _items(channels)}
    try:
        ApiKeyEntry.model_validate(table)
    except ValidationError as error:
        wrong = error.errors(include_input=False)[0]
        raise click.BadParameter(wrong["msg"], param_hint=f"--{wrong['loc'][0]}") from None
    click.echo(f"{key}\n\n# The key above is shown only this once. For config.toml:")
    _print_table("[[auth.api_keys]]", table)


@gen_key.command("jwt")
def gen_key_jwt() -> None:
    """Make a random HS256 key for users' tokens: the application signs with it, the hub verifies.

    The output can be appended to config.toml as it is.
    """
    import secrets

    click.echo("# Whoever has this key can make tokens for every user: keep it as a password is kept.")
    _print_table("[[auth.jwt]]", {"algorithm": "HS256", "key": secrets.token_urlsafe(48)})


@main.command("gen-token")
@config_option
@click.option("--user", required=True, help="The user's id.")
@click.option("--topics", help="Comma-separated patterns that it may subscribe to; left out: auth.default_topics.")
@click.option("--publish", help="Comma-separated patterns that it may publish to.")
@click.option("--max-priority", type=click.Choice(["informational", "important", "critical"]))
@click.option("--ttl", type=click.IntRange(1), default=3600, show_default=True, help="Seconds until it expires.")
def gen_token(
    config_path: Path | None,
    user: str,
    topics: str | None,
    publish: str | None,
    max_priority: str | None,
    ttl: int,
) -> None:
    """Print a token for a user, signed with the first key in [[auth.jwt]] that can sign."""
    from hubd.core.channel import Patterns, is_user_id
    from hubd.core.errors import Problem

    if not is_user_id(user):
        raise click.BadParameter("a user id is 1 to 64 of A-Z a-z 0-9 _ . @ | + = -", param_hint="--user")
    claims: dict[str, object] = {"sub": user}
    for name, text in (("topics", topics), ("publish", publish)):
        if text is None:
            continue
        try:
            claims[name] = list(Patterns(_items(text)).texts)
        except Problem as problem:
            raise click.BadParameter(problem.message, param_hint=f"--{name}") from None
    if max_priority:
        claims["max_priority"] = max_priority
    click.echo(_signed(_load(config_path), claims, ttl))


def publish_options(command: Command) -> Command:
    """What ``publish`` takes, grouped as its help shows it."""
    options = [
        click.option("--url", envvar="HUBD_URL", show_envvar=True, default=DEFAULT_URL, show_default=True),
        click.option("--key", envvar="HUBD_KEY", show_envvar=True, help="An API key that may publish."),
        click.option("--to", multiple=True, help="A channel; may be repeated."),
        click.option("--title"),
        click.option("--body"),
        click.option("--link", help="Where a click on it leads (the notification's url)."),
        click.option(
            "--type", "type_", default="alert", show_default=True, help="The application's word for its kind."
        ),
        click.option("--priority", type=click.Choice(["informational", "important", "critical"])),
        click.option("--persistence", type=click.Choice(["ephemeral", "bufferable", "persistent"])),
        click.option("--ttl", type=click.IntRange(0), help="Seconds after which it is of no use any more."),
        click.option("--id", "id_", help="Its id: publishing the same again does nothing. Without one, one is made."),
        click.option("--stdin", is_flag=True, help="Publish every line of standard input, until it ends."),
        click.option("--text", is_flag=True, help="With --stdin: lines are plain text, not JSON."),
        click.option(
            "--retry-for",
            type=click.FloatRange(0),
            help=f"Seconds to go on trying a hub that is busy or away.  [default: {_ONE_TRY_S:g}; with --stdin"
            f" {_FEED_TRY_S:g}]",
        ),
    ]
    for option in reversed(options):
        command = option(command)
    return command


@main.command()
@publish_options
def publish(**given: Any) -> None:
    """Publish a notification, or every line of a program's output.

    \b
    export HUBD_KEY=hub_...        better than --key, which other people on the machine can see
    hubd publish --to user:42 --title "Shipped" --body "Order 1234" --link /orders/1234
    tail -f app.log | hubd publish --stdin --text --to logs --type log --persistence ephemeral
    hubd publish --stdin < notifications.ndjson

    With --stdin a line is JSON: a whole publish, {"to": "user:42", "notification": {"title": "Hi"}}, or, with --to,
    just the notification, {"title": "Hi"}. --type, --priority, --persistence and --ttl count where a line says
    nothing else. With --text every line is a title (or, with --title, the body under that title).

    A slow feed goes out line by line at once, a fast one in batches. When the hub is busy or away, this waits and tries
    again; nothing goes out twice. Lines that are refused are named on standard error, and the exit code is 1.
    """
    import asyncio

    from hubd.publisher import PublishError

    _check_usage(given)
    run = _publish_feed if given["stdin"] else _publish_one
    try:
        ok = asyncio.run(run(given))
    except PublishError as error:
        raise Failure(str(error)) from None
    except OSError as error:
        raise Failure(f"standard input can't be read: {error.strerror}") from None
    sys.exit(0 if ok else 1)


async def _publish_one(given: dict[str, Any]) -> bool:
    import json
    from uuid import uuid4

    from hubd.publisher import Publisher

    named = {"type": given["type_"], "title": given["title"], "body": given["body"], "url": given["link"]}
    notification = {name: value for name, value in named.items() if value is not None}
    body = {"id": given["id_"] or str(uuid4()), **_outer_fields(given), "to": _to(given), "notification": notification}
    retry_for = _ONE_TRY_S if given["retry_for"] is None else given["retry_for"]
    async with Publisher(given["url"], given["key"], retry_for, note=lambda text: None) as publisher:
        click.echo(json.dumps(await publisher.publish(body)))
    return True


async def _publish_feed(given: dict[str, Any]) -> bool:
    from hubd.feed import Lines
    from hubd.publisher import Publisher

    def refused(number: int, why: str) -> None:
        click.echo(f"line {number}: {why}", err=True)

    def note(text: str) -> None:
        click.echo(f"note: {text}", err=True)

    retry_for = _FEED_TRY_S if given["retry_for"] is None else given["retry_for"]
    async with Publisher(given["url"], given["key"], retry_for, note) as publisher:
        totals = await publisher.publish_feed(Lines(0).batches(), _template(given), refused)
    click.echo(f"{totals.sent} published, {totals.refused} refused", err=True)
    return totals.refused == 0


def _template(given: dict[str, Any]) -> "Template":
    from hubd.feed import Template

    return Template(_to(given), given["type_"], given["title"], given["text"], _outer_fields(given))


def _outer_fields(given: dict[str, Any]) -> dict[str, Any]:
    return {name: given[name] for name in ("priority", "persistence", "ttl") if given[name] is not None}


def _to(given: dict[str, Any]) -> str | list[str] | None:
    to: tuple[str, ...] = given["to"]
    return to[0] if len(to) == 1 else list(to) or None


def _check_usage(given: dict[str, Any]) -> None:
    """What the options mean together. The key is never repeated, not even a wrong one."""
    from urllib.parse import urlsplit

    key, url = given["key"], given["url"]
    if not key:
        raise click.UsageError(
            "an API key is needed: set HUBD_KEY (hubd gen-key api makes one; serve --dev prints one)"
        )
    if not (key.isascii() and key.isprintable()) or " " in key:
        raise click.UsageError("the API key has characters that no key has; is it the whole key and nothing else?")
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        usable = False
    if not usable:
        raise click.UsageError(f"--url is the hub's address, such as {DEFAULT_URL}")
    if given["stdin"]:
        wrong = [name for name in ("body", "link", "id_") if given[name] is not None]
        if wrong or (given["title"] is not None and not given["text"]):
            raise click.UsageError(f"--{(wrong or ['title'])[0].rstrip('_')} doesn't go with --stdin: the lines say it")
        if given["text"] and not given["to"]:
            raise click.UsageError("--text needs --to: plain text doesn't say where it goes")
    elif given["text"]:
        raise click.UsageError("--text goes with --stdin")
    elif not given["to"] or given["title"] is None:
        raise click.UsageError("give --to and --title, or --stdin")


def _signed(config: "Config", claims: dict[str, object], ttl: int) -> str:
    """A token with these claims, valid from now for ``ttl`` seconds."""
    import jwt

    from hubd.clock import SystemClock

    for entry in config.auth.jwt:
        if entry.keys and entry.keys.signing is not None:
            now = int(SystemClock().now())
            named = {"iss": entry.issuer, "aud": entry.audience}
            claims = claims | {"iat": now, "exp": now + ttl} | {name: value for name, value in named.items() if value}
            return jwt.encode(claims, entry.keys.signing, algorithm=entry.algorithm)
    raise Failure(
        "no key in [[auth.jwt]] can sign: give the --config that has one, or make one with `hubd gen-key jwt`"
    )


def _load(path: Path | None, overrides: dict[str, object] | None = None) -> "Config":
    """The config, or every reason why not on standard error and exit code 1."""
    from hubd.config import ConfigError, load_config

    try:
        return load_config(path, os.environ, overrides)
    except ConfigError as error:
        for line in error.lines:
            click.echo(line, err=True)
        sys.exit(1)


def _items(text: str) -> list[str]:
    """The parts of a comma-separated text."""
    return [part.strip() for part in text.split(",") if part.strip()]


def _print_table(title: str, values: dict[str, Any]) -> None:
    import json  # what occurs here looks the same in TOML

    click.echo("\n".join([title, *(f"{name} = {json.dumps(value)}" for name, value in values.items())]))
