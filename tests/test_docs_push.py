"""docs/push.md: its lines work, its calls are taken, and its tables are those of the plugins."""

import importlib
import json
import re
from pathlib import Path
from typing import Any

import pytest
from hubd_apns.overrides import Overrides as ApnsOverrides
from hubd_fcm.overrides import Overrides as FcmOverrides
from hubd_webpush.overrides import Overrides as WebPushOverrides

from hubd.phones import ANDROID, BROWSER, IPHONE, Shown
from hubd.testing import Other, hub_for
from hubd.testing.fcm_service import FcmService
from hubd.trying import webpush_table
from tests.docs import ROOT, table

PAGE = (ROOT / "docs/push.md").read_text()
OVERRIDES: dict[str, Any] = {"webpush": WebPushOverrides, "apns": ApnsOverrides, "fcm": FcmOverrides}


def part(heading: str) -> str:
    return PAGE.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]


def marked(mark: str) -> str:
    found = re.search(rf"<!-- {mark} -->\n```\w+\n(.*?)```", PAGE, re.DOTALL)
    assert found
    return found[1]


@pytest.mark.parametrize("platform", OVERRIDES)
def test_every_field_of_each_platform_is_there(platform: str) -> None:
    rows = {row[0].strip("`"): row[1] for row in table(part("For one platform alone"))}
    assert set(rows) == set(OVERRIDES)
    assert set(re.findall(r"`(\w+)`", rows[platform])) == set(OVERRIDES[platform].model_fields)


async def test_the_call_that_is_shown_is_taken(tmp_path: Path) -> None:
    webpush = importlib.import_module("hubd_webpush").WebPush
    apns, fcm = (importlib.import_module(f"hubd_{name}") for name in ("apns", "fcm"))
    async with FcmService() as service:
        others = [Other("apns", apns.Apns), Other("fcm", fcm.Fcm, service.options(tmp_path))]
        async with hub_for(webpush, webpush_table(), others=others) as hub:
            body = json.loads(marked("publish"))
            answer = await hub.request("POST", "/api/notifications", key=True, json=body)
            assert answer.status == 202, answer
            for platform in body["push"]:
                wrong = body | {"push": {platform: {"no_such_field": 1}}}
                assert (await hub.request("POST", "/api/notifications", key=True, json=wrong)).status == 422


async def test_the_test_that_is_shown(tmp_path: Path) -> None:
    names: dict[str, Any] = {}
    exec(compile(marked("python"), "docs/push.md", "exec"), names)
    await names["test_a_quota_is_waited_for"](tmp_path)


def test_the_lines_that_are_shown_are_those_that_come() -> None:
    for kind in (BROWSER, IPHONE, ANDROID):
        assert f"\nada's {kind} rang: {Shown('It works', 'Hello from curl')}\n" in part("Try it without an account")


def test_every_plugin_that_pushes_is_there() -> None:
    assert {row[0].strip("`") for row in table(part("Turn a service on"))} == set(OVERRIDES)
    assert {row[0].strip("`") for row in table(part("What a device gets"), "platform")} == set(OVERRIDES)
