"""Channel names and patterns, as addresses, tokens and keys bring them: parts between bytes FF, the first a name."""

from random import Random

from hubd.core.channel import Patterns, is_user_id, parse_channel
from hubd.core.errors import Problem
from tests.fuzz import mutation
from tests.fuzz.rules import channels as rules
from tests.fuzz.target import Target, timed
from tests.fuzz.targets.documents import check_problem

BETWEEN = b"\xff"
WORDS = (
    "notifications", "user:42", "user:42:notifications", "hub:stats", "team:engineering", "order_updates",
    "a" * 64, ":", "*", "**", "team:*", "user:*", "user:**", "a:b:c:d:e:f", "a:b:c:d:e:*:g", "A_z.0@b|c+d=e-f",
    "us", "user", "users:1",
)  # fmt: skip


def take(data: bytes) -> None:
    name, *texts = (part.decode("utf-8", "surrogateescape") for part in data.split(BETWEEN))
    expected = rules.read_name(name)
    assert is_user_id(name) == rules.is_segment(name)
    try:
        channel = timed(parse_channel, name)
    except Problem as problem:
        assert problem.code == "invalid"
        check_problem(problem)
        assert expected is None, f"refused: {name!r}"
    else:
        assert expected == (channel.kind.value, channel.name, channel.user), channel
        assert parse_channel(channel.name) == channel
    check_patterns(texts, expected)


def check_patterns(texts: list[str], channel: rules.Name | None) -> None:
    expected = [rules.read_pattern(text) for text in texts]
    try:
        patterns = timed(Patterns, texts)
    except Problem as problem:
        assert problem.code == "invalid"
        check_problem(problem)
        assert None in expected, f"refused: {texts}"
        return
    assert None not in expected, f"taken: {texts}"
    if channel is not None:
        segments = channel.name.split(":")
        wanted = any(rules.matches(pattern, segments) for pattern in expected if pattern)
        assert timed(patterns.match, channel.name) == wanted, f"{texts} and {channel.name}"


def mutate(data: bytes, random: Random) -> bytes:
    texts = [part.decode("utf-8", "surrogateescape") for part in data.split(BETWEEN)]
    for _ in range(random.choice((1, 1, 2, 3))):
        at = random.randrange(len(texts) + 1)
        match random.randrange(8):
            case 0:
                texts.insert(at, random.choice(WORDS))
            case 1:
                texts.insert(at, generalised(texts[0], random))
            case 2 if len(texts) > 1:
                texts.pop(at - 1)
            case 3:
                segments = texts[at - 1].split(":")
                random.shuffle(segments)
                texts[at - 1] = ":".join(segments * random.choice((1, 1, 2)))
            case _:
                texts[at - 1] = mutation.change_text(texts[at - 1], random, WORDS)
    return BETWEEN.join(text.encode("utf-8", "surrogateescape") for text in texts)


def generalised(name: str, random: Random) -> str:
    """A pattern that may well match the name."""
    segments = [segment if random.random() < 0.6 else "*" for segment in name.split(":")]
    if random.random() < 0.5:
        segments[random.randrange(len(segments)) :] = ["**"]
    return ":".join(segments)


def seeds() -> list[bytes]:
    longest = b":".join([b"a" * 40] * 5)
    return [word.encode() for word in WORDS] + [
        b"\xff".join((b"team:engineering", b"team:*", b"sales:**")),
        b"\xff".join((b"user:42", b"user:42", b"user:*:notifications")),
        b"\xff".join((b"a:b:c:d:e:f", b"a:**", b"a:*:c:*:e:*")),
        b"team:engineering\n",
        b"\xff".join((b"team", b"team:**", b"*:**")),
        *(b"\xff".join((name, name)) for name in (longest[:200], longest[:201])),
    ]


TARGET = Target("topics", take, seeds, mutate, WORDS, max_bytes=2048)
