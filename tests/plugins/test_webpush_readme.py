"""What the README shows: its configs, calls and test run, and every option and override is there."""

import json
import re
from pathlib import Path

from hubd_webpush.config import WebPushConfig
from hubd_webpush.overrides import Overrides
from hubd_webpush.services import SERVICES
from pydantic import SecretStr
from pydantic_core import PydanticUndefined

from hubd.config import load_config
from hubd.hooks.catalog import Catalog
from tests.plugins.readmes import Readme
from tests.plugins.webpush_world import PEM, SUBJECT, pem, webpush

PAGE = Readme("webpush")
README, block, rows = PAGE.text, PAGE.block, PAGE.rows


def test_every_option_is_there_with_its_default() -> None:
    table = rows("## Turn it on")
    assert set(table) == set(WebPushConfig.model_fields)
    for name, field in WebPushConfig.model_fields.items():
        default = field.default.get_secret_value() if isinstance(field.default, SecretStr) else field.default
        if default is not PydanticUndefined:
            shown = list(default) if isinstance(default, tuple) else default
            assert table[name][0] == f"`{json.dumps(shown)}`", name
    assert all(f"`{service}`" in table["services"][1] for service in SERVICES)


def test_the_configs_that_are_shown_are_ones(tmp_path: Path) -> None:
    for name in ("vapid.pem", "vapid-2.pem"):
        (tmp_path / name).write_text(pem())
    shown = [re.sub("(?m)^ {3}", "", text) for text in re.findall(r"```toml\n(.*?)```", README, re.DOTALL)]
    assert len(shown) == 3
    for text in shown:
        (tmp_path / "hub.toml").write_text(text)
        assert isinstance(load_config(tmp_path / "hub.toml", {}, {}, Catalog).plugins["webpush"], WebPushConfig)


def test_every_override_is_there() -> None:
    shown = rows("What a publish call may say")
    words = {"action", "very", "low", "normal", "high", "true", "false"}
    assert {*shown} - words == set(Overrides.model_fields)


async def test_the_call_that_is_shown() -> None:
    async with webpush() as world:
        await world.subscribe("ada")
        said = json.loads(block("overrides"))
        answer = await world.hub.request("POST", "/api/notifications", key=True, json=said)
        assert answer.status == 202
        (data,) = await world.arrived(1)
        assert data["hub_push"]["image"] == said["push"]["webpush"]["image"]
        assert world.service.pushes[0].urgency == "high"


async def test_the_way_of_registering_that_is_shown() -> None:
    """Each address in it is one of the hub's, and the body is the subscription as it is."""
    text = block("register")
    async with webpush() as world:
        for path in re.findall(r'fetch\("([^"]+)"\)', text):
            assert (await world.hub.request("GET", path)).status == 200
        made = world.service.subscribe(await world.key())
        (path,) = re.findall(r'fetch\("([^"]+)", \{ method: "POST"', text)
        assert (await world.hub.request("POST", path, user="ada", json=made)).status == 201
        assert (await world.hub.request("POST", path, user="ada", json=made)).status == 200


async def test_the_test_that_is_shown() -> None:
    names: dict[str, object] = {}
    exec(compile(block("python"), "README", "exec"), names)
    await names["test_my_push"]({"vapid_private_key": PEM, "subject": SUBJECT})  # type: ignore[operator]
