"""`hubd proxy-auth check`: asks the application as the hub would, and shows what it says."""

import asyncio
import sys

import click

from hubd.plugin import Credentials
from hubd_proxy_auth.answers import Decision, Known, Unusable, described
from hubd_proxy_auth.application import Application
from hubd_proxy_auth.options import Options
from hubd_proxy_auth.questions import question_of


def group_for(config: Options) -> click.Group:
    """The commands, for these options."""

    @click.group("proxy-auth")
    def group() -> None:
        """Ask the application who somebody is."""

    @group.command()
    @click.option("--header", "headers", multiple=True, metavar="'NAME: VALUE'", help="A header of a client's request.")
    @click.option("--query", multiple=True, metavar="NAME=VALUE", help="A parameter of its address.")
    @click.option("--token", help="What it would send in the action `auth`.")
    @click.option("--address", default="127.0.0.1", show_default=True, help="Where it comes from.")
    def check(headers: tuple[str, ...], query: tuple[str, ...], token: str | None, address: str) -> None:
        """Ask about a client that brings this, and print what the application says.

        It ends with 0 when it knows him, 1 when it doesn't let him in or doesn't know him, 2 when it can't be asked.
        """
        credentials = _credentials(headers, query, token, address)
        try:
            decision = asyncio.run(_ask(config, credentials))
        except Unusable as error:
            click.echo(f"can't be used: {error}", err=True)
            sys.exit(2)
        if decision is None:
            raise click.UsageError(
                "nothing of this is passed on to the application; forward_headers ="
                f" {list(config.forward_headers)}, forward_query = {list(config.forward_query)}"
            )
        for line in described(decision):
            click.echo(line)
        sys.exit(0 if isinstance(decision, Known) else 1)

    return group


def _credentials(headers: tuple[str, ...], query: tuple[str, ...], token: str | None, address: str) -> Credentials:
    given = {}
    for header in headers:
        name, colon, value = header.partition(":")
        if not colon or not name.strip():
            raise click.BadParameter("write it as 'Cookie: session=1'", param_hint="--header")
        given[name.strip().lower()] = value.strip()
    parameters = {}
    for parameter in query:
        name, equals, value = parameter.partition("=")
        if not equals or not name:
            raise click.BadParameter("write it as session=1", param_hint="--query")
        parameters[name] = value
    scheme, _, bearer = given.get("authorization", "").partition(" ")
    if token is None and scheme.lower() == "bearer":
        token = bearer.strip()
    return Credentials(token, given, {}, parameters, address)


async def _ask(config: Options, credentials: Credentials) -> Decision | None:
    question = question_of(credentials, config)
    if question is None:
        return None
    application = Application(config)
    try:
        return await application.ask(question)
    finally:
        await application.close()
