"""`hubd gen-key` and `hubd gen-token`: what is made once, on the command line."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from hubd.commands.common import Failure, config_option, items, load, print_table, source_of

if TYPE_CHECKING:
    from hubd.config import Config


@click.group("gen-key")
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
    table = {"id": name, "sha256": digest, "rights": items(rights), "channels": items(channels)}
    try:
        ApiKeyEntry.model_validate(table)
    except ValidationError as error:
        wrong = error.errors(include_input=False)[0]
        raise click.BadParameter(wrong["msg"], param_hint=f"--{wrong['loc'][0]}") from None
    click.echo(f"{key}\n\n# The key above is shown only this once. For config.toml:")
    print_table("[[auth.api_keys]]", table)


@gen_key.command("jwt")
def gen_key_jwt() -> None:
    """Make a random HS256 key for users' tokens: the application signs with it, the hub verifies.

    The output can be appended to config.toml as it is.
    """
    import secrets

    click.echo("# Whoever has this key can make tokens for every user: keep it as a password is kept.")
    print_table("[[auth.jwt]]", {"algorithm": "HS256", "key": secrets.token_urlsafe(48)})


@gen_key.command("vapid")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="Write the private key to this new file, which only its owner can read, instead of printing it.",
)
def gen_key_vapid(out: Path | None) -> None:
    """Make the key pair that Web Push services know an application by (VAPID, RFC 8292; P-256).

    The first line is the public key, which browsers subscribe with. The private one is in PEM form.
    """
    public, private = new_vapid_pair()
    if out is not None:
        _write_secret(out, private)
    click.echo(public)
    click.echo(
        "\n# The key above is public. Keep the private one: all who subscribed with this pair are lost without it."
    )
    if out is None:
        click.echo(private, nl=False)
    else:
        print_table("[plugins.webpush]", {"vapid_private_key_file": str(out), "subject": "mailto:ops@example.com"})


def new_vapid_pair() -> tuple[str, str]:
    """A new pair for Web Push: the public key as browsers take it, the private one in PEM form."""
    from base64 import urlsafe_b64encode

    from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

    key = generate_private_key(SECP256R1())
    public = key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    return urlsafe_b64encode(public).decode().rstrip("="), private


def _write_secret(path: Path, text: str) -> None:
    """Write a file that wasn't there, for its owner alone."""
    import os

    try:
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(text)
    except FileExistsError:
        raise Failure(f"{path} is there already, and nothing was changed: a key is never written over") from None
    except OSError as error:
        raise Failure(f"{path} can't be written: {error.strerror}") from None


@click.command("gen-token")
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
            claims[name] = list(Patterns(items(text)).texts)
        except Problem as problem:
            raise click.BadParameter(problem.message, param_hint=f"--{name}") from None
    if max_priority:
        claims["max_priority"] = max_priority
    click.echo(_signed(load(source_of(config_path)), claims, ttl))


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
