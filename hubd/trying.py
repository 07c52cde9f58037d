"""What `hubd serve --dev` says and adds to the config, so that everything can be tried with nothing configured."""

import sys
from typing import Any

from hubd.commands.keys import new_vapid_pair
from hubd.config import Config
from hubd.reload import Source

WEBPUSH = "webpush"
SUBJECT = "mailto:dev@example.com"
NOWHERE = "off"


def webpush_table() -> dict[str, Any]:
    """A table for the plugin webpush with a key of its own, which is gone with the process."""
    _, private = new_vapid_pair()
    return {"vapid_private_key": private, "subject": SUBJECT}


def with_webpush(source: Source, config: Config) -> Source:
    """The same source, with Web Push turned on where the config says nothing of it."""
    says_so = WEBPUSH in config.plugins or WEBPUSH in config.hubd.plugins
    if says_so or WEBPUSH not in source.catalog(config).plugins:
        return source
    return _with(source, {f"plugins.{WEBPUSH}": webpush_table()})


def with_phones(source: Source, tables: dict[str, dict[str, Any]]) -> Source:
    """The same source, with these tables in place of its own; and nothing is stored, as the phones end with the hub."""
    found: dict[str, object] = {f"plugins.{name}": table for name, table in tables.items()}
    return _with(source, found | {"store.url": NOWHERE})


def _with(source: Source, more: dict[str, object]) -> Source:
    return source._replace(overrides={**source.overrides, **more})


def say_dev(url: str, key: str) -> None:
    """Say how to try it; ``key`` is an API key that may do all."""
    body = '{"to": "user:ada", "notification": {"type": "alert", "title": "It works", "body": "Hello from curl"}}'
    print(
        f"""
  DEV MODE: everybody on this machine may be anybody. Never let others reach it.

  Open the demo, in two browsers or tabs:
    {url}/demo/?user=ada
    {url}/demo/?user=bob

  Publish to one of them:
    curl {url}/api/notifications -H 'Authorization: Bearer {key}' -d '{body}'
""",
        file=sys.stderr,
        flush=True,
    )
