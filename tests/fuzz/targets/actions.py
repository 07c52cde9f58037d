"""What a client says on a connection: any document either is refused by a problem or is an action."""

from typing import Any

import msgpack
import orjson

from hubd.core import protocol
from hubd.core.errors import Problem
from hubd.core.protocol import read_action, ref_of, refusal
from tests.docs import PROTOCOL, blocks
from tests.fuzz.rules import actions as rules
from tests.fuzz.target import Target, timed
from tests.fuzz.targets.documents import check_problem, mutator, read, seeds_of

KEYS = ("action", "ref", "a", *sorted({name for fields in rules.FIELDS.values() for name in fields}))
WORDS = (*rules.FIELDS, "visible", "hidden", "team:engineering", "user:42", "notifications", "abcdefghij-5", "x" * 257)


def take(data: bytes) -> None:
    try:
        message = read(data)
    except Problem:
        return
    expected = rules.refusal(message)
    ref = ref_of(message)
    try:
        action = timed(read_action, message, rules.DEPTH, rules.KEYS)
    except Problem as problem:
        assert problem.code == expected, f"refused: {problem.message}"
        check_problem(problem)
        answer = refusal(ref, problem)
        assert msgpack.unpackb(msgpack.packb(answer)) == orjson.loads(orjson.dumps(answer))
        return
    assert expected is None, f"taken, and should be {expected}"
    assert action.action == message["action"] and action.ref is message.get("ref")
    check_action(action, message)


def check_action(action: protocol.Action, message: dict[str, Any]) -> None:
    """The action says what the message says."""
    match action:
        case protocol.Subscribe() | protocol.Unsubscribe() | protocol.Ack():
            one, many = rules.ONE_OF[action.action]
            assert action.named() == (message.get(one) or message[many]) or isinstance(action, protocol.Ack)
            if isinstance(action, protocol.Ack):
                assert action.named() == ([message["id"]] if message.get("id") else message["ids"])
        case protocol.Visible():
            assert action.visibility().value == message["state"]
        case protocol.Publish():
            assert action.body() == {key: value for key, value in message.items() if key not in ("action", "ref")}


def seeds() -> list[bytes]:
    """The conversations of the protocol's page, and one message of each kind."""
    found: list[Any] = []
    for kind in ("json", "jsonc", "text", ""):
        for line in "\n".join(blocks(kind, PROTOCOL)).splitlines():
            start = line.find('{"action"')
            if start >= 0:
                try:
                    found.append(orjson.loads(line[start:]))
                except orjson.JSONDecodeError:
                    continue
    found += [
        {"action": "auth", "token": "eyJ.e30.x", "ref": 1},
        {"action": "subscribe", "topics": ["a", "b:c"], "cursor": "abcdefghij-5", "durable": True, "ref": "r"},
        {"action": "unsubscribe", "topic": "a", "durable": False},
        {"action": "ack", "ids": ["n1", "n2"], "ref": 2.5},
        {"action": "visibility", "state": "hidden"},
        {"action": "presence", "topic": "a", "watch": True, "ref": 3},
        {"action": "publish", "to": "a", "notification": {"type": "t"}, "ref": 4},
        {"action": "ping"},
        {"action": "ack", "id": "n1", "ids": []},
        {"action": "subscribe", "topic": "a", "topics": ["b"]},
    ]
    return seeds_of(found)


TARGET = Target("actions", take, seeds, mutator(KEYS, WORDS), (*KEYS, *WORDS))
