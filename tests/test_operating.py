"""docs/operating.md against the code: every limit, every metric, every log event."""

import inspect
import logging
import re

from hubd.config_options import Limits
from hubd.hooks.observers import QUEUE
from hubd.hooks.switching import FAULTS, FAULTS_S
from hubd.hooks.table import HOOKS, Fails
from hubd.hooks.watchdog import Watchdog
from hubd.log_events import EVENTS
from hubd.metric_table import METRICS
from tests.docs import ROOT, section

PAGE = (ROOT / "docs/operating.md").read_text()


def rows(text: str) -> list[str]:
    """The lines of a table, without its head."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    return lines[2:]


def test_every_limit_is_explained_once() -> None:
    names = [name for row in rows(section("Limits", PAGE)) for name in re.findall(r"`(\w+)`", row.split("|")[1])]
    assert sorted(names) == sorted(Limits.model_fields)


def test_every_metric_is_there_as_it_explains_itself() -> None:
    wanted = []
    for metric in METRICS:
        labels = ", ".join(f"`{label}`" for label in metric.labels)
        wanted.append(f"| `{metric.name}` | {metric.kind.value} | {labels} | {metric.meaning} |")
    assert rows(section("Metrics", PAGE)) == wanted, "the table should be:\n" + "\n".join(wanted)


def test_every_log_event_is_there_as_it_reads() -> None:
    wanted = [
        f"| `{name}` | {logging.getLevelName(event.level).lower()} | {event.text} |" for name, event in EVENTS.items()
    ]
    assert rows(section("Log events", PAGE)) == wanted, "the table should be:\n" + "\n".join(wanted)


def test_what_plugins_may_do_and_for_how_long() -> None:
    text = section("Plugins", PAGE)
    assert (FAULTS, FAULTS_S) == (5, 60) and "Five faults within a minute" in text
    assert f"of {QUEUE:,} events" in text
    start, stop = HOOKS["startup"].timeout_s, HOOKS["shutdown"].timeout_s
    assert f"Starting and stopping a plugin may take {start:g} s and {stop:g} s" in text
    limit_s = inspect.signature(Watchdog).parameters["limit_s"].default
    assert f"After {limit_s * 1000:g} ms the log says so" in text


def test_what_becomes_of_the_matter_when_a_plugin_fails() -> None:
    """The table names no hooks, so that operators understand it: each of its halves has these."""
    closed, open_, told = rows(section("Plugins", PAGE))
    assert "**closed**" in closed and "**open**" in open_ and "to be told" in told
    fails = {name for name, rule in HOOKS.items() if rule.fails is Fails.CLOSED}
    assert fails == {
        "authenticate", "authorize_subscribe", "authorize_publish", "resolve_audience", "store_notification",
    }  # fmt: skip


def test_the_files_it_names_exist() -> None:
    named = re.findall(r"`((?:deploy|docs|bench)/[\w./-]+)`", PAGE)
    assert named
    assert [name for name in named if not (ROOT / name).exists()] == []
