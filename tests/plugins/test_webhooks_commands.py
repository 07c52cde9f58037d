"""`hubd webhooks ping`, as a process: who answers, and what is said of those who don't."""

import asyncio
import re
from pathlib import Path

import pytest
from click.testing import CliRunner
from hubd_webhooks.commands import webhooks
from hubd_webhooks.config import WebhooksConfig

from hubd.clock import SystemClock
from tests.command import Done, hubd
from tests.egress_servers import answering, listening
from tests.plugins.test_webhooks_http import request_of
from tests.plugins.webhooks_world import KEY, SECRET, endpoint, is_genuine

HEAD = '[plugins.webhooks]\nallow_hosts = ["127.0.0.1"]\n'


def table(name: str, url: str) -> str:
    return f'[[plugins.webhooks.endpoints]]\nname = "{name}"\nurl = "{url}"\nsecret = "{SECRET}"\ntimeout_s = 5\n'


async def ping(folder: Path, text: str, *names: str) -> Done:
    path = folder / "config.toml"
    path.write_text(text)
    return await asyncio.to_thread(hubd, "--config", str(path), "webhooks", "ping", *names)


async def test_each_endpoint_is_called_and_its_answer_printed(tmp_path: Path) -> None:
    good, bad = b"HTTP/1.1 202 Fine\r\nContent-Length: 0\r\n\r\n", b"HTTP/1.1 401 No\r\nContent-Length: 0\r\n\r\n"
    async with listening(answering(good)) as gone:
        pass  # nobody listens there any more
    async with listening(answering(good)) as one, listening(answering(bad)) as two:
        urls = {"one": f"{one.url}/hook?key=s3cr3t", "two": f"{two.url}/hook", "three": f"{gone.url}/hook"}
        text = HEAD + "".join(table(name, url) for name, url in urls.items())
        done = await ping(tmp_path, text)
        lines = [re.sub(r"\(\d+\.\d+ s\)", "(s)", line) for line in done.out.splitlines()]
        assert lines == ["one: 202 (s)", "two: 401 (s)", "three: connection refused (s)"]
        assert (done.code, done.err) == (1, "")
        headers, body = request_of(two.requests[0])
        assert is_genuine(headers, body, KEY, SystemClock().now()) and b'"type":"ping"' in body
        done = await ping(tmp_path, text, "one")
        assert done.code == 0 and done.out.startswith("one: 202")
        assert len(two.requests) == 1 and len(one.requests) == 2


@pytest.mark.parametrize(
    ("endpoints", "names", "why"),
    [
        ([{"name": "app"}, {"name": "two"}], ["ap"], "no endpoint 'ap'; there are: app, two"),
        ([], ["ap"], "no endpoint 'ap'; there are: none"),
        ([], [], "no endpoint is configured: [[plugins.webhooks.endpoints]]"),
    ],
)
def test_names_that_aren_t_there(endpoints: list[dict[str, str]], names: list[str], why: str) -> None:
    config = WebhooksConfig.model_validate({"endpoints": [endpoint(**one) for one in endpoints]})
    done = CliRunner().invoke(webhooks(config), ["ping", *names])
    assert (done.exit_code, done.output) == (1, f"Error: {why}\n")
