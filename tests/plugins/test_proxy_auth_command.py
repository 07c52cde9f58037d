"""`hubd proxy-auth check`: what it asks, what it prints, and how it ends."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from click.testing import CliRunner
from hubd_proxy_auth import ProxyAuth
from hubd_proxy_auth.command import group_for

from tests.command import Done, hubd
from tests.plugins.application import SECRET, Application, application, options


@pytest.fixture
async def app() -> AsyncIterator[Application]:
    async with application() as made:
        yield made


@pytest.fixture
def config(app: Application) -> ProxyAuth.Config:
    given = options(app, secret=SECRET, forward_query=["session"], timeout_s=1)
    return ProxyAuth.Config.model_validate(given)


async def check(config: ProxyAuth.Config, *arguments: str) -> Done:
    """Run it in a thread, as it has a loop of its own."""
    run = await asyncio.to_thread(CliRunner().invoke, group_for(config), ["check", *arguments])
    assert run.exception is None or isinstance(run.exception, SystemExit), run.exception
    return Done(run.exit_code, run.stdout, run.stderr)


async def test_as_a_command_of_hubd(app: Application, tmp_path: Path) -> None:
    path = tmp_path / "hubd.toml"
    path.write_text(f'[plugins.proxy_auth]\nurl = "{app.url}"\nallow_hosts = ["127.0.0.1"]\n')
    command = ("--config", str(path), "proxy-auth", "check", "--header", "Cookie: session=s7")
    done = await asyncio.to_thread(hubd, *command)
    assert (done.code, done.err) == (0, "") and done.out.startswith("known: user 7\n")


async def test_who_is_known(app: Application, config: ProxyAuth.Config) -> None:
    app.users["s7"] = {"user": "7", "topics": ["team:*", "news"], "tags": ["staff"], "expires_in": 600}
    done = await check(config, "--header", "Cookie: session=s7")
    assert (done.code, done.err) == (0, "")
    assert done.out.splitlines() == [
        "known: user 7",
        "topics: team:*, news",
        "publish: none, up to priority important",
        "tags: staff",
        "expires: in 600 s",
    ]
    assert f"Authorization: Bearer {SECRET}" in app.heads[0]
    assert app.asked == [{"token": None, "headers": {"cookie": "session=s7"}, "query": {}, "address": "127.0.0.1"}]


async def test_all_that_a_client_can_bring(app: Application, config: ProxyAuth.Config) -> None:
    done = await check(
        config, "--header", "authorization: Bearer s7", "--query", "session=a=b", "--address", "127.0.0.9"
    )
    assert done.code == 0 and "expires: never" in done.out
    assert app.asked == [
        {
            "token": "s7",
            "headers": {"authorization": "Bearer s7"},
            "query": {"session": "a=b"},
            "address": "127.0.0.9",
        }
    ]
    assert (await check(config, "--token", "s7")).code == 0


async def test_who_isnt_let_in(app: Application, config: ProxyAuth.Config) -> None:
    done = await check(config, "--header", "Cookie: session=wrong")
    assert (done.code, done.out) == (1, "denied: log in again\n")
    app.answer = (204, None)
    done = await check(config, "--header", "Cookie: session=wrong")
    assert (done.code, done.out) == (1, "not known here: the hub's own tokens are tried next\n")


async def test_one_that_cant_be_asked(app: Application, config: ProxyAuth.Config) -> None:
    app.answer = (200, {"user": 7})
    done = await check(config, "--token", "s7")
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith("can't be used: user: has to be a text")
    await app.stop()
    done = await check(config, "--token", "s7")
    assert (done.code, done.err) == (2, "can't be used: connection refused\n")
    await app.start()


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["--header", "User-Agent: x"], "nothing of this is passed on"),
        ([], "nothing of this is passed on"),
        (["--header", "nonsense"], "--header"),
        (["--query", "nonsense"], "--query"),
    ],
)
async def test_what_cant_be_asked(config: ProxyAuth.Config, app: Application, arguments: list[str], why: str) -> None:
    done = await check(config, *arguments)
    assert done.code == 2 and why in done.err and "Traceback" not in done.err
    assert app.asked == []
