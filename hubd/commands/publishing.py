"""`hubd publish`: one notification, or every line of a program's output."""

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

from hubd.commands.common import Failure

if TYPE_CHECKING:
    from hubd.feed import Template

Command = TypeVar("Command", bound=Callable[..., Any])
DEFAULT_URL = "http://127.0.0.1:8080"
_ONE_TRY_S, _FEED_TRY_S = 5.0, 60.0


def _json_object(ctx: click.Context, param: click.Parameter, value: str | None) -> dict[str, Any] | None:
    import json

    if value is None:
        return None
    try:
        found = json.loads(value)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise click.BadParameter("is a JSON object")
    return found


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
        click.option(
            "--push", callback=_json_object, help='For single platforms, as JSON: \'{"apns": {"badge": 3}}\'.'
        ),
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


@click.command()
@publish_options
def publish(**given: Any) -> None:
    """Publish a notification, or every line of a program's output.

    \b
    export HUBD_KEY=hub_...        better than --key, which other people on the machine can see
    hubd publish --to user:42 --title "Shipped" --body "Order 1234" --link /orders/1234
    tail -f app.log | hubd publish --stdin --text --to logs --type log --persistence ephemeral
    hubd publish --stdin < notifications.ndjson

    With --stdin a line is JSON: a whole publish, {"to": "user:42", "notification": {"title": "Hi"}}, or, with --to,
    just the notification, {"title": "Hi"}. --type, --priority, --persistence, --ttl and --push count where a line
    says nothing else. With --text every line is a title (or, with --title, the body under that title).

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
    return {name: given[name] for name in ("priority", "persistence", "ttl", "push") if given[name] is not None}


def _to(given: dict[str, Any]) -> str | list[str] | None:
    to: tuple[str, ...] = given["to"]
    return to[0] if len(to) == 1 else list(to) or None


def check_server(url: str, key: str | None) -> None:
    """Whether a hub can be asked by these. The key is never repeated, not even a wrong one."""
    from urllib.parse import urlsplit

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


def _check_usage(given: dict[str, Any]) -> None:
    """What the options mean together."""
    check_server(given["url"], given["key"])
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
