"""The dashboard for Grafana: it shows what there is, and asks for nothing else."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from hubd.metric_kinds import Kind
from hubd.metric_table import METRICS, meanings

BOARD: dict[str, Any] = json.loads((Path(__file__).parents[1] / "deploy" / "grafana-hubd.json").read_text())
PANELS: list[dict[str, Any]] = BOARD["panels"]
SHOWN = [panel for panel in PANELS if panel["type"] != "row"]
QUERIES = [target["expr"] for panel in SHOWN for target in panel["targets"]]
NAME = re.compile(r"\b((?:hubd|process)_[a-z_]+)\b")
ADDED = {Kind.HISTOGRAM: ("_bucket", "_sum", "_count")}


def series() -> set[str]:
    """Every name that a query can ask for."""
    names = set(meanings())
    for metric in METRICS:
        names |= {metric.name + suffix for suffix in ADDED.get(metric.kind, ())}
    return names


def metric_of(name: str) -> str:
    return re.sub(r"_(bucket|sum|count)$", "", name)


def test_every_metric_that_it_asks_for_exists() -> None:
    asked = {name for query in QUERIES for name in NAME.findall(query)}
    assert asked - series() == set()
    variables = json.dumps(BOARD["templating"])
    assert set(NAME.findall(variables)) - series() == set()


def test_every_metric_of_the_hub_is_on_it() -> None:
    asked = {metric_of(name) for query in QUERIES for name in NAME.findall(query)}
    assert {metric.name for metric in METRICS} - asked == {"hubd_build_info"}  # which says what hubs there are


@pytest.mark.parametrize("query", QUERIES)
def test_a_query_asks_in_the_way_that_fits_the_metric(query: str) -> None:
    kinds = {metric.name: metric.kind for metric in METRICS}
    labels = {metric.name: {*metric.labels, "le", "instance"} for metric in METRICS}
    (name,) = NAME.findall(query)
    grows = kinds.get(metric_of(name)) in (Kind.COUNTER, Kind.HISTOGRAM) or name == "process_cpu_seconds_total"
    assert bool(re.search(r"\b(rate|increase)\(", query)) == grows
    assert query.count("(") == query.count(")") and query.count("{") == query.count("}")
    assert 'instance=~"$instance"' in query
    for by in re.findall(r"\bby \(([a-z, ]+)\)", query):
        assert set(by.split(", ")) <= labels[metric_of(name)]


def test_legends_name_labels_that_the_query_leaves() -> None:
    for panel in SHOWN:
        for target in panel["targets"]:
            left = set(", ".join(re.findall(r"by \(([a-z, ]+)\)", target["expr"])).split(", ")) | {"instance"}
            assert set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"])) <= left, panel["title"]


def test_panels_have_ids_titles_and_places_of_their_own() -> None:
    for key in ("id", "title"):
        values = [panel[key] for panel in PANELS]
        assert len(values) == len(set(values)) and all(values)
    places = set()
    for panel in PANELS:
        place = panel["gridPos"]
        covered = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not covered & places and place["x"] + place["w"] <= 24, panel["title"]
        places |= covered
    assert all(panel["description"].endswith(".") for panel in SHOWN)


def test_it_has_a_row_for_each_thing_to_look_at() -> None:
    rows = [panel["title"] for panel in PANELS if panel["type"] == "row"]
    assert rows == ["Connections", "Traffic", "Latency", "Problems", "Memory and process", "Plugins", "Store", "Push"]
