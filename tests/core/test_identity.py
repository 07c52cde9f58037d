"""Identity: what somebody may subscribe to and publish, and when his token is about to run out."""

import math
from dataclasses import FrozenInstanceError, replace
from typing import Any

import pytest

from hubd.core.channel import parse_channel
from hubd.core.identity import identity_of, warn_at
from hubd.core.notification import Priority
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


# --- As an application describes it


def test_an_identity_in_words() -> None:
    made = identity_of(
        "ada",
        topics=["t", "news:**"],
        publish=("t",),
        max_priority="critical",
        expires_at=9.0,
        issued_at=1.0,
        tags=["x"],
    )
    assert (made.user, made.max_priority, made.expires_at, made.issued_at) == ("ada", Priority.CRITICAL, 9.0, 1.0)
    assert made.tags == ("x",) and made.denied == frozenset()
    assert [made.may_subscribe(parse_channel(name)) for name in ("t", "news:a:b", "u")] == [True, True, False]
    assert [made.may_publish(parse_channel(name)) for name in ("t", "news:a")] == [True, False]


def test_without_words_there_is_little_that_it_may() -> None:
    made = identity_of("ada")
    assert (made.max_priority, made.expires_at, made.issued_at, made.tags) == (Priority.IMPORTANT, None, None, ())
    assert made.may_subscribe(parse_channel("notifications")) and made.may_subscribe(parse_channel("user:ada"))
    assert not made.may_subscribe(parse_channel("t")) and not made.may_publish(parse_channel("t"))


@pytest.mark.parametrize(
    ("user", "said", "why"),
    [
        ("", {}, "a user id is"),
        ("a b", {}, "a user id is"),
        ("a" * 65, {}, "a user id is"),
        ("ada", {"max_priority": "loud"}, "max_priority is one of"),
        ("ada", {"max_priority": "CRITICAL"}, "max_priority is one of"),
        ("ada", {"topics": ["a b"]}, "pattern"),
        ("ada", {"publish": ["**:a"]}, "pattern"),
    ],
)
def test_what_cant_be_an_identity(user: str, said: dict[str, Any], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        identity_of(user, **said)


def test_what_is_denied_he_may_not_subscribe_to_whatever_his_patterns_say() -> None:
    made = replace(identity_of("ada", topics=["**"], publish=["**"]), denied=frozenset({"t", "notifications"}))
    assert not made.may_subscribe(parse_channel("t")) and made.may_subscribe(parse_channel("u"))
    assert made.may_subscribe(parse_channel("t:sub"))
    assert made.may_subscribe(parse_channel("notifications"))  # that is no topic, and everybody's
    assert made.may_publish(parse_channel("t"))  # publishing is another matter
