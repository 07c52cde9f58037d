"""Channel names and patterns: one grammar, one canonical form."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hubd.core.channel import (
    BROADCAST,
    Channel,
    Kind,
    Patterns,
    is_user_id,
    parse_channel,
    patterns,
    user_channel,
)
from hubd.core.errors import Problem

LONG = "x" * 64
ALPHABET = "abzAZ019_.@|+=-"
segments = st.text(ALPHABET, min_size=1, max_size=6) | st.sampled_from(["user", "hub", "notifications", LONG])
names = st.lists(segments, min_size=1, max_size=7).map(":".join)


# --- Names


@pytest.mark.parametrize(
    ("text", "channel"),
    [
        ("notifications", Channel(BROADCAST, Kind.BROADCAST)),
        ("user:42", Channel("user:42:notifications", Kind.USER, "42")),
        ("user:42:notifications", Channel("user:42:notifications", Kind.USER, "42")),
        ("user:notifications", Channel("user:notifications:notifications", Kind.USER, "notifications")),
        ("user:user", Channel("user:user:notifications", Kind.USER, "user")),
        ("user:a.b@c|d+e=f-g_h", Channel("user:a.b@c|d+e=f-g_h:notifications", Kind.USER, "a.b@c|d+e=f-g_h")),
        (f"user:{LONG}", Channel(f"user:{LONG}:notifications", Kind.USER, LONG)),
        ("team:engineering", Channel("team:engineering", Kind.TOPIC)),
        ("order_updates", Channel("order_updates", Kind.TOPIC)),
        ("notifications:de", Channel("notifications:de", Kind.TOPIC)),
        ("team:user:42", Channel("team:user:42", Kind.TOPIC)),
        ("team:hub", Channel("team:hub", Kind.TOPIC)),
        ("users:42", Channel("users:42", Kind.TOPIC)),
        ("User:42", Channel("User:42", Kind.TOPIC)),
        ("0", Channel("0", Kind.TOPIC)),
        ("-", Channel("-", Kind.TOPIC)),
        ("a:b:c:d:e:f", Channel("a:b:c:d:e:f", Kind.TOPIC)),
        (LONG, Channel(LONG, Kind.TOPIC)),
        (f"{LONG}:{LONG}:{LONG}:12345", Channel(f"{LONG}:{LONG}:{LONG}:12345", Kind.TOPIC)),  # 200 bytes
    ],
)
def test_a_name_and_what_it_stands_for(text: str, channel: Channel) -> None:
    assert parse_channel(text) == channel


@pytest.mark.parametrize(
    "text",
    [
        "", ":", "a:", ":a", "a::b", "a b", "a ", " a", "a\n", "\na", "a\x00", "a/b", "a#b", "a*b", "*", "**", "a:*",
        "ä", "a:ä", "ａ", "a,b", "a%20b", "{a}", "a?b", "a&b", "a~b", "a$b", "a!b", "'a'", '"a"',
        "a:b:c:d:e:f:g", "x" * 65, f"a:{'x' * 65}", f"{LONG}:{LONG}:{LONG}:123456",
        "user", "hub", "user:", "hub:", "hub:x", "hub:42:notifications", "user::notifications", "user:42:",
        "user:42:other", "user:42:notifications:x", "user:42:notifications:", "user:4 2", f"user:{'x' * 65}",
    ],
)  # fmt: skip
def test_what_is_no_name(text: str) -> None:
    with pytest.raises(Problem) as caught:
        parse_channel(text)
    assert caught.value.code == "invalid"
    assert "1 to 6 segments" in caught.value.message


@given(names | st.text(max_size=30))
def test_the_canonical_form_of_a_canonical_form_is_itself(text: str) -> None:
    try:
        channel = parse_channel(text)
    except Problem:
        return
    assert parse_channel(channel.name) == channel
    assert len(channel.name.encode()) <= 200
    assert channel.name == text or (channel.kind is Kind.USER and channel.name == f"{text}:notifications")


@given(st.text(max_size=70) | st.text(ALPHABET, max_size=70))
def test_a_user_id_is_what_has_a_channel(text: str) -> None:
    try:
        channel = parse_channel(user_channel(text))
    except Problem:
        assert not is_user_id(text)
    else:
        assert is_user_id(text)
        assert channel == Channel(user_channel(text), Kind.USER, text)


# --- Patterns


def naive_match(pattern: str, name: str) -> bool:
    """What the protocol page says, segment by segment."""
    wanted, given_ = pattern.split(":"), name.split(":")
    if len(wanted) == 2 and wanted[0] == "user" and wanted[1] != "**":
        wanted.append("notifications")
    if wanted[-1] == "**":
        wanted = wanted[:-1]
        if len(given_) <= len(wanted):
            return False
        given_ = given_[: len(wanted)]
    return len(wanted) == len(given_) and all(w in ("*", g) for w, g in zip(wanted, given_, strict=True))


FEW_SEGMENTS = ["a", "b", "a.b", "a|b", "a+b", "ab", "user", "hub", "notifications", "42", "-", "_"]
few_names = st.lists(st.sampled_from(FEW_SEGMENTS), min_size=1, max_size=5).map(":".join)
pattern_texts = st.builds(
    lambda parts, rest: ":".join([*parts, *rest]),
    st.lists(st.sampled_from([*FEW_SEGMENTS, "*", "*"]), min_size=1, max_size=4),
    st.sampled_from([[], [], ["**"]]),
) | st.just("**")


@given(st.lists(pattern_texts, max_size=4), few_names)
def test_patterns_match_as_the_naive_matcher_says(texts: list[str], name: str) -> None:
    assert Patterns(texts).match(name) is any(naive_match(text, name) for text in texts)


@given(st.lists(pattern_texts, min_size=1, max_size=3), names)
def test_any_canonical_name(texts: list[str], text: str) -> None:
    try:
        name = parse_channel(text).name
    except Problem:
        return
    assert Patterns(texts).match(name) is any(naive_match(text, name) for text in texts)


@pytest.mark.parametrize(
    ("pattern", "name", "matches"),
    [
        ("*", "a", True), ("*", "a:b", False), ("*", "notifications", True),
        ("**", "a", True), ("**", "a:b:c:d:e:f", True), ("**", "user:1:notifications", True),
        ("a:*", "a:b", True), ("a:*", "a", False), ("a:*", "a:b:c", False),
        ("a:**", "a:b", True), ("a:**", "a:b:c", True), ("a:**", "a", False), ("a:**", "ab:c", False),
        ("*:b", "a:b", True), ("*:b", "b", False),
        ("a.b", "a.b", True), ("a.b", "axb", False), ("a|b", "a", False), ("a+", "aa", False),
        ("user:42", "user:42:notifications", True), ("user:42", "user:4:notifications", False),
        ("user:*", "user:42:notifications", True), ("user:**", "user:42:notifications", True),
        ("user:42:**", "user:42:notifications", True), ("user:42:notifications", "user:42:notifications", True),
        ("a", "A", False), ("a", "b", False), ("*:*", "a:b", True), ("*:**", "a", False), ("*:**", "a:b:c", True),
    ],
)  # fmt: skip
def test_a_pattern_and_a_name(pattern: str, name: str, matches: bool) -> None:
    assert Patterns([pattern]).match(name) is matches


@pytest.mark.parametrize(
    "text",
    [
        "", ":", "a:", ":a", "a::b", "**:a", "a:**:b", "a*", "*a", "***", "a:b*", "a b", "ä", "(a)", "[a-z]", "a\n",
        "a:b:c:d:e:f:g", "a:b:c:d:e:f:**", "x" * 65, f"{LONG}:{LONG}:{LONG}:123456", "user:", "user:a b", "*" * 500,
    ],
)  # fmt: skip
def test_what_is_no_pattern(text: str) -> None:
    with pytest.raises(Problem) as caught:
        Patterns(["a", text])
    assert caught.value.code == "invalid"
    assert len(caught.value.message) < 500, "it repeats no endless text"


def test_a_pattern_at_the_edge() -> None:
    assert Patterns(["a:b:c:d:e:f"]).match("a:b:c:d:e:f")
    assert Patterns(["a:b:c:d:e:**"]).match("a:b:c:d:e:f")
    longest = f"{LONG}:{LONG}:{LONG}:12345"
    assert Patterns([longest]).match(longest)


def test_no_patterns_match_nothing() -> None:
    assert not Patterns([])
    assert not Patterns([]).match("a")
    assert Patterns(["a"])


def test_patterns_keep_their_texts_each_once_as_they_were_written() -> None:
    found = Patterns(["user:42", "b:*", "user:42", "a"])
    assert found.texts == ("user:42", "b:*", "a")
    assert repr(found) == "Patterns(['user:42', 'b:*', 'a'])"


def test_the_same_patterns_are_compiled_once() -> None:
    assert patterns(("a:*", "b")) is patterns(("a:*", "b"))
    assert patterns(("a:*", "b")) is not patterns(("b", "a:*"))
