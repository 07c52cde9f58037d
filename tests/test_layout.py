"""The architecture, enforced. So that no rule sleeps, each is also shown something that breaks it."""

import pytest

from tests.layout_rules import (
    ALONE,
    CORE,
    FLOORS,
    HUB,
    KNOWS_TIME,
    MAKES_RANDOMNESS,
    MODULES,
    NAMES,
    ROOT,
    STARTS_TASKS,
    Rule,
    circular,
    imports_of,
    impure,
    module,
    networked,
    plugged,
    random_,
    tasked,
    timely,
    unordered,
    unplaced,
    upward,
)

RULES: list[Rule] = [unplaced, upward, circular, impure, networked, plugged, timely, tasked, random_, unordered]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__.strip("_"))
def test_nothing_breaks_the_rule(rule: Rule) -> None:
    assert rule(MODULES) == [], rule.__doc__


# --- Each rule, broken on purpose

PLANTED: list[tuple[Rule, str, str]] = [
    (unplaced, "hubd.new_thing", ""),
    (upward, "hubd.core.ring", "from hubd.clock import Clock"),
    (upward, "hubd.core.ring", "from hubd import pump"),
    (upward, "hubd.core.ring", "import hubd.hub"),
    (upward, "hubd.core.ring", "def late():\n    from hubd.hub import Hub"),
    (upward, "hubd.clock", "from hubd.hub import Hub"),
    (upward, "hubd.hub", "from hubd.edge.limits import Pace"),
    (upward, "hubd.gates", "from hubd.hooks.manager import Plugins"),
    (plugged, "hubd.server", "import hubd_webhooks"),
    (plugged, "hubd.server", "def late():\n    from hubd_proxy_auth.plugin import ProxyAuth"),
    (upward, "hubd.pump", "from hubd.edge import frames"),
    (
        upward,
        "hubd.attendance",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from hubd.server import serve",
    ),
    (upward, "hubd.broker", "from hubd.cli import main"),
    (upward, "hubd.edge.app", "from hubd.server import serve"),
    (upward, "hubd.edge.api.users", "from hubd.cli import main"),
    (upward, "hubd.edge.app", "from hubd.testing import FakeClock"),
    (upward, "hubd.publisher", "from hubd.hub import Hub"),
    (upward, "hubd.feed", "from hubd.core.channel import parse_channel"),
    (impure, "hubd.core.ring", "import asyncio"),
    (impure, "hubd.core.ring", "import os.path"),
    (impure, "hubd.core.ring", "from time import monotonic"),
    (impure, "hubd.core.ring", "from logging import getLogger"),
    (impure, "hubd.core.ring", "from random import Random"),
    (impure, "hubd.core.ring", "from aiohttp import web"),
    (impure, "hubd.core.ring", "import socket"),
    (impure, "hubd.core.ring", "from uuid import uuid4"),
    (impure, "hubd.core.ring", "def late():\n    import threading"),
    (impure, "hubd.core.ring", "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import asyncio"),
    (impure, "hubd.core.ring", "async def f(x):\n    await x"),
    (impure, "hubd.core.ring", "async def f(x):\n    async for y in x:\n        pass"),
    (impure, "hubd.core.ring", "def f():\n    return open('x')"),
    (impure, "hubd.core.ring", "print(1)"),
    (networked, "hubd.attendance", "import asyncio"),
    (networked, "hubd.hub", "from aiohttp import web"),
    (networked, "hubd.tasks", "import socket"),
    (networked, "hubd.idempotency", "import http.client"),
    (timely, "hubd.hub", "import time"),
    (timely, "hubd.hub", "from datetime import datetime, UTC"),
    (timely, "hubd.edge.app", "def late():\n    from time import time"),
    (timely, "hubd.edge.app", "import asyncio\nnow = asyncio.get_running_loop().time()"),
    (timely, "hubd.edge.app", "def f(loop):\n    return loop.time"),
    (tasked, "hubd.hub", "import asyncio\nasyncio.create_task(x)"),
    (tasked, "hubd.hub", "loop.create_task(x)"),
    (tasked, "hubd.hub", "from asyncio import ensure_future\nensure_future(x)"),
    (tasked, "hubd.edge.app", "async def f():\n    async with asyncio.TaskGroup() as group:\n        pass"),
    (random_, "hubd.hub", "import random"),
    (random_, "hubd.edge.app", "import secrets as s"),
    (random_, "hubd.hub", "from random import choice"),
    (random_, "hubd.hub", "from random import Random\nmine = Random(1)"),
    (random_, "hubd.hub", "from random import SystemRandom"),
    (random_, "hubd.ids", "import uuid\nuuid.uuid4()"),
    (random_, "hubd.ids", "import os\nos.urandom(4)"),
    (unordered, "hubd.core.ring", "for x in {1, 2}:\n    pass"),
    (unordered, "hubd.core.ring", "[x for x in set(y)]"),
    (unordered, "hubd.core.ring", "a = {1}\nsorted(b for b in list(a))"),
    (unordered, "hubd.core.ring", "a = {x for x in y}\nfor b in a:\n    pass"),
    (unordered, "hubd.core.ring", "def f(a: set[int]):\n    return list(a)"),
    (unordered, "hubd.core.ring", "a: frozenset[int] = b\nnext(iter(a))"),
    (unordered, "hubd.core.ring", "class A:\n    def f(self):\n        self.a = set()\n        return [*self.a]"),
    (unordered, "hubd.core.ring", "', '.join({'a'} | {'b'})"),
    (unordered, "hubd.hub", "for x in dict(y).keys().union(z).copy():\n    pass"),
    (unordered, "hubd.pump", "def f(a):\n    yield from frozenset(a)"),
    (unordered, "hubd.attendance", "a = frozenset(b)\ntuple(a - c)"),
]


@pytest.mark.parametrize(
    ("rule", "name", "source"), PLANTED, ids=[f"{rule.__name__.strip('_')}-{name}" for rule, name, _ in PLANTED]
)
def test_what_breaks_a_rule_is_found(rule: Rule, name: str, source: str) -> None:
    assert rule([module(name, source)]) != []


def test_every_rule_was_shown_what_breaks_it() -> None:
    assert {rule for rule, _, _ in PLANTED} | {circular} == set(RULES)


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("hubd.core.ring", "import json\nfrom collections.abc import Iterable\nfrom hubd.core import channel"),
        (
            "hubd.core.ring",
            "a = {1}\nb = 1 in a\nmin(a, key=str)\nsorted(a)\nlen(a)\nany(a)\nfor x in sorted(a):\n    pass",
        ),
        ("hubd.core.ring", "a = {1}\nb = frozenset((2, *a))\nany(x > 1 for x in a)\nsorted([x + 1 for x in b])"),
        ("hubd.hub", "from hubd import __version__\nfrom hubd.core.ring import Rings\nfrom hubd.clock import Clock"),
        ("hubd.hub", "from random import Random\ndef f(random: Random):\n    return random.random()"),
        ("hubd.hub", "def f(self, clock):\n    return self.time, clock.monotonic(), clock.now()"),
        ("hubd.tasks", "import asyncio\nasyncio.get_running_loop().create_task(x)"),
        ("hubd.clock", "import time\ntime.time()"),
        ("hubd.server", "from random import SystemRandom\nfrom hubd.edge.app import Edge\nmine = SystemRandom()"),
    ],
)
def test_what_is_allowed_is_not_found(name: str, source: str) -> None:
    assert [found for rule in RULES for found in rule([module(name, source)])] == []


def test_a_circle_is_found_unless_it_is_for_the_type_checker() -> None:
    there = module("hubd.core.a", "from hubd.core.b import B")
    between = module("hubd.core.b", "def late():\n    from hubd.core.c import C")
    back = module("hubd.core.c", "import hubd.core.a")
    assert circular([there, between, back]) == ["hubd.core.a -> hubd.core.b -> hubd.core.c -> hubd.core.a"]
    types = module("hubd.core.c", "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import hubd.core.a")
    assert circular([there, between, types]) == []
    assert circular([module("hubd.core.a", "import hubd.core.a")]) == ["hubd.core.a -> hubd.core.a"]


# --- Exceptions, and what mirrors what


def test_every_name_in_the_tables_is_a_module() -> None:
    packages = {name.rpartition(".")[0] for name in NAMES}
    tables = {*FLOORS, *ALONE, *KNOWS_TIME, *STARTS_TASKS, *MAKES_RANDOMNESS}
    assert tables - NAMES - packages == set()


def test_every_exception_is_still_needed() -> None:
    for rule, table in ((timely, KNOWS_TIME), (tasked, STARTS_TASKS), (random_, MAKES_RANDOMNESS)):
        for name in list(table):
            reason = table.pop(name)
            try:
                assert rule([found for found in MODULES if found.name == name]) != [], (
                    f"{name} needs no exception any more"
                )
            finally:
                table[name] = reason


def test_packages_import_nothing_by_themselves() -> None:
    for path in (ROOT / "hubd").rglob("__init__.py"):
        name = ".".join(path.relative_to(ROOT).parent.parts)
        if name == "hubd.testing":  # it is what tests of plugins import
            continue
        assert list(imports_of(module(name, path.read_text()))) == [], name


MIRRORED = [
    found.name for found in MODULES if found.floor in (CORE, HUB) and found.name not in ("hubd.core", "hubd.push")
]


@pytest.mark.parametrize("name", MIRRORED)
def test_every_module_of_core_and_hub_has_tests_of_its_own(name: str) -> None:
    *folders, last = name.split(".")[1:]
    assert ROOT.joinpath("tests", *folders, f"test_{last}.py").exists()
