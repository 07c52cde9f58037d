"""The config: any file and any environment either are refused line by line, without secrets, or count as they stand.

An input is the file's text, then a line "%%", then the variables, a line each.
"""

import io
import json
import re
import tomllib
from collections.abc import Iterator, Mapping
from functools import cache, lru_cache
from pathlib import Path
from random import Random
from typing import Any

from hubd.config import Config, ConfigError, default_config_text, load_config
from tests.fuzz import mutation
from tests.fuzz.rules.documents import texts
from tests.fuzz.target import Target, timed

BETWEEN = b"\n%%\n"
PLAIN = ("server", "limits", "replay", "delivery", "store", "hubd")
"""Tables that take values as they are; those of `auth` are put into the form that browsers and keys have."""
NORMALISED = {("server", "public_url"), ("server", "trusted_proxies")}
SHORTEST_SECRET = 12
_SECRET_LINE = re.compile(r'(?m)^[ \t]*(?:key|sha256|url)[ \t]*=[ \t]*"([^"\\\n]{12,})"')
_KEYS_VARIABLE = re.compile(r"HUBD_AUTH__(JWT|API_KEYS)")
_SECRET_VARIABLE = re.compile(r"HUBD_STORE__URL|HUBD_PLUGINS__[^_]+__[^_]+")
SECRET = "s3cr3t-s3cr3t-s3cr3t-s3cr3t-s3cr3t-s3cr3t-s3cr3t"
DIGEST = "0123456789abcdef" * 4
KEYS = (
    *Config.model_fields,
    *(name for table in Config.model_fields.values() for name in getattr(table.annotation, "model_fields", ())),
    "default", "alert", "priority", "persistence", "ttl_s", "algorithm", "key", "key_file", "jwks_url", "id", "sha256",
    "rights", "channels", "webpush", "subject", "a.b", 'x"y', "line\nbreak", "",
)  # fmt: skip
WORDS = (
    "127.0.0.1", "::1", "0.0.0.0", "10.0.0.0/8", "10.0.0.1/8", "localhost", "https://app.example.com",
    "http://[::1]:80", "https://a:99999", "https://u@h", "javascript:alert(1)", "HS256", "RS256", "EdDSA", "none",
    "publish", "admin", "**", "team:*", "user:*", "alive", "written", "critical", "ephemeral", "persistent", "sqlite:///x.db",
    "webpush", SECRET, DIGEST, "postgresql://hubd:pa55word-pa55word@db/hubd",
    "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----",
    "missing.key", "..", "\x00",
)  # fmt: skip


@cache
def default_text() -> str:
    return default_config_text()


class Unwritten(type(Path())):  # type: ignore[misc] # the class of paths of this system
    """The path of a file that exists in here alone: writing each to a disk would take longer than all else."""

    content = b""

    def read_text(self, encoding: str | None = None, errors: str | None = None) -> str:
        return io.TextIOWrapper(io.BytesIO(self.content), encoding, errors).read()


def take(data: bytes) -> None:
    text, environ = split(data)
    path = Unwritten("config.toml")
    path.content = text
    try:
        config = timed(load_config, path, environ)
    except ConfigError as error:
        assert error.lines and all(error.lines)
        told = "\n".join(error.lines)
        assert [line for line in error.lines if "\n" in line or "\r" in line] == []
    else:
        told = repr(config) + "\n".join(config.unused_settings())
        check_values(config, parsed(text) or {}, environ)
    for secret in secrets(text, environ):
        assert secret not in told, f"tells the secret {secret!r}"


def split(data: bytes) -> tuple[bytes, dict[str, str]]:
    """The file and the environment of an input."""
    text, _, rest = data.partition(BETWEEN)
    lines = rest.decode("utf-8", "surrogateescape").replace("\x00", "").splitlines()
    return text, dict(line.split("=", 1) for line in lines if "=" in line)


@lru_cache(maxsize=1000)
def parsed(text: bytes) -> dict[str, Any] | None:
    """The file's tables, not to be changed; None where it isn't TOML."""
    try:
        return tomllib.loads(text.decode().replace("\r\n", "\n").replace("\r", "\n"))  # as text files are read
    except (ValueError, RecursionError):
        return None


def check_values(config: Config, given: dict[str, Any], environ: Mapping[str, str]) -> None:
    """What counts is what was given, environment before file before default, and within its bounds."""
    ours = {name.removeprefix("HUBD_"): value for name, value in environ.items() if name.startswith("HUBD_")}
    by_variable = {tuple(name.lower().split("__")): value for name, value in ours.items()}
    for table in PLAIN:
        section = getattr(config, table)
        for name, field in type(section).model_fields.items():
            value = getattr(section, name)
            if (table, name) in by_variable:
                wanted = by_variable[table, name]
                wanted = wanted if isinstance(value, str) else json.loads(wanted)
            else:
                wanted = given.get(table, {}).get(name, field.get_default())
            if (table, name) not in NORMALISED:
                assert value == (tuple(wanted) if isinstance(wanted, list) else wanted) or same(value, wanted), name
            if isinstance(value, int | float):
                assert value >= 0 and value == value
    assert 0 <= config.server.port <= 65535
    assert 2 <= config.limits.json_depth <= 100 and config.limits.queue_bytes >= 1024
    assert "default" in config.types
    for options in config.types.values():
        assert (options.priority, options.persistence) != ("critical", "ephemeral")
    for entry in config.auth.api_keys:
        assert re.fullmatch("[0-9a-f]{64}", entry.sha256) and re.fullmatch("[A-Za-z0-9._-]{1,64}", entry.id)
        assert entry.rights
    for key in config.auth.jwt:
        assert [bool(key.key.get_secret_value()), bool(key.key_file), bool(key.jwks_url)].count(True) == 1
        if key.key.get_secret_value() and key.algorithm.startswith("HS"):
            assert len(key.key.get_secret_value().encode()) * 8 >= int(key.algorithm[2:])


def same(value: Any, wanted: Any) -> bool:
    """Whether they are the same number of seconds, as far as a float tells very large ones apart."""
    return isinstance(value, int | float) and float(value) == float(wanted)


def secrets(text: bytes, environ: Mapping[str, str]) -> set[str]:
    """The long texts that stand at the places of secrets, and nowhere else."""
    given = parsed(text)
    if given is None:
        return set(_SECRET_LINE.findall(text.decode("utf-8", "replace")))
    hidden = {secret for secret in _hidden(given) if len(secret) >= SHORTEST_SECRET}
    open_ = [default_text(), *_open(given)]
    for name, value in environ.items():
        if (table := _KEYS_VARIABLE.fullmatch(name)) and isinstance(entries := _json(value), list):
            hidden |= set(_hidden({"auth": {table[1].lower(): entries}}))
            open_ += _open({table[1].lower(): entries})
        elif table or _SECRET_VARIABLE.fullmatch(name):
            hidden.add(value)
        else:
            open_ += [name, value]
    told = "\n".join(open_)
    return {secret for secret in hidden if len(secret) >= SHORTEST_SECRET and secret not in told}


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _hidden(given: Mapping[str, Any]) -> Iterator[str]:
    auth, store = given.get("auth"), given.get("store")
    for table, secret in (("jwt", "key"), ("api_keys", "sha256")):
        entries = auth.get(table) if isinstance(auth, dict) else None
        for entry in entries if isinstance(entries, list) else ():
            if isinstance(entry, dict) and isinstance(entry.get(secret), str):
                yield entry[secret]
    if isinstance(store, dict) and isinstance(store.get("url"), str):
        yield store["url"]


def _open(given: Mapping[str, Any]) -> Iterator[str]:
    """All other texts and all names: what may well be told."""
    places: list[Any] = [given]
    for place in places:
        if isinstance(place, list):
            places += place
        elif isinstance(place, dict):
            yield from place
            places += [value for name, value in place.items() if name not in ("key", "sha256", "url")]
        else:
            yield from texts(place)


def mutate(data: bytes, random: Random) -> bytes:
    text, environ = split(data)
    tree = parsed(text) or parsed(EXAMPLES[0].encode()) or {}
    for _ in range(random.choice((0, 1, 1, 2, 3))):
        grown = mutation.change_tree(tree, random, KEYS, WORDS)
        tree = grown if isinstance(grown, dict) else tree
    if random.random() < 0.4:
        name = "__".join(random.choice(KEYS) for _ in range(random.choice((1, 2, 2, 2, 3))))
        name = random.choice((f"HUBD_{name.upper()}", *environ))
        value = random.choice((*WORDS, json.dumps(random.choice(mutation.SCALARS)), '["a"]', "[[", "1" * 5000))
        environ[name] = mutation.change_text(value, random, WORDS) if random.random() < 0.3 else value
    lines = "\n".join(f"{name}={value}" for name, value in environ.items()).encode("utf-8", "surrogateescape")
    try:
        changed = "\n".join(write_toml(tree, random)).encode("utf-8", "surrogateescape")
    except RecursionError:  # what tomllib could just read is too deep to be written like this
        changed = text
    return changed + BETWEEN + lines


def write_toml(tree: dict[str, Any], random: Random) -> Iterator[str]:
    """The tree as TOML: a table a section, everything deeper in one line; now and then what TOML doesn't allow."""
    tables = {name: value for name, value in tree.items() if isinstance(value, dict)}
    yield from (f"{_key(name)} = {_inline(value)}" for name, value in tree.items() if name not in tables)
    for name, table in tables.items():
        yield f"[{_key(name)}]"
        for key, value in table.items():
            line = f"{_key(key)} = {_inline(value)}"
            yield line
            if random.random() < 0.01:
                yield line


def _key(name: str) -> str:
    return name if re.fullmatch("[A-Za-z0-9_-]+", name) else _inline(str(name))


def _inline(value: Any) -> str:
    match value:
        case dict():
            return "{" + ", ".join(f"{_key(str(name))} = {_inline(one)}" for name, one in value.items()) + "}"
        case list():
            return "[" + ", ".join(map(_inline, value)) + "]"
        case bool() | str():
            return json.dumps(value).replace("\x7f", "\\u007f")
        case None:
            return "1979-05-27"
    return repr(value)


EXAMPLES = (
    """
[server]
host = "::1"
port = 9000
public_url = "https://hub.example.com"
trusted_proxies = ["10.0.0.0/8"]
[auth]
origins = ["https://app.example.com"]
default_topics = ["news:*"]
""",
    f"""
[[auth.jwt]]
algorithm = "HS256"
key = "{SECRET}"
[[auth.api_keys]]
id = "backend"
sha256 = "{DIGEST}"
rights = ["publish", "admin"]
channels = ["team:**"]
""",
    """
[types.default]
priority = "informational"
[types.alert]
priority = "critical"
persistence = "persistent"
[store]
url = "postgresql://hubd:pa55word-pa55word@db/hubd"
[plugins.webpush]
subject = "mailto:ops@example.com"
""",
    '[auth]\njwt = [{algorithm = "HS512", key = "too-short-secret"}, {algorithm = "RS256", key_file = "missing.pem"}]',
    f'[[auth.api_keys]]\nid = "a"\nsha256 = "{SECRET}"\n[store]\nurl = "mysql://hubd:pa55word-pa55word@db/hubd"',
    '[limits]\nping_s = 2.5\nper_user = 0\njson_depth = 101\nunknown = 1\n[servr]\nport = "80"',
    "[server\nport = 1",
    f"[server]\nport = {'1' * 4400}",
)
ENVIRONMENTS = (
    "", "HUBD_SERVER__PORT=0\nHUBD_LIMITS__PING_S=2.5\nHUBD_SERVER__HOST=::1\nHUBD_URL=x",
    f'HUBD_AUTH__JWT=[{{"algorithm": "HS256", "key": "{SECRET}"}}]\nHUBD_AUTH__ORIGINS=["https://a.example"]',
    'HUBD_TYPES__ALERT__PRIORITY=urgent\nHUBD_PLUGINS__WEBPUSH__KEY=pa55word-pa55word-2\nHUBD_HUBD__PLUGINS=["a"]',
)  # fmt: skip


def seeds() -> list[bytes]:
    """Some files in some environments, and the tables of the generated file with their examples."""
    lines = [line.removeprefix("#") for line in default_text().splitlines() if line and not line.startswith("# ")]
    tables = re.split(r"(?m)^(?=\[)", "\n".join(lines))
    return [file.encode() + BETWEEN + named.encode() for file in (*EXAMPLES, *tables) for named in ENVIRONMENTS]


TARGET = Target("config", take, seeds, mutate, (*KEYS, *WORDS), max_bytes=5000)
