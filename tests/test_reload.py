"""Reading the config again: what changes, what waits for a restart, and that it is all of it or nothing."""

import asyncio
import json
import logging
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from hubd import reload as module
from hubd.config import Config
from hubd.config_base import Section
from hubd.reload import Outcome, Reloader, Source, differences, needs_restart, only_by_restart, without_restart
from tests.config_files import load

SECRET = "s3cr3t-" * 10
RESTART = [
    "server.host", "server.port", "server.admin_port", "server.admin_host", "replay.saved_file", "store.url",
    "hubd.plugins", "hubd.plugin_dirs",
]  # fmt: skip


def declared() -> Iterator[tuple[str, bool]]:
    """Every option of the config's fixed tables, and whether it is declared to need a restart."""
    for name, field in Config.model_fields.items():
        section = field.get_default()
        if isinstance(section, Section):
            for key, option in type(section).model_fields.items():
                yield f"{name}.{key}", only_by_restart(option)


def test_what_needs_a_restart_is_said_in_the_one_declaration() -> None:
    assert [path for path, restart in declared() if restart] == RESTART


# Another value for every option, so that none is forgotten.
OTHER = {
    "server.host": "::1", "server.port": 1, "server.public_url": "https://hub.example.com", "server.drain_s": 1,
    "server.trusted_proxies": ["10.0.0.0/8"], "server.admin_port": 9000, "server.admin_host": "::1",
    "auth.origins": ["https://app.example.com"], "auth.query_token": True, "auth.default_topics": ["news"],
    "auth.durable_grant_s": 1, "auth.jwt": [{"algorithm": "HS256", "key": SECRET}],
    "auth.api_keys": [{"id": "a", "sha256": "ab" * 32}], "delivery.plain_ack": "never",
    "replay.saved_file": "other.rings", "store.url": "sqlite:///other.db", "log.format": "json", "log.level": "debug",
    "hubd.plugins": ["inbox"], "hubd.plugin_dirs": ["plugins"],
}  # fmt: skip


def other(path: str) -> object:
    """Another value than the default one."""
    section, key = path.split(".")
    return OTHER[path] if path in OTHER else getattr(getattr(Config(), section), key) + 3


@pytest.mark.parametrize(("path", "restart"), list(declared()), ids=[path for path, _ in declared()])
def test_an_option_is_taken_over_or_named(path: str, restart: bool, tmp_path: Path) -> None:
    wanted = load(_toml(path), tmp_path)
    assert list(differences(Config(), wanted)) == [path]
    assert list(needs_restart(Config(), wanted)) == ([path] if restart else [])
    taken = without_restart(Config(), wanted)
    assert list(differences(taken, Config() if restart else wanted)) == []


def _toml(path: str) -> str:
    value = other(path)
    if isinstance(value, list) and isinstance(value[0], dict):
        fields = "\n".join(f"{key} = {json.dumps(inner)}" for key, inner in value[0].items())
        return f"[[{path}]]\n{fields}"
    return f"{path} = {json.dumps(value)}"


def test_tables_with_names_of_their_own(tmp_path: Path) -> None:
    before = load("[types.feed]\nttl_s = 5\n[plugins.webpush]\nsubject = 'a'", tmp_path)
    after = load("[types.'a b']\nttl_s = 7\n[plugins.webpush]\nsubject = 'b'\n[plugins.fcm]\n", tmp_path)
    assert list(differences(before, after)) == ["types.feed", 'types."a b"', "plugins.webpush", "plugins.fcm"]
    assert list(needs_restart(before, after)) == ["plugins.webpush", "plugins.fcm"]
    taken = without_restart(before, after)
    assert taken.plugins == {"webpush": {"subject": "a"}}
    assert taken.type_options("a b").ttl_s == 7


def test_a_key_whose_file_has_another_content_is_another_key(tmp_path: Path) -> None:
    def pem() -> bytes:
        key = ed25519.Ed25519PrivateKey.generate()
        return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())

    text = '[[auth.jwt]]\nalgorithm = "EdDSA"\nkey_file = "jwt.pem"'
    (tmp_path / "jwt.pem").write_bytes(pem())
    before, same = load(text, tmp_path), load(text, tmp_path)
    (tmp_path / "jwt.pem").write_bytes(pem())
    assert list(differences(before, same)) == []
    assert list(differences(before, load(text, tmp_path))) == ["auth.jwt"]


# The reloader


class World:
    """A reloader over a file, and what it was made to take over."""

    def __init__(self, path: Path, text: str = "") -> None:
        self.path = path
        self.write(text)
        source = Source(path, {})
        self.applied: list[Config] = []
        self.fails = False
        self.reloader = Reloader(source, source.read(), self._apply)

    def _apply(self, config: Config) -> None:
        self.applied.append(config)
        if self.fails:
            self.fails = False
            raise RuntimeError(SECRET)

    def write(self, text: str) -> None:
        self.path.write_text(text)


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path / "config.toml", "[limits]\nping_s = 3")


async def test_a_good_config_is_taken_over(world: World, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    world.write("[limits]\nping_s = 4\n[server]\nport = 1\n[store]\nurl = 'sqlite:///x.db'")
    assert await world.reloader.reload() == Outcome(["limits.ping_s"], ["server.port", "store.url"], [])
    (config,) = world.applied
    assert (config.limits.ping_s, config.server.port) == (4, 8080)
    assert config is world.reloader.config
    assert [message.split(":")[0] for message in caplog.messages] == [
        "config_reloaded", "restart_needed", "restart_needed"
    ]  # fmt: skip
    # It is said again as long as it is so.
    assert await world.reloader.reload() == Outcome([], ["server.port", "store.url"], [])


async def test_anything_wrong_and_nothing_is_taken_over(world: World, caplog: pytest.LogCaptureFixture) -> None:
    world.write(f'[limits]\nping_s = 4\npong_s = -1\n[[auth.jwt]]\nalgorithm = "HS512"\nkey = "{SECRET[:40]}"')
    before = world.reloader.config
    outcome = await world.reloader.reload()
    assert outcome.changed == outcome.restart == []
    assert [line.split(": ")[0] for line in outcome.errors] == [f"{world.path}:4", f"{world.path}:3"]
    assert world.applied == []
    assert world.reloader.config is before
    assert [message.split(":")[0] for message in caplog.messages] == [
        "config_error", "config_error", "config_not_reloaded"
    ]  # fmt: skip
    assert SECRET[:20] not in f"{outcome} {caplog.text}"
    world.write("")
    assert (await world.reloader.reload()).changed == ["limits.ping_s"]


async def test_a_hub_that_fails_to_take_it_over_gets_the_one_before_again(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    before = world.reloader.config
    world.write("")
    world.fails = True
    outcome = await world.reloader.reload()
    assert outcome.errors == ["the hub failed to take it over; its log has the traceback"]
    assert [config.limits.ping_s for config in world.applied] == [25, 3]
    assert world.applied[-1] is world.reloader.config is before
    assert caplog.records[0].exc_info


async def test_a_pipe_cant_be_read_again(tmp_path: Path, world: World) -> None:
    """`--config <(make-config)`: at the second reading it would be empty, and all keys gone."""
    world.path.unlink()
    os.mkfifo(world.path)
    outcome = await world.reloader.reload()
    assert outcome.errors == [f"{world.path}: is no regular file, so it can't be read a second time"]
    world.path.unlink()
    assert "can't be read: No such file" in (await world.reloader.reload()).errors[0]
    assert world.applied == []


async def test_a_file_system_that_hangs_doesnt_hold_up_the_hub(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    go_on = threading.Event()

    def hang(source: Source) -> Config:
        go_on.wait(20)
        return Config()

    monkeypatch.setattr(Source, "read_again", hang)
    monkeypatch.setattr(module, "READ_S", 0.1)
    turns = 0
    reloading = asyncio.ensure_future(world.reloader.reload())
    while not reloading.done():
        await asyncio.sleep(0.01)
        turns += 1
    go_on.set()
    assert (await reloading).errors == [f"{world.path}: couldn't be read within 0.1 s"]
    assert turns > 3
    assert world.applied == []


async def test_a_file_that_is_just_being_written_is_waited_for(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its first half is a good config, without the keys that come in the second."""
    monkeypatch.setattr(module, "SETTLED_S", 0.3)
    whole = '[limits]\nping_s = 7\n[[auth.jwt]]\nalgorithm = "HS256"\nkey = "' + SECRET + '"\n'
    world.write("")
    reloading = asyncio.ensure_future(world.reloader.reload())
    for end in (20, len(whole)):
        await asyncio.sleep(0.15)
        world.write(whole[:end])
    assert await reloading == Outcome(["auth.jwt", "limits.ping_s"], [], [])
    assert len(world.applied) == 1


async def test_a_file_that_changes_while_it_is_read_is_read_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads: list[Config] = []
    read = Source.read

    def read_and_write(source: Source) -> Config:
        reads.append(read(source))
        if len(reads) == 1:
            world.write("[limits]\nping_s = 77")
        return reads[-1]

    monkeypatch.setattr(Source, "read", read_and_write)
    world.write("")
    assert (await world.reloader.reload()).changed == ["limits.ping_s"]
    assert world.applied[0].limits.ping_s == 77


async def test_a_file_that_never_comes_to_rest(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SETTLED_S", 0.001)
    numbers = iter(range(1000))
    monkeypatch.setattr(module, "_stamp", lambda path: next(numbers))
    assert "is being written all the time" in (await world.reloader.reload()).errors[0]
    assert world.applied == []


async def test_one_after_the_other(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    at_work = 0

    def read(source: Source) -> Config:
        nonlocal at_work
        at_work += 1
        threading.Event().wait(0.02)
        assert at_work == 1
        at_work -= 1
        return source.read()

    monkeypatch.setattr(Source, "read_again", read)
    outcomes = await asyncio.gather(*(world.reloader.reload() for _ in range(5)))
    assert outcomes == [Outcome([], [], [])] * 5


async def test_flags_and_environment_count_as_at_the_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "config.toml"
    path.write_text("[server]\nport = 1\n[limits]\nping_s = 1\npong_s = 1")
    monkeypatch.setenv("HUBD_LIMITS__PONG_S", "2")
    source = Source(path, {"server.port": 3})
    applied: list[Config] = []
    reloader = Reloader(source, source.read(), applied.append)
    path.write_text("[server]\nport = 5\n[limits]\nping_s = 5\npong_s = 5")
    assert await reloader.reload() == Outcome(["limits.ping_s"], [], [])
    config = applied[0]
    assert (config.server.port, config.limits.ping_s, config.limits.pong_s) == (3, 5, 2)
