"""`[plugins.webhooks]`: checked as a whole before anything starts, each error at the option that it is about."""

import os
import re
from pathlib import Path

import pytest
from hubd_webhooks.config import DEFAULT_EVENTS, WebhooksConfig

from hubd.config import ConfigError, load_config
from hubd.hooks.catalog import Catalog
from tests.plugins.webhooks_world import OTHER_SECRET, SECRET

ENDPOINT = f'[[plugins.webhooks.endpoints]]\nurl = "https://app.example.com/hooks"\nsecret = "{SECRET}"\n'


def loaded(text: str, folder: Path) -> WebhooksConfig:
    path = folder / "config.toml"
    path.write_text(text)
    options = load_config(path, {}, {}, Catalog).plugins["webhooks"]
    assert isinstance(options, WebhooksConfig)
    return options


def errors(text: str, folder: Path) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        loaded(text, folder)
    return [re.sub(rf"^{re.escape(str(folder))}{os.sep}config\.toml(:\d+)?: ", "", line) for line in caught.value.lines]


def test_what_is_left_out(tmp_path: Path) -> None:
    options = loaded(ENDPOINT, tmp_path)
    (endpoint,) = options.endpoints
    assert endpoint.events == DEFAULT_EVENTS and endpoint.channels == ("**",) and not endpoint.payload
    assert (endpoint.label, endpoint.secrets) == ("app.example.com", [bytes(range(32))])
    assert (options.allow_hosts, options.attempts, options.retry_for_s, options.batch) == ((), 12, 600, 50)
    assert loaded("[plugins.webhooks]\n", tmp_path).endpoints == ()


def test_everything_given(tmp_path: Path) -> None:
    text = f"""
        [plugins.webhooks]
        allow_hosts = ["Hooks.internal", "10.0.0.0/8"]
        attempts = 3
        retry_for_s = 30
        batch = 10
        queue = 100
        queue_bytes = 100000
        concurrency = 1
        {ENDPOINT}
        old_secret = "{OTHER_SECRET}"
        name = "app"
        events = ["published", "gone"]
        channels = ["news", "team:*"]
        payload = true
        timeout_s = 2.5
        [[plugins.webhooks.endpoints]]
        url = "http://10.1.2.3:8080/hook"
        secret = "{OTHER_SECRET}"
    """
    options = loaded(text, tmp_path)
    assert [endpoint.label for endpoint in options.endpoints] == ["app", "10.1.2.3"]
    assert len(options.endpoints[0].secrets) == 2
    assert options.allow_hosts == ("hooks.internal", "10.0.0.0/8")


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("http://app.example.com/", "http:// is only for hosts that are listed as allowed"),
        ("https://127.0.0.1/", "127.0.0.1 is no public address"),
        ("https://[::1]:8443/", "::1 is no public address"),
        ("https://10.0.0.7/", "10.0.0.7 is no public address"),
        ("https://user:s3cr3t@app.example.com/", "no user and no password"),
        ("https://app.example.com/#s3cr3t", "no fragment"),
        ("ftp://app.example.com/", "begins with https://"),
        ("", "begins with https://"),
    ],
)
def test_an_address_that_must_not_be_called_is_refused_where_it_stands(url: str, why: str, tmp_path: Path) -> None:
    (line,) = errors(ENDPOINT + ENDPOINT.replace("https://app.example.com/hooks", url), tmp_path)
    assert line.startswith("plugins.webhooks.endpoints[1].url: ") and why in line
    assert "s3cr3t" not in line


@pytest.mark.parametrize(
    ("more", "where", "why"),
    [
        ('name = "a b"', "endpoints[0].name", ""),
        ('events = ["publishd"]', "endpoints[0].events[0]", "published"),
        ('channels = ["a**"]', "endpoints[0].channels[0]", "a**"),
        ("timeout_s = 0", "endpoints[0].timeout_s", ""),
        ("timeout_s = 61", "endpoints[0].timeout_s", ""),
        ("timeout_s = nan", "endpoints[0].timeout_s", ""),
        ('old_secret = "whsec_abc"', "endpoints[0].old_secret", "no base64"),
        ("payloads = true", "endpoints[0].payloads", "payload"),
        ('payload = "yes"', "endpoints[0].payload", ""),
        (ENDPOINT, "endpoints[1].name", "is there twice"),
    ],
)
def test_what_else_can_be_wrong_with_an_endpoint(more: str, where: str, why: str, tmp_path: Path) -> None:
    (line,) = errors(ENDPOINT + more, tmp_path)
    assert line.startswith(f"plugins.webhooks.{where}: ") and why in line


@pytest.mark.parametrize("secret", ["s3cr3t", "whsec_s3cr3t", "whsec_" + "s3cr3t==", ""])
def test_a_secret_that_is_none_is_refused_and_not_shown(secret: str, tmp_path: Path) -> None:
    (line,) = errors(ENDPOINT.replace(SECRET, secret), tmp_path)
    assert line.startswith("plugins.webhooks.endpoints[0].secret: ") and "s3cr3t" not in line


@pytest.mark.parametrize(
    "line",
    (
        "attempts = 0",
        "retry_for_s = -1",
        "retry_for_s = inf",
        "batch = 0",
        "batch = 1001",
        "queue = 0",
        "queue_bytes = 1",
        "concurrency = 0",
        "concurrency = 17",
        'allow_hosts = ["http://a"]',
        'allow_hosts = ["*.internal"]',
        "more = 1",
    ),
)
def test_the_limits_have_limits(line: str, tmp_path: Path) -> None:
    (error,) = errors(f"[plugins.webhooks]\n{line}\n", tmp_path)
    assert error.startswith(f"plugins.webhooks.{line.split(' ', maxsplit=1)[0]}")


def test_nothing_of_a_secret_is_shown_by_the_options_themselves(tmp_path: Path) -> None:
    options = loaded(ENDPOINT, tmp_path)
    assert SECRET[6:] not in f"{options!r} {options} {options.model_dump_json()}"
