"""docs/operating.md against the code: every limit, every metric, every log event."""

import logging
import re

from hubd.config_options import Limits
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


def test_the_files_it_names_exist() -> None:
    named = re.findall(r"`((?:deploy|docs|bench)/[\w./-]+)`", PAGE)
    assert named
    assert [name for name in named if not (ROOT / name).exists()] == []
