"""What the README says: every option, field and metric, a payload as it is, and code that runs."""

import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import orjson
import pytest
from hubd_apns.config import ApnsConfig, AppConfig
from hubd_apns.overrides import Overrides
from hubd_apns.payload import payload_of
from prometheus_client import CollectorRegistry
from pydantic_core import PydanticUndefined

from hubd.core.notification import Priority
from tests.plugins.apns_world import apns, push
from tests.plugins.readmes import Readme

ROOT = Path(__file__).parents[2]
PAGE = Readme("apns")
README, block, rows = PAGE.text, PAGE.block, PAGE.rows


@pytest.mark.parametrize(
    ("heading", "model"), [("### Options of an app", AppConfig), ("### Options for all of them", ApnsConfig)]
)
def test_every_option_is_there_with_its_default(heading: str, model: type[Any]) -> None:
    table = rows(heading)
    assert set(table) == set(model.model_fields) - {"apps"}
    for name, field in model.model_fields.items():
        if name != "apps" and field.default not in (PydanticUndefined, ""):
            assert table[name][0] == f"`{json.dumps(field.default)}`", name


def test_every_override_is_there() -> None:
    assert set(rows("### Overrides")) == set(Overrides.model_fields)


def test_the_config_has_just_what_is_needed() -> None:
    (app,) = tomllib.loads(block("config"))["plugins"]["apns"]["apps"]
    assert set(app) == {name for name, field in AppConfig.model_fields.items() if field.is_required()}


def test_the_payload_is_one_as_it_is() -> None:
    shown = json.loads(block("payload"))
    texts = shown["aps"]["alert"]
    of = push(priority=Priority.CRITICAL, title=texts["title"], body=texts["body"])
    found = orjson.loads(payload_of(of._replace(data=lambda most: orjson.dumps(shown["notification"]))))
    assert found == shown


async def test_every_metric_is_there_and_counts() -> None:
    async with apns() as world:
        registry = CollectorRegistry()
        world.plugin.hubd_register_metrics(registry)
        names = {family.name + ("_total" if family.type == "counter" else "") for family in registry.collect()}
        assert set(rows("one new token in 20 minutes.")) == names
        assert {await world.hub.metric(name) for name in names} == {0.0}
        await world.send()
        assert {await world.hub.metric(name) for name in names} == {1.0}
        world.pools[0].connections[0].break_off()
        await world.hub.until(lambda: world.pools[0].open == 0)
        await world.send()
        assert await world.hub.metric("apns_connections_total") == 2.0
        assert await world.hub.metric("apns_open_connections") == 1.0
        world.hub.reconfigure({"apps": []})
        assert await world.hub.metric("apns_connections_total") == 2.0


def test_the_way_to_try_it_runs(tmp_path: Path) -> None:
    (tmp_path / "try.py").write_text(block("try"))
    path = os.pathsep.join([str(ROOT), str(ROOT / "plugins")])
    done = subprocess.run(
        [sys.executable, tmp_path / "try.py"],
        capture_output=True,
        text=True,
        timeout=50,
        env={**os.environ, "PYTHONPATH": path},
    )
    assert done.stdout == "{'title': 'Disk full'}\n", done
