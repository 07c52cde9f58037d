"""Identity: what somebody may subscribe to and publish, and when his token is about to run out."""

import math
from dataclasses import FrozenInstanceError, replace

import pytest

from hubd.core.channel import parse_channel
from hubd.core.identity import warn_at
from hubd.testing import identity


@pytest.mark.parametrize(
    ("topics", "channel", "may"),
    [
        ((), "notifications", True),
        ((), "user:ada", True),
        ((), "user:bob", False),
        ((), "team:a", False),
        (("team:*",), "team:a", True),
        (("team:*",), "team:a:b", False),
        (("team:*",), "user:bob", False),
        (("**",), "team:a", True),
        (("**",), "user:bob", False),
        (("user:**",), "user:bob", False),
        (("user:*",), "user:bob:notifications", False),
        (("*",), "notifications", True),
    ],
)
def test_who_may_receive_what(topics: tuple[str, ...], channel: str, may: bool) -> None:
    assert identity("ada", topics=topics).may_subscribe(parse_channel(channel)) is may


@pytest.mark.parametrize(
    ("publish", "channel", "may"),
    [
        ((), "user:ada", False),
        ((), "notifications", False),
        ((), "team:a", False),
        (("team:*",), "team:a", True),
        (("team:*",), "notifications", False),
        (("user:bob",), "user:bob", True),
        (("user:bob",), "user:ada", False),
        (("notifications",), "notifications", True),
        (("**",), "user:bob", True),
    ],
)
def test_who_may_publish_where(publish: tuple[str, ...], channel: str, may: bool) -> None:
    assert identity("ada", publish=publish).may_publish(parse_channel(channel)) is may


@pytest.mark.parametrize(
    ("now", "expires_at", "warned_at"),
    [
        (1000.0, 4600.0, 4540.0),  # an hour: a minute before
        (1000.0, 1300.0, 1240.0),  # five minutes: a minute is just the last fifth
        (1000.0, 1100.0, 1080.0),  # less: with the last fifth
        (1000.0, 1000.0, 1000.0),
        (1000.0, 900.0, 900.0),  # it has run out already
    ],
)
def test_when_to_say_that_a_token_runs_out(now: float, expires_at: float, warned_at: float) -> None:
    assert warn_at(identity("ada", expires_at=expires_at), now) == warned_at


def test_what_never_runs_out_is_never_told() -> None:
    assert warn_at(identity("ada"), 1000.0) == math.inf


def test_nobody_changes_an_identity() -> None:
    who = identity("ada")
    with pytest.raises(FrozenInstanceError):
        who.user = "bob"  # type: ignore[misc]
    assert replace(who, user="bob").user == "bob"
