"""What a client may say: each action, each wrong field; and how the hub answers."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hubd.core import protocol
from hubd.core.connection import Visibility
from hubd.core.errors import SHUTDOWN, FieldError, Problem
from hubd.core.protocol import IDS, REF_CHARS, TOKEN_CHARS, TOPICS, farewell, read_action, ref_of, refusal, reply


def read(message: Any, depth: int = 16, keys: int = 256) -> protocol.Action:
    return read_action(message, depth, keys)


def refused(message: Any, depth: int = 16, keys: int = 256) -> Problem:
    with pytest.raises(Problem) as caught:
        read(message, depth, keys)
    return caught.value


# --- Actions as they should be


def test_auth() -> None:
    action = read({"action": "auth", "token": "x" * TOKEN_CHARS})
    assert isinstance(action, protocol.Auth)
    assert action.token == "x" * TOKEN_CHARS


@pytest.mark.parametrize("word", ["subscribe", "unsubscribe"])
def test_one_topic_or_several(word: str) -> None:
    for said, named in (
        ({"topic": "a"}, "a"),
        ({"topics": ["a"]}, ["a"]),
        ({"topics": ["b", "a", "b"]}, ["b", "a", "b"]),
        ({"topic": "a", "topics": None}, "a"),
        ({"topic": None, "topics": ["a"]}, ["a"]),
        ({"topics": ["t"] * TOPICS}, ["t"] * TOPICS),
    ):
        action = read({"action": word, **said})
        assert isinstance(action, protocol.Subscribe | protocol.Unsubscribe)
        assert action.named() == named
        assert action.durable is False


def test_subscribe_with_a_cursor_and_for_good() -> None:
    action = read({"action": "subscribe", "topic": "a", "cursor": "any text", "durable": True})
    assert isinstance(action, protocol.Subscribe)
    assert (action.cursor, action.durable) == ("any text", True)
    plain = read({"action": "subscribe", "topic": "a"})
    assert isinstance(plain, protocol.Subscribe) and plain.cursor is None


def test_ack() -> None:
    for said, named in (
        ({"id": "a"}, ["a"]),
        ({"ids": ["a", "b", "a"]}, ["a", "b", "a"]),
        ({"ids": []}, []),
        ({"ids": ["x"] * IDS}, ["x"] * IDS),
    ):
        action = read({"action": "ack", **said})
        assert isinstance(action, protocol.Ack)
        assert action.named() == named


@pytest.mark.parametrize("state", ["visible", "hidden"])
def test_visibility(state: str) -> None:
    action = read({"action": "visibility", "state": state})
    assert isinstance(action, protocol.Visible)
    assert action.visibility() is Visibility(state)


@pytest.mark.parametrize("watch", [None, True, False])
def test_presence(watch: bool | None) -> None:
    action = read({"action": "presence", "topic": "a", "watch": watch})
    assert isinstance(action, protocol.Present)
    assert (action.topic, action.watch) == ("a", watch)


def test_publish_hands_on_everything_but_action_and_ref() -> None:
    body = {"to": "a", "notification": {"type": "x"}, "nonsense": [1]}
    action = read({"action": "publish", "ref": 1, **body})
    assert isinstance(action, protocol.Publish)
    assert action.body() == body
    empty = read({"action": "publish"})
    assert isinstance(empty, protocol.Publish) and empty.body() == {}


def test_ping_and_pong() -> None:
    assert isinstance(read({"action": "ping"}), protocol.Ping)
    assert isinstance(read({"action": "pong", "ref": 0}), protocol.Pong)


# --- Actions as they should not be


@pytest.mark.parametrize("message", [None, [], "ping", 1, True, [{"action": "ping"}]])
def test_a_message_is_an_object(message: Any) -> None:
    assert [error.path for error in refused(message).errors] == [""]


@pytest.mark.parametrize("word", [None, 1, ["ping"], {}, True])
def test_an_action_is_a_word(word: Any) -> None:
    assert refused({"action": word}).errors == (FieldError("action", "must be a string"),)
    assert refused({}).errors == (FieldError("action", "is required"),)


@pytest.mark.parametrize("word", ["", "Ping", "shout", "__class__", "x" * 100_000])
def test_an_action_that_there_is_not(word: str) -> None:
    problem = refused({"action": word})
    assert problem.code == "unknown_action"
    assert "auth, subscribe, unsubscribe, ack, visibility, presence, publish, ping, pong" in problem.message
    assert len(problem.message) < 300


@pytest.mark.parametrize(
    ("message", "paths"),
    [
        ({"action": "auth"}, ["token"]),
        ({"action": "auth", "token": ""}, ["token"]),
        ({"action": "auth", "token": "x" * (TOKEN_CHARS + 1)}, ["token"]),
        ({"action": "auth", "token": 1}, ["token"]),
        ({"action": "auth", "token": None, "user": "ada"}, ["token", "user"]),
        ({"action": "subscribe"}, [""]),
        ({"action": "subscribe", "topic": "a", "topics": ["b"]}, [""]),
        ({"action": "subscribe", "topic": None, "topics": None}, [""]),
        ({"action": "subscribe", "topic": ""}, ["topic"]),
        ({"action": "subscribe", "topic": ["a"]}, ["topic"]),
        ({"action": "subscribe", "topic": 1}, ["topic"]),
        ({"action": "subscribe", "topic": "x" * 257}, ["topic"]),
        ({"action": "subscribe", "topics": []}, ["topics"]),
        ({"action": "subscribe", "topics": "a"}, ["topics"]),
        ({"action": "subscribe", "topics": ["a", 1, ""]}, ["topics.1", "topics.2"]),
        ({"action": "subscribe", "topics": ["t"] * (TOPICS + 1)}, ["topics"]),
        ({"action": "subscribe", "topic": "a", "cursor": 5}, ["cursor"]),
        ({"action": "subscribe", "topic": "a", "durable": "yes"}, ["durable"]),
        ({"action": "subscribe", "topic": "a", "durable": 1, "cursor": []}, ["durable", "cursor"]),
        ({"action": "subscribe", "topic": "a", "channel": "b"}, ["channel"]),
        ({"action": "unsubscribe"}, [""]),
        ({"action": "unsubscribe", "topic": "a", "cursor": "x"}, ["cursor"]),
        ({"action": "unsubscribe", "topics": [None]}, ["topics.0"]),
        ({"action": "ack"}, [""]),
        ({"action": "ack", "id": "a", "ids": ["b"]}, [""]),
        ({"action": "ack", "id": 1}, ["id"]),
        ({"action": "ack", "id": ""}, ["id"]),
        ({"action": "ack", "id": "x" * 257}, ["id"]),
        ({"action": "ack", "ids": "a"}, ["ids"]),
        ({"action": "ack", "ids": ["a", None]}, ["ids.1"]),
        ({"action": "ack", "ids": ["x"] * (IDS + 1)}, ["ids"]),
        ({"action": "visibility"}, ["state"]),
        ({"action": "visibility", "state": "Visible"}, ["state"]),
        ({"action": "visibility", "state": True}, ["state"]),
        ({"action": "visibility", "state": "prerender"}, ["state"]),
        ({"action": "presence"}, ["topic"]),
        ({"action": "presence", "topics": ["a"]}, ["topic", "topics"]),
        ({"action": "presence", "topic": "a", "watch": "true"}, ["watch"]),
        ({"action": "presence", "topic": "a", "watch": 1}, ["watch"]),
        ({"action": "ping", "extra": 1}, ["extra"]),
        ({"action": "pong", "cursor": "x"}, ["cursor"]),
    ],
)
def test_a_wrong_field_is_named(message: dict[str, Any], paths: list[str]) -> None:
    problem = refused(message)
    assert problem.code == "invalid"
    assert [error.path for error in problem.errors] == paths
    assert all(error.message for error in problem.errors)


def test_a_message_is_limited_in_depth_and_keys() -> None:
    deep = {"action": "ack", "ids": [[[["a"]]]]}
    assert refused(deep, depth=2).errors == (FieldError("", "nested deeper than 2 levels"),)
    assert refused({"action": "ping", "ref": 1, "a": 1}, keys=2).errors == (FieldError("", "more than 2 keys"),)


def test_what_is_published_has_its_own_limits() -> None:
    deep = {"action": "publish", "to": "a", "notification": {"type": "x", "a": [[[[[1]]]]]}}
    assert isinstance(read(deep, depth=2, keys=2), protocol.Publish)


# --- Refs


@pytest.mark.parametrize("ref", ["a", "", "x" * REF_CHARS, 0, 1, -1, 1.5, 2**63])
def test_any_string_or_number_is_a_ref(ref: Any) -> None:
    assert ref_of({"action": "ping", "ref": ref}) == ref
    assert read({"action": "ping", "ref": ref}).ref == ref


@pytest.mark.parametrize("ref", [True, False, [], {}, ["a"], "x" * (REF_CHARS + 1)])
def test_what_is_no_ref(ref: Any) -> None:
    assert ref_of({"action": "ping", "ref": ref}) is None
    problem = refused({"action": "ping", "ref": ref})
    assert [error.path for error in problem.errors] == ["ref"]


def test_no_ref_is_no_fault() -> None:
    assert ref_of({"action": "ping"}) is None
    assert ref_of({"action": "ping", "ref": None}) is None
    assert isinstance(read({"action": "ping", "ref": None}), protocol.Ping)


@pytest.mark.parametrize("message", [None, [], ["ref"], "ref", 1])
def test_what_is_no_object_has_no_ref(message: Any) -> None:
    assert ref_of(message) is None


def test_a_refused_action_still_has_its_ref() -> None:
    assert ref_of({"action": "shout", "ref": 7}) == 7


# --- Answers


def test_a_reply() -> None:
    assert reply(7, topics=["a"]) == {"hub": "reply", "ref": 7, "ok": True, "topics": ["a"]}
    assert reply("", user="ada") == {"hub": "reply", "ref": "", "ok": True, "user": "ada"}


def test_a_refusal_with_a_ref_is_a_reply_and_without_one_an_error() -> None:
    problem = Problem("forbidden", "no")
    assert refusal(0, problem) == {
        "hub": "reply",
        "ref": 0,
        "ok": False,
        "error": {"code": "forbidden", "message": "no"},
    }
    assert refusal("", problem)["hub"] == "reply"
    assert refusal(None, problem) == {"hub": "error", "code": "forbidden", "message": "no"}


def test_a_refusal_names_the_fields_and_when_to_try_again() -> None:
    problem = Problem("rate_limited", "slow", [FieldError("to", "why")], retry_after=0.5)
    assert refusal(None, problem) == {
        "hub": "error",
        "code": "rate_limited",
        "message": "slow",
        "errors": [{"path": "to", "message": "why"}],
        "retry_after_s": 0.5,
    }


def test_a_farewell() -> None:
    assert farewell(SHUTDOWN, 2.5) == {
        "hub": "disconnect",
        "code": 4000,
        "reason": "shutdown",
        "reconnect": True,
        "retry_after_s": 2.5,
    }


WORDS = ["auth", "subscribe", "unsubscribe", "ack", "visibility", "presence", "publish", "ping", "pong", "x"]
FIELDS = ["ref", "token", "topic", "topics", "cursor", "durable", "id", "ids", "state", "watch", "x"]
junk = st.none() | st.booleans() | st.integers(-5, 5) | st.text(max_size=3) | st.lists(st.text(max_size=3), max_size=3)


@given(st.sampled_from(WORDS), st.dictionaries(st.sampled_from(FIELDS), junk))
def test_any_message_is_read_or_refused(word: str, fields: dict[str, Any]) -> None:
    try:
        action = read({"action": word, **fields})
    except Problem as problem:
        assert problem.code in ("invalid", "unknown_action")
        assert problem.code == "unknown_action" or problem.errors
    else:
        assert action.action == word
