"""Verdicts: what a gate can say, and what it can't."""

from dataclasses import FrozenInstanceError
from typing import Any

import pytest

from hubd.core.users import UserSet, snapshot_of
from hubd.core.verdict import Action, Verdict, Way, digest, drop, hold

USERS = UserSet([1, 2])


@pytest.mark.parametrize(("make", "action"), [(drop, Action.DROP), (hold, Action.HOLD), (digest, Action.DIGEST)])
def test_what_a_gate_can_say(make: Any, action: Action) -> None:
    verdict = make(USERS, "muted")
    assert (verdict.action, verdict.users, verdict.reason, verdict.way) == (action, USERS, "muted", Way.ALL)
    assert make(USERS, "muted", Way.PUSH).way is Way.PUSH
    assert make(UserSet(), "m").users == UserSet() and make(snapshot_of(USERS), "muted").users == USERS


def test_all_ways_are_both() -> None:
    assert Way.ALL == Way.LIVE | Way.PUSH
    assert Way.LIVE in Way.ALL and Way.PUSH in Way.ALL and Way.PUSH not in Way.LIVE


@pytest.mark.parametrize("reason", ["a", "muted", "quiet_hours", "a1", "a" * 40])
def test_reasons(reason: str) -> None:
    assert drop(USERS, reason).reason == reason


BAD_REASONS = ["", "Muted", "is muted", "a" * 41, "1a", "_a", "a\n", "é", "a-b", None, 1, b"muted", ["muted"]]


@pytest.mark.parametrize("reason", BAD_REASONS)
def test_a_reason_is_one_word(reason: Any) -> None:
    with pytest.raises(ValueError, match="one word of a-z"):
        drop(USERS, reason)


@pytest.mark.parametrize("users", [None, [1, 2], {1}, "ada", 1, ("ada",)])
def test_a_verdict_is_about_a_set_of_users(users: Any) -> None:
    with pytest.raises(ValueError, match="about a UserSet"):
        drop(users, "muted")


@pytest.mark.parametrize(("action", "way"), [("drop", Way.ALL), (Action.DROP, "all"), (Action.DROP, Way(0)), (None, 3)])
def test_a_verdict_is_an_action_and_a_way(action: Any, way: Any) -> None:
    with pytest.raises(ValueError, match="an Action and a Way"):
        Verdict(action, USERS, "muted", way)


def test_nobody_changes_a_verdict() -> None:
    with pytest.raises(FrozenInstanceError):
        drop(USERS, "muted").reason = "other"  # type: ignore[misc]  # that is what is tried
