"""What the README shows: a call as it really is, receivers that run, and every option, event and metric."""

import asyncio
import base64
import json
import os
import re
import sys
import time
from asyncio.subprocess import DEVNULL, PIPE, Process, create_subprocess_exec
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, get_args

import aiohttp
import pytest
from aiohttp.test_utils import unused_port
from click.testing import CliRunner
from hubd_webhooks.commands import webhooks as webhooks_command
from hubd_webhooks.config import DEFAULT_EVENTS, EndpointConfig, EventType, WebhooksConfig
from hubd_webhooks.counts import Counts
from hubd_webhooks.events import encoded
from hubd_webhooks.signing import signed_headers
from prometheus_client import CollectorRegistry
from pydantic_core import PydanticUndefined

from tests.plugins.readmes import Readme
from tests.plugins.webhooks_world import KEY, OTHER_KEY, SECRET, config, endpoint, is_genuine, webhooks

PAGE = Readme("webhooks")
README, block, rows = PAGE.text, PAGE.block, PAGE.rows


# --- What it says


def example() -> tuple[dict[str, str], str]:
    head, _, body = block("call").strip().partition("\n\n")
    return dict(line.split(": ", 1) for line in head.split("\n")[1:]), body


def test_the_call_that_is_shown_is_signed_with_the_secret_that_is_shown() -> None:
    headers, body = example()
    secret = re.search(r'secret = "whsec_(.+)"', README)
    assert secret
    assert is_genuine(headers, body.encode(), base64.b64decode(secret[1]), 1_800_000_000)


async def test_the_call_that_is_shown_is_a_call_as_it_is() -> None:
    shown_headers, shown = example()
    got: list[tuple[dict[str, str], bytes]] = []
    async with webhooks(config(endpoint())) as world:
        await world.hub.publish("team:engineering", {"type": "deploy"})
        got = [(dict(call.headers), call.body) for call in world.network.calls]
    headers, body = got[0]
    assert set(headers) == {name.lower() for name in shown_headers} - {"host", "user-agent"}

    def shape(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: shape(one) for name, one in value.items()}
        return [shape(one) for one in value] if isinstance(value, list) else type(value)

    assert shape(json.loads(body)) == shape(json.loads(shown))
    assert list(json.loads(body)["events"][0]["data"]) == list(json.loads(shown)["events"][0]["data"])


@pytest.mark.parametrize(
    ("heading", "model"),
    [("### Options of an endpoint", EndpointConfig), ("### Options for all of them", WebhooksConfig)],
)
def test_every_option_is_there_with_its_default(heading: str, model: type[Any]) -> None:
    table = rows(heading)
    assert set(table) == set(model.model_fields) - {"endpoints"}
    for name, field in model.model_fields.items():
        default = field.default
        if name == "endpoints" or default in (PydanticUndefined, "") or name in ("old_secret", "events"):
            continue
        value = json.dumps(list(default) if isinstance(default, tuple) else default)
        assert table[name][0] == f"`{value}`", name
    if model is EndpointConfig:
        left_out = set(re.findall(r"`(\w+)`", table["events"][0]))
        assert left_out == set(get_args(EventType)) - set(DEFAULT_EVENTS)


def test_every_event_is_there() -> None:
    assert set(rows("and `data`:")) == {*get_args(EventType), "ping"}


def test_every_metric_is_there() -> None:
    registry = CollectorRegistry()
    Counts().register(registry)
    names = {family.name + ("_total" if family.type == "counter" else "") for family in registry.collect()}
    assert set(rows("Watch these metrics instead")) == names


# --- What it has run


@asynccontextmanager
async def receiving(language: str, folder: Path) -> AsyncIterator[tuple[str, Process]]:
    """The receiver of the README as a process: its address, and it."""
    name, command = ("receiver.py", sys.executable) if language == "python" else ("receiver.mjs", "node")
    (folder / name).write_text(block(language))
    port = unused_port()
    process = await create_subprocess_exec(
        command, folder / name, str(port), stdout=PIPE, stderr=DEVNULL, env={**os.environ, "WEBHOOK_SECRET": SECRET}
    )
    try:
        async with asyncio.timeout(20):
            while True:
                try:
                    _, writer = await asyncio.open_connection("127.0.0.1", port)
                    writer.close()
                    await writer.wait_closed()
                    break
                except ConnectionRefusedError:
                    assert process.returncode is None
                    await asyncio.sleep(0.02)
        yield f"http://127.0.0.1:{port}/hook", process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


@pytest.mark.parametrize("language", ["python", "node"])
async def test_the_receiver_believes_what_is_genuine_and_nothing_else(language: str, tmp_path: Path) -> None:
    body = b'{"events":[' + encoded("evt_1", "published", 1, {"type": "t\u00e9st"}) + b"]}"
    now = int(time.time())

    async def answer(session: aiohttp.ClientSession, url: str, headers: dict[str, str], sent: bytes = body) -> int:
        async with session.post(url, data=sent, headers=headers) as response:
            return response.status

    async with receiving(language, tmp_path) as (url, process), aiohttp.ClientSession() as session:
        good = signed_headers([KEY], "msg_1", now, body)
        old = signed_headers([KEY], "msg_1", now - 400, body)
        future = signed_headers([KEY], "msg_1", now + 400, body)
        other = signed_headers([OTHER_KEY], "msg_1", now, body)
        both = signed_headers([OTHER_KEY, KEY], "msg_1", now, body)
        assert [await answer(session, url, headers) for headers in (old, future, other)] == [401] * 3
        assert await answer(session, url, good, body + b" ") == 401
        assert await answer(session, url, good | {"webhook-id": "msg_2"}) == 401
        assert await answer(session, url, good | {"webhook-timestamp": str(now + 1)}) == 401
        assert await answer(session, url, {"content-type": "application/json"}) == 401
        assert await answer(session, url, good | {"webhook-timestamp": "soon"}) == 401
        assert await answer(session, url, good | {"webhook-signature": "v1, v1,\u00e9 v2"}) == 401
        # The same event twice, in two calls.
        assert [await answer(session, url, headers) for headers in (good, both)] == [204, 204]
        process.kill()
        assert process.stdout is not None
        printed = (await process.stdout.read()).decode().splitlines()
        assert len(printed) == 1 and printed[0].startswith('published {"type"')


@pytest.mark.parametrize("language", ["python", "node"])
async def test_a_ping_to_the_receiver(language: str, tmp_path: Path) -> None:
    async with receiving(language, tmp_path) as (url, _):
        options = WebhooksConfig.model_validate(config(endpoint(url=url), allow_hosts=["127.0.0.1"]))
        done = await asyncio.to_thread(CliRunner().invoke, webhooks_command(options), ["ping"])
        assert re.fullmatch(r"127\.0\.0\.1: 204 \(\d+\.\d{3} s\)\n", done.output), done
        assert done.exit_code == 0
