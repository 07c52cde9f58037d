"""What the README shows: its configs, calls and test run, and every option and override is there."""

import json
import re
from pathlib import Path

import pytest
from hubd_fcm.backend import limits_of
from hubd_fcm.config import FcmConfig
from hubd_fcm.overrides import DATA_BYTES, OWN_KEYS, Overrides
from pydantic_core import PydanticUndefined

from hubd.config import load_config
from hubd.hooks.catalog import Catalog
from tests.plugins.fcm_world import fcm
from tests.plugins.readmes import Readme
from tests.plugins.test_fcm_account import GOOD

LIMITS = limits_of(all_collapsible=False)
PAGE = Readme("fcm")
README, block, rows = PAGE.text, PAGE.block, PAGE.rows


def test_every_option_is_there_with_its_default() -> None:
    table = rows("## Turn it on")
    assert set(table) == set(FcmConfig.model_fields)
    for name, field in FcmConfig.model_fields.items():
        if field.default is not PydanticUndefined:
            default = list(field.default) if isinstance(field.default, tuple) else field.default
            assert table[name][0] == f"`{json.dumps(default)}`", name


def test_the_config_that_is_shown_is_one(tmp_path: Path) -> None:
    shown = re.search(r"```toml\n(.*?)```", README, re.DOTALL)
    assert shown
    (tmp_path / "service-account.json").write_text(json.dumps(GOOD))
    (tmp_path / "hub.toml").write_text(shown[1])
    assert isinstance(load_config(tmp_path / "hub.toml", {}, {}, Catalog).plugins["fcm"], FcmConfig)


def test_every_override_is_there() -> None:
    assert set(rows("## What a publish call may say")) == set(Overrides.model_fields)
    assert f"at most {DATA_BYTES:,} bytes" in README


async def test_the_data_that_the_app_gets(tmp_path: Path) -> None:
    assert set(rows("The data, all of them strings")) == OWN_KEYS
    async with fcm(tmp_path) as world:
        await world.send()
        assert set(world.service.pushes[0].data) == OWN_KEYS


async def test_the_calls_that_are_shown(tmp_path: Path) -> None:
    head, _, body = block("register").strip().partition("\n\n")
    method, path, _ = head.split("\n")[0].split(" ")
    async with fcm(tmp_path) as world:
        answer = await world.hub.request(method, path, user="ada", json=json.loads(body))
        assert answer.status == 201
        shown = json.loads(block("overrides")) | {"priority": "critical"}
        answer = await world.hub.request("POST", "/api/notifications", key=True, json=shown)
        assert answer.status == 202
        await world.hub.until(lambda: world.service.pushes, real_s=20)
        assert world.service.pushes[0].data["badge"] == "3"


async def test_the_test_that_is_shown(tmp_path: Path) -> None:
    names: dict[str, object] = {}
    exec(compile(block("python"), "README", "exec"), names)
    run = names["test_the_phone_rings"]
    assert callable(run)
    await run(tmp_path)


@pytest.mark.parametrize("limit", LIMITS.per_destination + LIMITS.per_device)
def test_the_limits_that_are_said(limit: tuple[int, float]) -> None:
    assert re.search(rf"\b{limit[0]:,} (a minute|an hour)", README)


def test_the_kotlin_that_is_shown_takes_what_there_is() -> None:
    shown = re.search(r"```kotlin\n(.*?)```", README, re.DOTALL)
    assert shown
    keys = set(re.findall(r'data\["(\w+)"\]', shown[1]))
    assert keys <= OWN_KEYS | set(Overrides.model_fields)
    assert {"notification", "tag", "url"} <= keys
