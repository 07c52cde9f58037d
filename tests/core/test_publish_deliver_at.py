"""`deliver_at` in a publish body."""

from typing import Any

import pytest

from hubd.core.errors import Problem
from hubd.core.notification import Persistence, Priority
from hubd.core.publish import Bounds, Draft, TypeDefaults, changed_draft, read_draft

BOUNDS = Bounds(message_bytes=1000, json_depth=4, json_keys=10)
NOW = 1_800_000_000.25
NOW_MS = 1_800_000_000_250
YEAR_MS = 366 * 86_400_000


def defaults(type_: str) -> TypeDefaults:
    if type_ == "typing":
        return TypeDefaults(Priority.INFORMATIONAL, Persistence.EPHEMERAL, 0.0)
    return TypeDefaults(Priority.IMPORTANT, Persistence.BUFFERABLE, 86400.0)


def draft(deliver_at: Any, *, type: str = "alert", can: bool = True, to: Any = "t", **more: Any) -> Draft:
    body = {"to": to, "notification": {"type": type}, "deliver_at": deliver_at, **more}
    return read_draft(body, defaults, BOUNDS, segments=True, now=(lambda: NOW) if can else None)


def errors(deliver_at: Any, **more: Any) -> dict[str, str]:
    with pytest.raises(Problem) as caught:
        draft(deliver_at, **more)
    assert caught.value.code == "invalid"
    return dict(caught.value.errors)


@pytest.mark.parametrize("value", [None, 0, -5, NOW_MS - 1, NOW_MS, NOW_MS + 1, NOW_MS + YEAR_MS])
def test_it_is_taken_as_it_is(value: int | None) -> None:
    assert draft(value).deliver_at == value
    assert draft(value, to={"segment": {"plan": "free"}}).deliver_at == value
    assert draft(value, collapse_key="c", id="x").deliver_at == value


@pytest.mark.parametrize("value", ["soon", "1800000001000", 1.5, 1800000001000.0, True, False, [], {}])
def test_it_is_a_whole_number(value: Any) -> None:
    assert errors(value) == {"deliver_at": "must be a whole number: Unix milliseconds"}


@pytest.mark.parametrize("value", [NOW_MS + YEAR_MS + 1, 10**30])
def test_it_is_within_a_year(value: int) -> None:
    assert errors(value) == {"deliver_at": "must be within 366 days"}


@pytest.mark.parametrize("more", [{"persistence": "ephemeral"}, {"type": "typing"}])
@pytest.mark.parametrize("value", [NOW_MS + 1, NOW_MS - 1])
def test_what_is_ephemeral_is_not_scheduled(value: int, more: dict[str, Any]) -> None:
    assert list(errors(value, **more)) == ["deliver_at"]
    assert draft(None, **more).persistence is Persistence.EPHEMERAL


def test_it_comes_with_all_other_faults() -> None:
    assert list(errors("soon", to="", ttl=-1, more=1)) == ["to", "ttl", "more", "deliver_at"]


@pytest.mark.parametrize("value", [0, NOW_MS + 1, "soon", False, 10**30])
def test_a_hub_without_a_store_schedules_nothing(value: Any) -> None:
    assert errors(value, can=False) == {"deliver_at": "scheduling needs a store, which this hub does not have"}
    assert draft(None, can=False).deliver_at is None


def test_it_is_part_of_the_fingerprint() -> None:
    segments = {"to": {"segment": ["deliver_at", 5]}}
    made = [
        *(draft(value) for value in (None, 5, 6)),
        *(draft(value, **segments) for value in (None, 5)),
        draft(None, to={"segment": 5}),
    ]
    assert len({one.fingerprint() for one in made}) == len(made)
    assert draft(5).fingerprint() == draft(5).fingerprint()


def test_a_change_of_a_plugin_leaves_it() -> None:
    assert changed_draft(draft(5), {"ttl": 9}, defaults, BOUNDS).deliver_at == 5
    with pytest.raises(Problem):
        changed_draft(draft(5), {"deliver_at": 6}, defaults, BOUNDS)
