"""What happens to a hub on an ordinary day, with some animal of the zoo in it: every hook gets called."""

import time
from typing import Any, NamedTuple

from hubd.core.errors import Problem
from hubd.testing import PluginWorld

LIMIT_S = 0.1
"""What a hook may take in these tests."""


class Day(NamedTuple):
    """What came of it. ``delivered``: the critical notification was; ``latency_s``: after how long, or how long the
    publisher waited for his refusal. ``refused``: why it was. ``segment``: whether one could be published to.
    ``polled``, ``subscribed`` and ``ready`` are the statuses of requests."""

    delivered: bool
    latency_s: float
    refused: str
    segment: bool
    polled: int
    ready: int
    metrics: int


async def a_day(world: PluginWorld) -> Day:
    """Let everything happen once; the critical notification comes in the midst of it."""
    ada = world.connect("ada", ["news"])
    bob = world.connect("bob")
    polled = await world.request("GET", "/notifications?wait=0&topics=news", user="cyd")
    begun = time.monotonic()
    refused = await _refused(world, "user:ada", {"type": "alarm", "n": 1}, priority="critical")
    latency_s = time.monotonic() - begun
    delivered = any(one.get("n") == 1 for one in ada.notifications())
    segment = not await _refused(world, {"segment": "all"}, {"type": "x"})
    await _refused(world, "news", {"type": "x"})
    await _refused(world, "notifications", {"type": "x"})
    for sent in ada.notifications()[:1]:
        world.hub.ack("ada", [sent["id"]], [ada])
        kept = world.hub.rings.find(sent["id"], world.clock.monotonic())
        assert kept is not None
        world.hub.retract(kept)
    ready = await world.request("GET", "/health/ready")
    metrics = await world.request("GET", "/metrics", key=True)
    world.hub.observers.devices_gone.tell("ada", (), "unregistered")
    await world.hub.make_durable("ada", ["sport"], None)
    await world.hub.end_durable("ada", ["sport"])
    bob.drop()
    await world.advance(60)
    return Day(delivered, latency_s, refused, segment, polled.status, ready.status, metrics.status)


async def _refused(world: PluginWorld, to: Any, notification: dict[str, Any], **fields: Any) -> str:
    """Publish; why not, if so."""
    try:
        await world.publish(to, notification, **fields)
    except Problem as problem:
        return problem.code
    return ""
