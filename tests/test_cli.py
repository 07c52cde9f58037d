"""The command line, as real processes."""

import hashlib
import re
import subprocess
import sys
import time
import tomllib
from pathlib import Path

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from hubd.config import default_config_text
from tests.command import Done, environment, hubd


def test_help_teaches() -> None:
    done = hubd("--help")
    assert done.code == 0
    assert "hubd serve --dev" in done.out
    assert "hubd default-config > config.toml" in done.out
    assert "Exit codes" in done.out
    assert hubd("-h").out == done.out


def test_help_loads_nothing_heavy() -> None:
    code = "import sys, hubd.cli; print([m for m in ('aiohttp', 'pydantic', 'asyncio', 'jwt') if m in sys.modules])"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment(), timeout=30)
    assert ended.stdout == "[]\n"


def test_the_version_is_told() -> None:
    assert re.fullmatch(r"hubd \d+\.\d+\.\d+\n", hubd("--version").out)


@pytest.mark.parametrize(
    "arguments",
    [
        ["nonsense"],
        ["serve", "--port", "x"],
        ["serve", "--port", "70000"],
        ["gen-key", "api"],
        ["gen-token"],
        ["gen-key", "nonsense"],
        ["reload", "--pid", "x"],
        ["plugins", "all"],
    ],
)
def test_wrong_usage_ends_with_2(arguments: list[str]) -> None:
    done = hubd(*arguments)
    assert (done.code, done.out) == (2, "")


def test_default_config_prints_the_file_and_check_config_likes_it(tmp_path: Path) -> None:
    done = hubd("default-config")
    assert (done.code, done.out, done.err) == (0, default_config_text(), "")
    (tmp_path / "config.toml").write_text(done.out)
    for arguments in (["config.toml"], ["--config", "config.toml"]):
        assert hubd("check-config", *arguments, cwd=tmp_path) == Done(0, "config.toml is fine\n", "")


def test_check_config_lists_everything_that_is_wrong(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text('[server]\nport = "x"\n[limits]\npings = 1')
    done = hubd("check-config", "config.toml", cwd=tmp_path, HUBD_LIMITS__PONG_S="never")
    assert (done.code, done.out) == (1, "")
    assert [line.rpartition(": ")[0] for line in done.err.splitlines()] == [
        "environment HUBD_LIMITS__PONG_S: limits.pong_s: give it as JSON",
        "config.toml:2: server.port",
        "config.toml:4: limits.pings",
    ]


def test_check_config_notes_what_has_no_effect_and_says_what_it_read(tmp_path: Path) -> None:
    done = hubd("check-config", cwd=tmp_path, HUBD_TYPES__DEFAULT__TOAST="false")
    assert done.code == 0
    assert "no --config was given" in done.out
    assert done.err == "note: types.default.toast is not used by this version\n"


def test_check_config_notes_a_key_that_others_can_read(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text('[[auth.jwt]]\nalgorithm = "HS256"\nkey_file = "jwt.key"')
    (tmp_path / "jwt.key").write_text("k" * 40)
    for mode, note in (
        (0o644, "note: auth.jwt[0].key_file: others on this machine can read this file (chmod o-r)\n"),
        (0o640, ""),
    ):
        (tmp_path / "jwt.key").chmod(mode)
        assert hubd("check-config", "config.toml", cwd=tmp_path) == Done(0, "config.toml is fine\n", note)


@pytest.mark.parametrize(
    ("command", "taught"),
    [
        ("serve", "end at once, with 130"),
        ("reload", "nobody is disconnected"),
        ("check-config", "Lists everything that is wrong"),
        ("default-config", "every option"),
        ("gen-key", "vapid"),
        ("gen-token", "[[auth.jwt]]"),
        ("publish", "hubd publish --stdin"),
        ("explain", "what plugins said of it"),
        ("plugins", "in which they are called"),
    ],
)
def test_the_help_of_every_command_teaches(command: str, taught: str) -> None:
    done = hubd(command, "--help")
    assert (done.code, done.err) == (0, "")
    assert taught in done.out
    assert f"  {command} " in hubd("--help").out


def test_a_config_that_isnt_there_is_one_line_and_1() -> None:
    for command in ("serve", "check-config"):
        assert hubd(command, "--config", "/nowhere/config.toml") == Done(
            1, "", "/nowhere/config.toml: can't be read: No such file or directory\n"
        )


def test_gen_key_api_prints_a_key_and_a_table_that_fit_together(tmp_path: Path) -> None:
    done = hubd(
        "gen-key", "api", "--id", "back_end", "--rights", "publish,admin", "--channels", "team:**,notifications"
    )
    assert (done.code, done.err) == (0, "")
    key, table = done.out.split("\n", 1)
    secret = re.fullmatch(r"hub_back_end_([0-9a-f]+)", key)
    assert secret is not None
    assert len(secret[1]) * 4 >= 256
    assert tomllib.loads(table)["auth"]["api_keys"] == [
        {
            "id": "back_end",
            "sha256": hashlib.sha256(key.encode()).hexdigest(),
            "rights": ["publish", "admin"],
            "channels": ["team:**", "notifications"],
        }
    ]
    assert key not in table
    (tmp_path / "config.toml").write_text(default_config_text() + table)
    assert hubd("check-config", "config.toml", cwd=tmp_path).code == 0
    assert hubd("gen-key", "api", "--id", "back_end").out.split("\n")[0] != key


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--id", "a b"], "--id"),
        (["--id", "a", "--rights", "root"], "--rights"),
        (["--id", "a", "--channels", "a::b"], "--channels"),
    ],
)
def test_gen_key_api_makes_no_key_that_the_config_would_refuse(arguments: list[str], named: str) -> None:
    done = hubd("gen-key", "api", *arguments)
    assert (done.code, done.out) == (2, "")
    assert named in done.err


@pytest.fixture
def signing_config(tmp_path: Path) -> Path:
    """A config with a fresh key, made the way the help says: appended to the default one."""
    path = tmp_path / "config.toml"
    path.write_text(hubd("default-config").out + hubd("gen-key", "jwt").out)
    return path


def test_gen_key_jwt_and_gen_token_fit_together(signing_config: Path) -> None:
    key = tomllib.loads(signing_config.read_text())["auth"]["jwt"][0]["key"]
    assert len(key) >= 64
    before = int(time.time())
    done = hubd("gen-token", "--config", str(signing_config), "--user", "42", "--ttl", "60")
    assert (done.code, done.err) == (0, "")
    claims = jwt.decode(done.out.strip(), key, algorithms=["HS256"])
    assert set(claims) == {"sub", "iat", "exp"}
    assert claims["sub"] == "42"
    assert before <= claims["iat"] <= time.time()
    assert claims["exp"] == claims["iat"] + 60


def test_gen_token_carries_what_was_asked_for(signing_config: Path) -> None:
    signing_config.write_text(signing_config.read_text() + 'issuer = "https://id.example.com"\naudience = "hubd"\n')
    done = hubd(
        "gen-token", "--user", "42", "--topics", "team:*, news", "--publish", "chat:**", "--max-priority", "important",
        HUBD_CONFIG=str(signing_config),
    )  # fmt: skip
    claims = jwt.decode(done.out.strip(), options={"verify_signature": False})
    wanted = {"topics": ["team:*", "news"], "publish": ["chat:**"], "max_priority": "important"}
    assert claims.items() >= (wanted | {"iss": "https://id.example.com", "aud": "hubd"}).items()
    none = hubd("gen-token", "--user", "42", "--topics", "", "--config", str(signing_config))
    assert jwt.decode(none.out.strip(), options={"verify_signature": False})["topics"] == []


def test_gen_token_signs_with_the_first_key_that_can(signing_config: Path) -> None:
    public = Ed25519PrivateKey.generate().public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    verifying = f'[[auth.jwt]]\nalgorithm = "EdDSA"\nkey = """{public.decode()}"""\n'
    only_public = signing_config.with_name("public.toml")
    only_public.write_text(verifying)
    signing_config.write_text(verifying + hubd("gen-key", "jwt").out)
    token = hubd("gen-token", "--user", "42", "--config", str(signing_config)).out.strip()
    assert jwt.get_unverified_header(token)["alg"] == "HS256"
    done = hubd("gen-token", "--user", "42", "--config", str(only_public))
    assert (done.code, done.out, len(done.err.splitlines())) == (1, "", 1)
    assert "gen-key jwt" in done.err


def test_gen_token_refuses_what_the_hub_would(signing_config: Path) -> None:
    for arguments in (
        ["--user", "a b"],
        ["--user", ""],
        ["--user", "42", "--topics", "a::b"],
        ["--user", "1", "--ttl", "0"],
    ):
        done = hubd("gen-token", "--config", str(signing_config), *arguments)
        assert (done.code, done.out) == (2, "")


def test_serve_hands_on_config_and_flags_and_gives_the_servers_exit_code(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text('[server]\nhost = "127.0.0.2"\nport = 1\n[limits]\nping_s = 3')
    stand_in = (
        "import sys, types; module = types.ModuleType('hubd.server'); sys.modules['hubd.server'] = module\n"
        "def serve(source, config, dev):\n"
        "    print(config.server.host, config.server.port, config.limits.ping_s, dev, source.read() == config)\n"
        "    return 7\n"
        "module.serve = serve; from hubd.cli import main; main()"
    )
    for flags, printed in (
        ([], "127.0.0.1 8080 25 False True\n"),
        (["--config", "config.toml"], "127.0.0.2 1 3 False True\n"),
        (["--config", "config.toml", "--dev", "--host", "::1", "--port", "0"], "::1 0 3 True True\n"),
    ):
        ended = subprocess.run(
            [sys.executable, "-c", stand_in, "serve", *flags],
            capture_output=True, text=True, timeout=30, cwd=tmp_path, env=environment(),
        )  # fmt: skip
        assert (ended.returncode, ended.stdout) == (7, printed), ended.stderr
