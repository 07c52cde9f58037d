"""docs/plugins.md, the hooks' specifications and their rules say the same, and the page's examples do what it says."""

import dataclasses
import inspect
import re
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from hubd import plugin as public
from hubd import testing as kit
from hubd.core.errors import STATUS_OF
from hubd.core.publish import CHANGEABLE, CHANNELS, SEGMENT_BYTES
from hubd.edge.health import REASON_CHARS
from hubd.edge.plugin_routes import HANDLER_S, Routes
from hubd.hooks import specs
from hubd.hooks.calls import SAMPLE
from hubd.hooks.driving import CLEANUP_S
from hubd.hooks.handle import DEPTH, PluginHub, PluginLog
from hubd.hooks.observers import QUEUE
from hubd.hooks.switching import FAULTS, FAULTS_S, OFF_MOST_S, OFF_S, STALL_S
from hubd.hooks.table import HOOKS, Fails
from hubd.hooks.watchdog import Watchdog
from hubd.server import PLUGINS_S
from hubd.testing import PluginWorld, hub_for
from tests.docs import ROOT, blocks, headings, outside_of_blocks, section, slugs, table
from tests.hook_pages import rule_line, signature, table_row

PAGE = (ROOT / "docs/plugins.md").read_text()
OF_HOOKS = section("All hooks", PAGE)
OF_HUB = section("What the hub offers: `PluginHub`", PAGE)
OF_KIT = section("The test kit", PAGE)
CALLED = section("How plugins are called", PAGE)


def of(hook: str) -> str:
    """The section of a hook."""
    return section(f"hubd_{hook}", PAGE)


# Page, specifications and rules


def test_each_hook_is_in_the_page_the_specifications_and_the_rules() -> None:
    specified = [name.removeprefix("hubd_") for name, found in vars(specs).items() if hasattr(found, "hubd_spec")]
    assert specified == list(HOOKS)
    assert headings(OF_HOOKS, 3) == [f"hubd_{hook}" for hook in HOOKS]


def test_the_table_has_all_of_them() -> None:
    rows = ["| " + " | ".join(row) + " |" for row in table(OF_HOOKS, of="hook")]
    assert rows == [table_row(hook) for hook in HOOKS]


@pytest.mark.parametrize("hook", HOOKS)
def test_a_section_has_the_signature_the_rule_and_each_argument(hook: str) -> None:
    text = of(hook)
    assert blocks("python signature", text) == [f"{signature(hook)}: ...\n"]
    assert [line for line in text.splitlines() if line.startswith("*Kind")] == [rule_line(hook)]
    bullets = re.findall(r"(?m)^- (.*)$", text)
    named = [name for line in bullets if line[0] == "`" for name in re.findall(r"`(\w+)`", line.partition(": ")[0])]
    assert named == specs.arguments_of(hook)
    assert bullets[-1].startswith(("Returns", "It has no arguments, and returns nothing."))
    if not specs.arguments_of(hook):
        assert bullets[0].startswith("It has no arguments")


def test_the_signature_is_what_a_plugin_writes() -> None:
    """The comparison above leans on this function."""
    assert signature("filter_recipients") == (
        "def hubd_filter_recipients(self, notification: Notification, recipients: UserSet)"
        " -> Verdict | Iterable[Verdict] | None"
    )
    assert signature("filtered").endswith("verdicts: Sequence[tuple[str, Verdict]]) -> None")


# Examples


def counting(calls: Counter[str], world: PluginWorld) -> None:
    """Have it counted which hooks are called in this hub, those at its start too."""
    for name, hook in world.plugins.hooks.each.items():
        for impl in hook.all:
            impl.call = counted(calls, name, impl.call)


def counted(calls: Counter[str], name: str, call: Callable[..., Any]) -> Callable[..., Any]:
    def around(*args: Any) -> Any:
        calls[name] += 1
        return call(*args)

    return around


async def run(example: str, request: pytest.FixtureRequest) -> Counter[str]:
    """Run the tests of an example; which hooks were called."""
    calls: Counter[str] = Counter()
    space: dict[str, Any] = {"__name__": "an_example"}
    for code in (*blocks("python imports", PAGE), example):
        exec(compile(code, "docs/plugins.md", "exec"), space)
    tests = [found for name, found in space.items() if name.startswith("test_")]
    assert tests
    for test in tests:
        wanted = inspect.signature(test).parameters
        given = {name: request.getfixturevalue(name) for name in wanted if name != "hub_for"}
        await test(hub_for=partial(hub_for, opened=partial(counting, calls)), **given)
    return calls


OF_OTHERS = (
    "Options", "What failing does", "Users as numbers", "Gates and verdicts", "Calls to other servers", "The test kit",
)  # fmt: skip
"""Sections that describe no hook and have an example."""


@pytest.mark.parametrize("hook", HOOKS)
async def test_the_examples_of_a_hook_call_it_and_do_what_they_say(hook: str, request: pytest.FixtureRequest) -> None:
    examples = blocks("python example", of(hook))
    assert examples
    for example in examples:
        assert "assert " in example or "pytest.raises" in example
        calls = await run(example, request)
        assert calls[hook] > 0


@pytest.mark.parametrize("title", OF_OTHERS)
async def test_the_other_examples_do_what_they_say(title: str, request: pytest.FixtureRequest) -> None:
    (example,) = blocks("python example", section(title, PAGE))
    assert "assert " in example
    await run(example, request)


def test_every_block_of_python_is_run() -> None:
    kinds = Counter(re.findall(r"(?m)^```python *(\w*)", PAGE))
    assert kinds.pop("title") > 0  # the tutorial's, which tests/test_tutorial.py follows
    examples = sum(len(blocks("python example", of(hook))) for hook in HOOKS) + len(OF_OTHERS)
    assert kinds == {"imports": 1, "signature": len(HOOKS), "example": examples}


# Reference


def signature_in(table_of: str, name: str) -> str:
    """How a call is written in the first column of a section's tables."""
    found = [cell for row in table(table_of, of="") for cell in re.findall(r"`([^`]+)`", row[0])]
    (one,) = [cell for cell in found if re.search(rf"(^|[ .]){name}\b", cell)]
    return one


def as_written(name: str, function: Any) -> str:
    """A method as the page writes it."""
    arguments = []
    for one in list(inspect.signature(function).parameters.values())[1:]:
        stars = "**" if one.kind is one.VAR_KEYWORD else ""
        default = "" if one.default is one.empty else f"={one.default!r}".replace("'", '"')
        arguments.append(f"{stars}{one.name}{default}")
    wait = "await " if inspect.iscoroutinefunction(function) else ""
    return f"{wait}{name}({', '.join(arguments)})"


def methods(of_class: type) -> list[str]:
    return [name for name, found in vars(of_class).items() if inspect.isfunction(found) and not name.startswith("_")]


def test_the_page_has_all_that_the_hub_offers() -> None:
    written = [name for row in table(OF_HUB, of="") for name in re.findall(r"`([^`]+)`", row[0])]
    shown = {name for name in written if "(" not in name}
    assert shown == {"name", "clock", "random", "log"}
    assert [name for name in written if "(" in name] == [
        as_written(name, getattr(PluginHub, name)) for name in methods(PluginHub)
    ]


def test_the_page_has_all_ways_to_add_routes() -> None:
    written = [row[0] for row in table(section("Routes", PAGE), of="")]
    assert written == [f"`routes.{as_written(name, getattr(Routes, name))}`" for name in methods(Routes)]


def test_the_page_has_all_of_the_kit() -> None:
    arguments = [row[0].strip("`") for row in table(OF_KIT, of="argument of `hub_for`")]
    assert arguments == [name for name in inspect.signature(hub_for).parameters if name != "opened"]
    written = [cell for row in table(OF_KIT, of="`hub`") for cell in re.findall(r"`([^`]+)`", row[0])]
    calls = {
        f"hub.{cell}".replace("hub.await ", "await hub.")
        for cell in (
            as_written(name, getattr(PluginWorld, name))
            for name in methods(PluginWorld)
            if name not in ("add", "begin", "end")
        )
    }
    assert {cell for cell in written if "(" in cell} == calls
    properties = {name for name, found in vars(PluginWorld).items() if isinstance(found, property)}
    members = {"plugin", "name", "clock", "faults", "config", "hub", "handle", "plugins", "edge"} | properties
    assert {cell for cell in written if "(" not in cell} == {f"hub.{name}" for name in members}
    for name in kit.__all__:
        assert f"`{name}" in OF_KIT or name in ("Fault", "PluginWorld"), name


def fields_in(title: str) -> list[str]:
    """What a section's table has in its first column."""
    return [name for row in table(section(title, PAGE)) for name in re.findall(r"`(\w+)`", row[0])]


def test_the_page_has_what_identities_are_made_of() -> None:
    rows = {
        row[0].strip("`"): row[1].strip("`") for row in table(section("Identity", PAGE), of="argument of `identity_of`")
    }
    given = inspect.signature(public.identity_of).parameters.values()
    wanted = {one.name: "" if one.default is one.empty else repr(one.default).replace("'", '"') for one in given}
    assert rows == wanted
    made = public.identity_of("ada", topics=["news"])
    assert all(hasattr(made, name) for name in wanted)
    assert (made.topics.match("news"), made.topics.match("gossip"), made.publish.match("news")) == (True, False, False)


def test_the_page_has_what_hooks_are_handed() -> None:
    assert fields_in("ConnectionInfo") == list(public.ConnectionInfo._fields)
    assert set(fields_in("Draft")) == {field.name for field in dataclasses.fields(public.Draft)} - {"data"}
    for name in fields_in("Notification"):
        assert name in public.Notification.__slots__ or isinstance(getattr(public.Notification, name), property), name


def test_the_page_has_the_codes_with_their_statuses() -> None:
    rows = [(row[0].strip("`"), int(row[1])) for row in table(section("Problem", PAGE), of="code")]
    assert rows == [(code, status) for code, status in STATUS_OF.items() if code in dict(rows)]
    arguments = list(inspect.signature(public.Problem).parameters)
    assert f"Problem({as_written('Problem', public.Problem.__init__).partition('(')[2]}`" in section("Problem", PAGE)
    assert arguments == ["code", "message", "errors", "retry_after"]


def test_the_page_names_all_that_is_public() -> None:
    rows = table(CALLED, of="in `hubd.plugin`")
    named = [name for row in rows for name in re.findall(r"`(\w+)`", row[0])]
    assert sorted(named) == sorted(public.__all__)


def test_the_page_names_the_methods_of_the_log() -> None:
    for name in methods(PluginLog):
        assert f"`{name}`" in section("The log", PAGE) or f"log.{name}(" in section("The log", PAGE)


def test_the_page_has_the_right_numbers() -> None:
    assert (OFF_S, OFF_MOST_S) == (60.0, 3600.0)
    assert "after a minute, the next time after two, and so on up to an hour" in CALLED
    assert f"within {STALL_S:g} seconds of one another count as one fault" in CALLED
    provoked = {hook for hook, rule in HOOKS.items() if rule.is_provoked}
    assert provoked == {"check_health", *(hook for hook, rule in HOOKS.items() if rule.fails is Fails.CLOSED)}
    assert "faults of routes, of [`hubd_check_health`](#hubd_check_health), of hooks that fail closed" in CALLED
    assert (FAULTS, FAULTS_S) == (5, 60.0) and "Five faults within a minute" in CALLED
    assert f"At {QUEUE:,} events" in CALLED
    limit_s = inspect.signature(Watchdog).parameters["limit_s"].default
    assert f"After {limit_s * 1000:g} ms a watchdog" in CALLED
    assert f"at the first {SAMPLE} calls of a hook and then at every {SAMPLE}th" in CALLED
    assert f"at most {PLUGINS_S:g} seconds." in of("shutdown")
    assert f"at most {DEPTH} deep" in OF_HUB
    assert CLEANUP_S == 1.0 and "one more second to clean up" in CALLED
    assert f"A handler has {HANDLER_S:g} seconds" in PAGE
    assert f"{REASON_CHARS} characters" in of("check_health")
    assert f"{SEGMENT_BYTES:,} bytes" in of("resolve_audience") and f"{CHANNELS:,} in all" in of("resolve_audience")
    returned = re.search(r"(?m)^- Returns.*", of("prepare_notification"))
    assert returned is not None and re.findall(r"`(\w+)`", returned[0])[:-1] == list(CHANGEABLE)


def test_links_lead_somewhere() -> None:
    anchors = {"": slugs(PAGE), "protocol.md": slugs((ROOT / "docs/protocol.md").read_text())}
    links = re.findall(r"\]\(((?!https?:)[^)#]*)#([^)]*)\)", outside_of_blocks(PAGE))
    assert len(links) > len(HOOKS)
    for page, anchor in links:
        assert anchor in anchors[page], f"{page}#{anchor}"
    files = re.findall(r"\]\((?!https?:)([^)#]+)\)", outside_of_blocks(PAGE))
    assert files
    for file in files:
        assert (ROOT / "docs" / file).is_file(), file
