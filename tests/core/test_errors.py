"""Problems and disconnects: the two tables, as the protocol page has them."""

from typing import Any

import pytest

from hubd.core.errors import (
    DISCONNECTS,
    ERRORS,
    STATUS_OF,
    TITLE_OF,
    Disconnect,
    FieldError,
    Problem,
    invalid,
)


@pytest.mark.parametrize(
    ("code", "status"),
    [
        ("invalid_body", 400), ("unauthorized", 401), ("forbidden", 403), ("not_found", 404), ("id_conflict", 409),
        ("too_large", 413), ("invalid", 422), ("rate_limited", 429), ("unavailable", 503), ("unknown_action", 422),
        ("not_authenticated", 401), ("subscription_limit", 422), ("internal", 500), ("method_not_allowed", 405),
        ("upgrade_required", 426),
    ],
)  # fmt: skip
def test_a_code_has_its_status(code: str, status: int) -> None:
    assert Problem(code, "").status == status


def test_every_code_has_a_status_and_a_title() -> None:
    assert STATUS_OF.keys() == TITLE_OF.keys()
    assert all(TITLE_OF.values())


def test_a_problem_says_everything_that_it_was_told() -> None:
    problem = Problem("invalid", "why", [FieldError("a", "b")], retry_after=2.5)
    assert (str(problem), problem.code, problem.message) == ("why", "invalid", "why")
    assert problem.errors == (FieldError("a", "b"),)
    assert problem.retry_after == 2.5
    assert Problem("invalid", "why").errors == ()
    assert Problem("invalid", "why").retry_after is None


def test_wrong_fields_are_named_the_first_in_the_message() -> None:
    assert invalid([FieldError("to", "is required")]).message == "to: is required"
    two = invalid([FieldError("to", "is required"), FieldError("id", "is wrong")])
    assert two.message == "to: is required (and 1 more)"
    assert invalid([FieldError("", "it is no object")]).message == "it is no object"
    several = invalid([FieldError("to", "is required"), FieldError("id", "is wrong"), FieldError("x", "is wrong")])
    assert several.message == "to: is required (and 2 more)"
    assert several.code == "invalid"
    assert [error.path for error in several.errors] == ["to", "id", "x"]


def test_a_problem_names_a_bounded_number_of_fields() -> None:
    many = invalid([FieldError(f"to.{place}", "is wrong") for place in range(10_000)])
    assert len(many.errors) == ERRORS
    assert many.errors[0].path == "to.0"
    assert many.message.endswith("(and 9999 more)")


def test_there_is_no_problem_without_a_code_of_the_table() -> None:
    with pytest.raises(ValueError, match="'teapot' is no code of a problem; there are invalid_body, "):
        Problem("teapot", "short and stout")


def test_a_problem_can_be_told() -> None:
    assert Problem("invalid", "caf\u00e9 \ud800!").message == "caf\u00e9 ?!"
    wrong: list[tuple[Any, Any]] = [(None, None), (7, None), (b"no", None), ("no", "soon")]
    for message, retry_after in wrong:
        with pytest.raises(TypeError, match="a problem's message is a text, and retry_after a number of seconds"):
            Problem("invalid", message, retry_after=retry_after)


def test_disconnects_are_those_of_the_protocol_page() -> None:
    assert set(DISCONNECTS) == {
        Disconnect(4000, "shutdown", True),
        Disconnect(4001, "expired", True),
        Disconnect(4009, "no_pong", True),
        Disconnect(4029, "too_many", True),
        Disconnect(4500, "bad_token", False),
        Disconnect(4501, "auth_timeout", False),
        Disconnect(4507, "revoked", False),
    }
    assert len(DISCONNECTS) == 7


def test_a_code_alone_says_whether_coming_back_makes_sense() -> None:
    assert all(why.reconnect is (why.code < 4500) for why in DISCONNECTS)
    assert all(4000 <= why.code <= 4999 and len(why.reason.encode()) <= 123 for why in DISCONNECTS)
