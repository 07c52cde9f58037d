"""The hooks as they are declared."""

import inspect

import pytest

from hubd.hooks import specs
from hubd.hooks.table import HOOKS, PREFIX, Fails

DECLARED = [name.removeprefix(PREFIX) for name in vars(specs) if name.startswith(PREFIX)]

SPEAKING = ("after", "before", "connection", "devices", "notification", "topic", "user")
"""Arguments whose meaning the hook's own sentence says."""


def test_what_is_declared_is_what_is_called() -> None:
    assert [*HOOKS] == DECLARED


@pytest.mark.parametrize("name", DECLARED)
def test_each_says_what_it_is_for_and_what_each_argument_means(name: str) -> None:
    hook = getattr(specs, PREFIX + name)
    doc = inspect.getdoc(hook)
    assert doc and hook.hubd_spec is not None
    for argument in specs.arguments_of(name):
        assert f"``{argument}``" in doc or argument in SPEAKING, argument


@pytest.mark.parametrize("name", [name for name, rule in HOOKS.items() if rule.observes])
def test_what_observes_answers_nothing_and_fails_open(name: str) -> None:
    assert inspect.signature(getattr(specs, PREFIX + name)).return_annotation is None
    assert HOOKS[name].fails is Fails.OPEN and not HOOKS[name].sync


def test_arguments_stand_in_the_order_in_which_they_are_handed_over() -> None:
    assert specs.arguments_of("authorize_publish") == ["publisher", "identity", "channels", "draft"]
    assert specs.arguments_of("shutdown") == []
