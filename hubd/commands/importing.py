"""`hubd import-devices`: devices that were registered elsewhere, a line each."""

import os
import sys
from typing import TYPE_CHECKING, Any

import click

from hubd.commands.common import Failure
from hubd.commands.publishing import DEFAULT_URL, check_server

if TYPE_CHECKING:
    from hubd.feed import Item, Line

_RETRY_S = 60.0


@click.command("import-devices")
@click.argument("file", type=click.Path(allow_dash=True))
@click.option("--url", envvar="HUBD_URL", show_envvar=True, default=DEFAULT_URL, show_default=True)
@click.option("--key", envvar="HUBD_KEY", show_envvar=True, help="An API key with the right 'admin'.")
@click.option(
    "--retry-for",
    type=click.FloatRange(0),
    default=_RETRY_S,
    show_default=True,
    help="Seconds to go on trying a hub that is busy or away.",
)
def import_devices(file: str, url: str, key: str | None, retry_for: float) -> None:
    """Register devices that were registered elsewhere before.

    \b
    export HUBD_KEY=hub_...
    hubd import-devices devices.ndjson
    psql -At -c "select json_build_object(...) from tokens" | hubd import-devices -

    Each line of FILE (-: standard input) is a device as POST /api/devices takes it, and whose it is:

    \b
    {"user": "42", "platform": "webpush", "endpoint": "https://...", "keys": {"p256dh": "...", "auth": "..."}}
    {"user": "42", "platform": "fcm", "token": "..."}

    "registered_at", Unix milliseconds, says when it was registered; without it that counts as long ago. What has
    registered with the hub later stays with whom it is.

    At the end it says how many were new, known and refused. Lines that are refused are named on standard error, and
    the exit code is 1. It can be done again at any time, also after it broke off.
    """
    import asyncio

    from hubd.publisher import PublishError

    check_server(url, key)
    try:
        descriptor = 0 if file == "-" else os.open(file, os.O_RDONLY)
        ok = asyncio.run(_import(descriptor, url, key or "", retry_for))
    except PublishError as error:
        raise Failure(str(error)) from None
    except OSError as error:
        raise Failure(f"{file} can't be read: {error.strerror}") from None
    sys.exit(0 if ok else 1)


async def _import(descriptor: int, url: str, key: str, retry_for: float) -> bool:
    from hubd.feed import Lines
    from hubd.publisher import Publisher

    def refused(number: int, why: str) -> None:
        click.echo(f"line {number}: {why}", err=True)

    def note(text: str) -> None:
        click.echo(f"note: {text}", err=True)

    async with Publisher(url, key, retry_for, note) as publisher:
        totals = await publisher.publish_feed(Lines(descriptor).batches(), _Devices(), refused, "/api/devices/batch")
    click.echo(f"{totals.sent - totals.known} new, {totals.known} known, {totals.refused} refused")
    return totals.refused == 0


class _Devices:
    """Makes of a line what is sent. What is wrong with it is told without it: it has secrets."""

    def item(self, line: "Line") -> "Item":
        """The line, if it is a JSON object; ``ValueError`` if not."""
        import json

        from hubd.feed import LINE_BYTES, Item

        if line.text is None:
            raise ValueError(f"the line is longer than {LINE_BYTES} bytes")
        try:
            value: Any = json.loads(line.text)
            if not isinstance(value, dict):
                raise ValueError("no object")
            return Item(line.number, json.dumps(value, ensure_ascii=False, allow_nan=False).encode())
        except (ValueError, RecursionError):
            raise ValueError("the line isn't a JSON object") from None
