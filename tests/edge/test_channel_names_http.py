"""The grammar of channel names, as a publisher and a subscriber meet it."""

import pytest

from tests.edge.live_hub import LiveHub

BAD_NAMES = [
    *(
        "a:",
        ":a",
        "a::b",
        ":",
        "a b",
        "a/b",
        "a*",
        "**",
        "ü",
        "a\n",
        "\u0000",
        "a:b:c:d:e:f:g",
        "s" * 65,
        "a:" + "s" * 65,
    ),
    ":".join(["s" * 49] * 4) + ":x",
    *("user", "hub", "hub:x", "hub:a:b", "user:", "user::notifications", "user:1:2", "user:1:notifications:x"),
    *("user:1:topic", "user:b c", "user:" + "x" * 65),
]
GOOD_NAMES = [
    *(
        "a",
        "order_updates",
        "team:engineering",
        "A-Z:a.b@c|d+e=f",
        "a:b:c:d:e:f",
        "s" * 64,
        "users:1",
        "hubs",
        "User:1",
    ),
    ":".join(["s" * 49] * 4),
    *("notifications:x", "x:notifications", "team:user", "a:hub:b"),
]


@pytest.mark.parametrize("name", BAD_NAMES)
async def test_what_is_no_channel(hub: LiveHub, name: str) -> None:
    assert (await hub.try_publish(name)).paths == ["to"]


@pytest.mark.parametrize("name", GOOD_NAMES)
async def test_what_is_a_topic(hub: LiveHub, name: str) -> None:
    client, _ = await hub.welcomed()
    assert (await client.ask("subscribe", topic=name))["topics"] == [name]
    assert (await hub.publish(name, n=1))["live"] == 1
    assert [one["channel"] for one in await client.notifications()] == [name]
