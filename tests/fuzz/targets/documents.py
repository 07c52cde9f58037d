"""What targets of documents share: an input is 'j' and JSON, or 'm' and msgpack."""

import json
from collections.abc import Callable, Sequence
from random import Random
from typing import Any

import msgpack
import orjson

from hubd.core.document import read_document
from hubd.core.errors import STATUS_OF, Problem
from hubd.edge.http import problem_response
from tests.fuzz import mutation
from tests.fuzz.rules import documents as rules
from tests.fuzz.target import timed

ENCODINGS = {b"j": "json", b"m": "msgpack"}
LONGEST_ANSWER = 64 * 1024


def split(data: bytes) -> tuple[str, bytes]:
    """The encoding and the document of an input."""
    return ENCODINGS.get(data[:1], "json"), data[1:]


def seeds_of(values: Sequence[Any]) -> list[bytes]:
    """Inputs with these values in both encodings."""
    return [b"j" + orjson.dumps(value) for value in values] + [b"m" + msgpack.packb(value) for value in values]


def read(data: bytes) -> Any:
    """What the hub reads from an input, which has to be what the rules say; ``Problem`` when it is no document."""
    encoding, document = split(data)
    try:
        expected, code = rules.read(document, encoding), None
    except rules.Refused as refused:
        expected, code = None, refused.code
    try:
        value = timed(read_document, document, encoding)  # type: ignore[arg-type] # one of the two words
    except Problem as problem:
        check_problem(problem)
        assert code is not None, f"refused: {problem.message}"
        # A parser may give up in the middle on these two, and never come to what is wrong later on.
        gave_up = "nested too deep" in problem.message or "more than 64 bits" in problem.message
        assert problem.code == code or gave_up, f"{problem.code}: {problem.message}; not {code}"
        raise
    assert code is None, f"taken, and should be {code}"
    assert orjson.dumps(value) == orjson.dumps(expected)
    return value


def check_problem(problem: Problem) -> None:
    """A problem can be told, in so many bytes, and by a code that is documented."""
    assert problem.code in STATUS_OF and problem.code != "internal"
    body = problem_response(problem).body
    assert isinstance(body, bytes)
    assert len(body) <= LONGEST_ANSWER, f"an answer of {len(body)} bytes"


def mutator(keys: Sequence[str], words: Sequence[str]) -> Callable[[bytes, Random], bytes]:
    """Makes documents from documents, in both encodings."""

    def mutate(data: bytes, random: Random) -> bytes:
        encoding, document = split(data)
        try:
            tree = json.loads(document) if encoding == "json" else msgpack.unpackb(document, strict_map_key=False)
            for _ in range(random.choice((1, 1, 1, 2, 3))):
                tree = mutation.change_tree(tree, random, keys, words)
            if random.random() < 0.5:
                return b"j" + mutation.write_json(tree, random)
            return b"m" + mutation.write_msgpack(tree, random)
        except Exception:  # it is no document, or one that nests too deep for all this
            return data[:1] + mutation.change_bytes(document, random, words)

    return mutate
