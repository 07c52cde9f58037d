"""`hubd webhooks ping`: does each endpoint answer, and does it believe the signature?"""

import asyncio
import secrets
import sys
from random import SystemRandom

import click

from hubd.plugin import Egress, EgressFailed, EgressRefused, SystemClock
from hubd_webhooks.config import EndpointConfig, WebhooksConfig
from hubd_webhooks.events import body_of, encoded, new_id
from hubd_webhooks.retrying import Result, judge
from hubd_webhooks.signing import signed_headers


def webhooks(config: WebhooksConfig) -> click.Group:
    """The group of commands, for these options."""

    @click.group()
    def group() -> None:
        """Look after the endpoints that webhooks are sent to."""

    @group.command()
    @click.argument("names", nargs=-1)
    def ping(names: tuple[str, ...]) -> None:
        """Send a signed test event to each endpoint, or to those with these NAMES, and print the answers.

        The event has the type `ping`. Exit code 1 if any of them doesn't answer 2xx.
        """
        known = {endpoint.label: endpoint for endpoint in config.endpoints}
        if unknown := [name for name in names if name not in known]:
            raise click.ClickException(f"no endpoint {unknown[0]!r}; there are: {', '.join(known) or 'none'}")
        if not known:
            raise click.ClickException("no endpoint is configured: [[plugins.webhooks.endpoints]]")
        if not asyncio.run(_ping_all(config, [known[name] for name in names or known])):
            sys.exit(1)

    group.name = "webhooks"
    return group


async def _ping_all(config: WebhooksConfig, endpoints: list[EndpointConfig]) -> bool:
    egress = Egress(config.allow_hosts)
    try:
        return all([await _ping(egress, endpoint) for endpoint in endpoints])
    finally:
        await egress.close()


async def _ping(egress: Egress, endpoint: EndpointConfig) -> bool:
    """Call one endpoint, and print how that went; whether it went well."""
    clock = SystemClock()
    now = clock.now()
    event = encoded(new_id("evt", SystemRandom()), "ping", int(now * 1000), {})
    body = body_of([event])
    headers = signed_headers(endpoint.secrets, f"msg_{secrets.token_hex(16)}", int(now), body)
    begun = clock.monotonic()
    is_good = False
    try:
        answer = await egress.send(
            "POST", endpoint.url, headers=headers, body=body, timeout_s=endpoint.timeout_s, answer_bytes=0
        )
        is_good = judge(answer.status)[0] is Result.DONE
        how = f"{answer.status}"
    except (EgressRefused, EgressFailed) as error:
        how = str(error)
    click.echo(f"{endpoint.label}: {how} ({clock.monotonic() - begun:.3f} s)")
    return is_good
