"""Writes that the store gives itself, when it cleans up."""

from typing import NamedTuple

from hubd.core.stored import Write


class Forget(NamedTuple):
    """An answer that was given before this time (Unix ms) isn't needed any more."""

    table: str
    publisher: str
    id: str
    before: int


class ForgetUser(NamedTuple):
    """Nothing that is stored refers to this user."""

    number: int


AnyWrite = Write | Forget | ForgetUser
