"""The seam to the store: what a caller is told when nothing can be stored."""

from hubd.storing import RETRY_S, StoreError, unavailable


def test_whoever_could_not_be_served_is_told_to_try_again_and_when() -> None:
    problem = unavailable("the disk is full")
    assert (problem.code, problem.retry_after) == ("unavailable", RETRY_S)
    assert "the disk is full" in problem.message and "try again" in problem.message


def test_an_error_says_why_in_words() -> None:
    assert str(StoreError("the disk is full")) == "the disk is full"
