"""What a store has said is stored, and whether it is."""

import hashlib
from typing import Any, NamedTuple

import orjson

from hubd.core.stored import Kept
from hubd.storing import Loaded
from tests.crash.recorded_disk import SAID, Step


class Promised:
    """What the store has said is stored, up to some moment."""

    def __init__(self) -> None:
        self.kept: dict[str, tuple[str, list[str]]] = {}
        self.acked: dict[str, str] = {}
        self.scheduled: set[str] = set()
        self.subscribed: set[str] = set()
        self.revoked: set[str] = set()
        self.gone: dict[str, set[str]] = {"closed": set(), "unscheduled": set(), "unsubscribed": set()}

    def hear(self, steps: list[Step]) -> None:
        """What was said in a part of a recording."""
        for step in steps:
            if step.kind == SAID:
                self._hear(*orjson.loads(step.data))

    def _hear(self, what: str, name: str, *more: Any) -> None:
        match what:
            case "kept":
                self.kept[name] = (more[0], more[1])
            case "acked":
                self.acked[name] = more[0]
            case "closing":  # from here on it may be gone
                del self.kept[name]
                self.acked.pop(name, None)
            case "unscheduling":
                self.scheduled.remove(name)
            case "unsubscribing":
                self.subscribed.remove(name)
            case "scheduled" | "subscribed" | "revoked":
                getattr(self, what).add(name)
            case _:
                self.gone[what].add(name)

    def __len__(self) -> int:
        return sum(map(len, (self.kept, self.acked, self.scheduled, self.subscribed, self.revoked)))


class Found(NamedTuple):
    """What a store has."""

    loaded: Loaded
    open: dict[str, Kept]


def broken(promised: Promised, found: Found) -> list[str]:
    """Each promise that isn't kept."""
    name_of = dict(found.loaded.users)
    wrong: list[str] = []
    for key, (digest, names) in promised.kept.items():
        kept = found.open.get(key)
        if kept is None:
            wrong.append(f"{key} is lost")
        elif hashlib.sha256(kept.row.body).hexdigest() != digest:
            wrong.append(f"{key} is another one")
        elif {name_of.get(number) for number in kept.row.everybody} != {*names}:
            wrong.append(f"{key} is meant for others")
    for key, user in promised.acked.items():
        facts = found.open[key].facts if key in found.open else ()
        if not any(fact.kind == "acked" and [name_of.get(number) for number in fact.users] == [user] for fact in facts):
            wrong.append(f"the ack of {key} is lost")
    scheduled = {call.key for call in found.loaded.scheduled}
    subscribed = {user for user, _, _ in found.loaded.subscriptions}
    revoked = {user for user, _ in found.loaded.revoked}
    wrong += [f"the scheduled {key} is lost" for key in promised.scheduled - scheduled]
    wrong += [f"the subscription of {user} is lost" for user in promised.subscribed - subscribed]
    wrong += [f"the revocation of {user} is lost" for user in promised.revoked - revoked]
    wrong += [f"{key} is back" for key in promised.gone["closed"] & found.open.keys()]
    wrong += [f"{key} is scheduled again" for key in promised.gone["unscheduled"] & scheduled]
    wrong += [f"{user} is subscribed again" for user in promised.gone["unsubscribed"] & subscribed]
    answers = {answer.id for answer in found.loaded.answers}
    wrong += [f"{key} is there without its answer" for key in found.open.keys() - answers]
    wrong += [f"{key} isn't there, its answer is" for key in answers - found.open.keys() if key in promised.kept]
    return wrong
