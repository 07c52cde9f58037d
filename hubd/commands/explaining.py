"""`hubd explain`: why somebody got a notification, or not."""

from typing import Any

import click

from hubd.commands.common import Failure
from hubd.commands.publishing import DEFAULT_URL

_STEP_WIDTH = 12  # of the longest of the names of steps, which stand in front of them


@click.command()
@click.argument("id")
@click.argument("user", required=False)
@click.option("--url", envvar="HUBD_URL", show_envvar=True, default=DEFAULT_URL, show_default=True)
@click.option("--key", envvar="HUBD_KEY", show_envvar=True, help="An API key whose channels match the notification's.")
@click.option("--json", "as_json", is_flag=True, help="Print the hub's answer as it is.")
def explain(id: str, user: str | None, url: str, key: str | None, as_json: bool) -> None:
    """Say why USER got the notification ID, or why not: step by step, with times and reasons.

    \b
    export HUBD_KEY=hub_...        better than --key, which other people on the machine can see
    hubd explain order-1234 42     what became of it for user 42
    hubd explain order-1234        how many of those whom it is meant for have got it

    The first line says how it stands. Then comes what happened, in order: whom it was published to, what plugins said
    of it, each connection that it was sent to or wasn't, who acked, and each attempt to push. Times are this machine's
    local time. The hub remembers as much as its config says ([delivery] explain_s and explain_bytes).
    """
    import asyncio

    from hubd.commands.publishing import check_server
    from hubd.publisher import PublishError

    check_server(url, key)
    try:
        answer = asyncio.run(_ask(id, user, url, key or ""))
    except PublishError as error:
        raise Failure(str(error)) from None
    if as_json:
        import json

        click.echo(json.dumps(answer))
        return
    try:
        lines = _chain(answer) if user is not None else _counts(answer)
    except (KeyError, TypeError, AttributeError, ValueError, OSError):
        raise Failure("the answer isn't one of a hub's explanations: is --url right?") from None
    for line in lines:
        click.echo("".join(each if each.isprintable() else "?" for each in line).rstrip())


async def _ask(id: str, user: str | None, url: str, key: str) -> dict[str, Any]:
    from urllib.parse import quote

    from hubd.publisher import Publisher

    async with Publisher(url, key, 0, note=lambda text: None) as client:
        query = {} if user is None else {"user": user}
        return await client.read(f"/api/notifications/{quote(id, safe='')}/explain", query)


def _chain(answer: dict[str, Any]) -> list[str]:
    """What became of it for one user."""
    by = f" by {answer['channel']}" if answer["channel"] else ""
    lines = [
        answer["text"],
        "",
        f"{_title(answer)} for {answer['user']}{by}: {answer['milestone'] or 'not meant for him'}",
        f"sent {_local(answer['sent_at'])[:19]}, {_ttl(answer)}; times are {_zone(answer['sent_at'])}",
        "",
    ]
    for step in answer["steps"]:
        until = f" (until {_local(step['until'])[11:23]})" if "until" in step else ""
        lines.append(f"{_local(step['at'])}  {step['step']:{_STEP_WIDTH}}  {step['text']}{until}")
    return lines


def _counts(answer: dict[str, Any]) -> list[str]:
    """How many are at each milestone."""
    accepted = answer["accepted"]
    lines = [
        f"{_title(answer)}: meant for {accepted:,} user{'' if accepted == 1 else 's'}",
        f"sent {_local(answer['sent_at'])[:19]}, {_ttl(answer)}; times are {_zone(answer['sent_at'])}",
        "",
    ]
    counts = sorted(answer["milestones"].items(), key=lambda entry: -entry[1])
    width = max((len(name) for name, _ in counts), default=0)
    lines += [f"{name:{width}}  {count:>9,}" for name, count in counts]
    return lines


def _title(answer: dict[str, Any]) -> str:
    kind = [answer["type"], answer["priority"], answer["persistence"]]
    return f"{answer['id']} ({', '.join(kind)})"


def _ttl(answer: dict[str, Any]) -> str:
    return f"of use until {_local(answer['expires_at'])[:19]}"


def _local(ms: int) -> str:
    from datetime import UTC, datetime

    return datetime.fromtimestamp(ms / 1000, UTC).astimezone().isoformat(" ", "milliseconds")[:23]


def _zone(ms: int) -> str:
    from datetime import UTC, datetime

    return datetime.fromtimestamp(ms / 1000, UTC).astimezone().strftime("%Z (UTC%z)")
