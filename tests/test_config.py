"""The config: what is taken from where, and that everything wrong is told at once, with its place, without secrets."""

import json
import re
import tomllib
from pathlib import Path

import pytest
from pydantic import ValidationError

from hubd.config import Config, ConfigError, Limits, default_config_text, load_config
from tests.config_files import errors, load

SECRET = "s3cr3t-" * 10


def environment_errors(**environ: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load_config(None, environ)
    return caught.value.lines


# The defaults and the generated file


def test_without_anything_the_protocols_defaults_count() -> None:
    config = load_config(None, {})
    assert (config.server.host, config.server.port, config.server.drain_s) == ("127.0.0.1", 8080, 30)
    assert (config.auth.origins, config.auth.query_token, config.auth.durable_grant_s) == ((), False, 2592000)
    assert config.limits.model_dump() == {
        "message_bytes": 32768, "body_bytes": 4194304, "frame_bytes": 65536, "frames_per_s": 100, "json_depth": 16,
        "json_keys": 256, "connections": 0, "per_user": 20, "per_ip": 1000, "unauthenticated": 500,
        "subscriptions": 100, "queue_bytes": 262144, "auth_s": 5, "ping_s": 25, "pong_s": 10, "publish_per_s": 0,
        "id_window_s": 86400, "id_entries": 1000000, "scheduled": 100000, "scheduled_bytes": 268435456,
    }  # fmt: skip
    assert config.replay.model_dump() == {
        "per_channel": 100, "ttl_s": 300, "max_bytes": 268435456, "saved_file": ""
    }  # fmt: skip
    assert config.delivery.model_dump() == {
        "push_delay_s": 7, "grace_s": 5, "attention_ttl_s": 1800, "plain_ack": "alive",
        "open_entries": 100000, "open_bytes": 268435456, "explain_s": 86400, "explain_bytes": 67108864,
    }  # fmt: skip
    assert config.types["default"].model_dump() == {
        "priority": "important", "persistence": "bufferable", "ttl_s": 86400, "batch_s": 0, "toast": True,
    }  # fmt: skip
    assert config.store.url == "sqlite:///hubd.db"
    assert config.hubd.plugins == ()


def test_the_generated_file_loads_to_the_defaults_and_warns_of_nothing(tmp_path: Path) -> None:
    config = load(default_config_text(), tmp_path)
    assert config == Config()
    assert config.unused_settings() == []


def test_the_generated_file_has_every_option_with_a_comment() -> None:
    lines = default_config_text().splitlines()
    sections = [field.get_default() for name, field in Config.model_fields.items() if name not in ("types", "plugins")]
    tables = [Config().types["default"], *sections]
    options = {name for table in tables for name in type(table).model_fields} - {"jwt", "api_keys"}
    at = {line.split(" = ")[0]: place for place, line in enumerate(lines) if " = " in line and line[0] not in "#["}
    assert set(at) == options
    assert [name for name, place in at.items() if not lines[place - 1].startswith("# ")] == []


def test_the_examples_in_the_generated_file_are_toml_with_known_keys(tmp_path: Path) -> None:
    text = "\n".join(
        line[1:] if line.startswith("#") and not line.startswith("# ") else line
        for line in default_config_text().splitlines()
    )
    raw = tomllib.loads(text)
    assert set(raw["auth"]["jwt"][0]) == {"algorithm", "key", "key_file", "jwks_url", "issuer", "audience"}
    assert raw["types"]["security_alert"] == {"priority": "critical", "persistence": "persistent"}
    wrong = errors(text, tmp_path)
    assert not any("unknown key" in line for line in wrong)
    # Nobody runs on the example's keys by mistake: they are refused, and nothing else is.
    assert len(wrong) == 2
    assert wrong[0].startswith("config.toml: auth.jwt[0]: give exactly one")
    assert wrong[1].startswith("config.toml: auth.api_keys[0].sha256: ")


def test_comments_tell_what_is_not_used_yet() -> None:
    unused, comment = [], ""
    for line in default_config_text().splitlines():
        if line.startswith("# "):
            comment += line.removeprefix("#")
        else:
            if "Not used yet." in comment and " = " in line and not line.startswith("#"):
                unused.append(line.split(" = ")[0])
            comment = ""
    assert unused == ["batch_s", "toast"]


# Where values come from


def test_file_then_environment_then_overrides(tmp_path: Path) -> None:
    text = "[limits]\nping_s = 1\npong_s = 1\nauth_s = 1"
    environ = {"HUBD_LIMITS__PONG_S": "2", "HUBD_LIMITS__AUTH_S": "2"}
    limits = load(text, tmp_path, environ, limits__auth_s=3).limits
    assert (limits.ping_s, limits.pong_s, limits.auth_s) == (1, 2, 3)


def test_every_kind_of_option_can_be_set_in_the_environment() -> None:
    config = load_config(
        None,
        {
            "HUBD_SERVER__HOST": "::1",
            "HUBD_SERVER__PORT": "0",
            "HUBD_SERVER__PUBLIC_URL": "https://hub.example.com",
            "HUBD_AUTH__QUERY_TOKEN": "true",
            "HUBD_AUTH__ORIGINS": '["https://app.example.com"]',
            "HUBD_AUTH__JWT": json.dumps([{"algorithm": "HS256", "key": SECRET}]),
            "HUBD_LIMITS__PING_S": "2.5",
            "HUBD_DELIVERY__PLAIN_ACK": "written",
            "HUBD_TYPES__DEFAULT__PRIORITY": "informational",
            "HUBD_TYPES__FEED__TTL_S": "60",
            "HUBD_HUBD__PLUGINS": '["webpush"]',
            "HUBD_PLUGINS__WEBPUSH__SUBJECT": "mailto:ops@example.com",
        },
    )
    assert (config.server.host, config.server.port, config.server.public_url) == ("::1", 0, "https://hub.example.com")
    assert config.auth.query_token is True
    assert config.auth.origins == ("https://app.example.com",)
    assert config.auth.jwt[0].key.get_secret_value() == SECRET
    assert config.limits.ping_s == 2.5
    assert config.delivery.plain_ack == "written"
    assert (config.types["feed"].priority, config.types["feed"].ttl_s) == ("informational", 60)
    assert config.hubd.plugins == ("webpush",)
    assert config.plugins == {"webpush": {"subject": "mailto:ops@example.com"}}


def test_seconds_may_be_fractions_and_stay_whole_where_they_are(tmp_path: Path) -> None:
    limits = load("[limits]\nping_s = 2.0\npong_s = 0.25\nauth_s = 3", tmp_path).limits
    assert [str(value) for value in (limits.ping_s, limits.pong_s, limits.auth_s)] == ["2", "0.25", "3"]


def test_other_peoples_variables_are_let_be() -> None:
    environ = {"HUBD_URL": "http://hub", "HUBD_KEY": "x", "HUBD_PORT": "tcp://10.0.0.1:80", "PATH": "/bin", "A__B": "c"}
    assert load_config(None, environ) == Config()


def test_a_variable_that_means_nothing_is_an_error() -> None:
    assert environment_errors(HUBD_LIMITS__PINGS="1", HUBD_LIMIT__PING_S="1", HUBD_LIMITS__="1", HUBD___="1") == [
        'environment HUBD_LIMITS__: limits."": unknown key',
        "environment HUBD_LIMITS__PINGS: limits.pings: unknown key; did you mean ping_s?",
        "environment HUBD_LIMIT__PING_S: limit: unknown key; did you mean limits?",
        'environment HUBD___: "": unknown key',
    ]


def test_an_error_names_the_variable_or_the_command_line_it_comes_from(tmp_path: Path) -> None:
    lines = errors("[limits]\nping_s = -1", tmp_path, {"HUBD_LIMITS__PONG_S": "-1", "HUBD_AUTH__ORIGINS": "x"})
    assert lines[0].startswith("environment HUBD_AUTH__ORIGINS: auth.origins: give it as JSON")
    assert lines[1] == "config.toml: limits.ping_s: has to be more than 0"
    assert lines[2] == "environment HUBD_LIMITS__PONG_S: limits.pong_s: has to be more than 0"
    with pytest.raises(ConfigError, match="^command line: server.host: give an IP address or a host name"):
        load_config(None, {}, {"server.host": "http://x"})


def test_a_value_where_a_table_belongs_stays_the_error(tmp_path: Path) -> None:
    assert errors("limits = 3", tmp_path, {"HUBD_LIMITS__PING_S": "1"}) == [
        "config.toml: limits: has to be a table",
    ]


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"[limits\n", "isn't TOML"),
        (b"a = 1\na = 2", "isn't TOML"),
        (b"[limits]\nper_user = " + b"1" * 5000, "isn't TOML"),
        (b"x = " + b"[" * 100000, "isn't TOML"),
        (b"# \xff", "isn't UTF-8"),
    ],
)
def test_a_file_that_cant_be_parsed(content: bytes, told: str, tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        load_config(path, {})
    assert len(caught.value.lines) == 1
    assert re.fullmatch(rf"{path}(:\d+)?: {told}.*", caught.value.lines[0])


def test_a_file_that_cant_be_read(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="none.toml: can't be read: No such file"):
        load_config(tmp_path / "none.toml", {})
    with pytest.raises(ConfigError, match="can't be read: Is a directory"):
        load_config(tmp_path, {})


# What is refused


def test_everything_wrong_is_told_at_once(tmp_path: Path) -> None:
    text = """
        [server]
        port = "8080"
        hots = "x"
        [limits]
        json_depth = 2.5
        per_user = true
        [delivery]
        plain_ack = "sometimes"
        [[auth.api_keys]]
        id = "a"
        [nonsense]
        [types.default]
        prio = "critical"
    """
    assert sorted(errors(text, tmp_path)) == [
        "config.toml: auth.api_keys[0].sha256: is missing",
        "config.toml: delivery.plain_ack: has to be 'alive', 'written' or 'never'",
        "config.toml: limits.json_depth: has to be a whole number, without quotes",
        "config.toml: limits.per_user: has to be a whole number, without quotes",
        "config.toml: nonsense: unknown key",
        "config.toml: server.hots: unknown key; did you mean host?",
        "config.toml: server.port: has to be a whole number, without quotes",
        "config.toml: types.default.prio: unknown key; did you mean priority?",
    ]


@pytest.mark.parametrize(
    ("setting", "path"),
    [
        ("server.port = 65536", "server.port"),
        ("server.port = -1", "server.port"),
        ('server.host = "127.0.0.1:80"', "server.host"),
        ('server.host = ""', "server.host"),
        ('server.host = "[::1]"', "server.host"),
        ('server.public_url = "hub.example.com"', "server.public_url"),
        ('server.public_url = "https://hub.example.com/"', "server.public_url"),
        ('server.trusted_proxies = ["10.0.0.1/8"]', "server.trusted_proxies[0]"),
        ("server.drain_s = -1", "server.drain_s"),
        ("auth.query_token = 1", "auth.query_token"),
        ('auth.default_topics = "news"', "auth.default_topics"),
        ('auth.default_topics = ["ok", "a::b"]', "auth.default_topics[1]"),
        ('auth.default_topics = ["user:*"]', "auth.default_topics[0]"),
        ('auth.default_topics = ["hub:**"]', "auth.default_topics[0]"),
        ("limits.ping_s = nan", "limits.ping_s"),
        ("limits.ping_s = inf", "limits.ping_s"),
        ("limits.ping_s = 0", "limits.ping_s"),
        ('limits.ping_s = "5"', "limits.ping_s"),
        ("limits.message_bytes = 0", "limits.message_bytes"),
        ("limits.connections = -1", "limits.connections"),
        ("replay.per_channel = 0", "replay.per_channel"),
        ("replay.ttl_s = 0", "replay.ttl_s"),
        ("delivery.grace_s = -1", "delivery.grace_s"),
        ('types.x.priority = "high"', "types.x.priority"),
        ("types.x.ttl_s = 1.5", "types.x.ttl_s"),
        ('types.x.toast = "no"', "types.x.toast"),
        ('store.url = "mysql://x"', "store.url"),
        ('store.url = "sqlite:///"', "store.url"),
        ('store.url = "sqlite:///:memory:"', "store.url"),
        ('hubd.plugins = ["Web Push"]', "hubd.plugins[0]"),
        ("plugins.webpush = 1", "plugins.webpush"),
        ("plugins.Web = {}", "plugins.Web"),
    ],
)
def test_a_value_out_of_bounds_is_refused(setting: str, path: str, tmp_path: Path) -> None:
    (line,) = errors(setting, tmp_path)
    assert line.startswith(f"config.toml: {path}: ")


SERVERS = (
    "@h:99999999/x",
    "@h:0/x",
    "@h:/x",
    "@h:five/x",
    "@[::1/x",
    "@::1/x",
    "@a:1,b:2/x",
    "#@h/x",
    "[@h/x",
    "/@h/x",
)


@pytest.mark.parametrize("rest", SERVERS)
def test_an_address_that_no_database_has_is_refused_without_its_password(rest: str, tmp_path: Path) -> None:
    (line,) = errors(f'store.url = "postgresql://hub:pass-word-9{rest}"', tmp_path)
    assert line.startswith("config.toml: store.url: this is no address of a database")
    assert "pass-word-9" not in line


@pytest.mark.parametrize(
    "url",
    [
        *("off", "sqlite:///hub.db", "sqlite:////var/lib/hub.db", "postgresql:///hub?host=/run/postgresql"),
        *("postgresql://hub:pa%40ss@db.example.com/hub", "postgres://h/x", "postgresql://u:p@[fe80::1]:5432/x"),
    ],
)
def test_an_address_of_a_database(url: str, tmp_path: Path) -> None:
    assert load(f'store.url = "{url}"', tmp_path).store.url == url


@pytest.mark.parametrize(
    ("written", "means"),
    [
        ("https://app.example.com", "https://app.example.com"),
        ("https://App.Example.com:443", "https://app.example.com"),
        ("http://localhost:3000", "http://localhost:3000"),
        ("http://127.0.0.1:80", "http://127.0.0.1"),
        ("http://[::1]:8080", "http://[::1]:8080"),
        ("https://xn--bcher-kva.example:8443", "https://xn--bcher-kva.example:8443"),
    ],
)
def test_an_origin_is_kept_as_browsers_send_it(written: str, means: str, tmp_path: Path) -> None:
    config = load(f'auth.origins = ["{written}"]\nserver.public_url = "{written}"', tmp_path)
    assert (config.auth.origins, config.server.public_url) == ((means,), means)


@pytest.mark.parametrize(
    "text",
    [
        "*", "null", "", "app.example.com", "https://", "https://*.example.com", "https://a.example/", "ftp://a.example",
        "https://a.example/path", "https://a.example?x", "https://a.example#", "https://u@a.example",
        "https://a.example:99999", "https://a.example:x", "https://bücher.example", " https://a.example",
        "https://a.example\\t", "https://a b.example", "https://[::1", "HTTPS",
    ],
)  # fmt: skip
def test_what_is_no_origin_is_refused(text: str, tmp_path: Path) -> None:
    (line,) = errors(f'auth.origins = ["{text}"]', tmp_path)
    assert line.startswith("config.toml: auth.origins[0]: ")


# Types


def test_what_a_type_doesnt_say_is_as_in_types_default(tmp_path: Path) -> None:
    text = "[types.feed]\npriority = 'informational'\n[types.default]\nttl_s = 60\ntoast = false"
    config = load(text, tmp_path)
    feed = config.type_options("feed")
    assert (feed.priority, feed.ttl_s, feed.toast, feed.persistence) == ("informational", 60, False, "bufferable")
    assert config.type_options("unheard of") == config.types["default"]
    assert load("[types.feed]\nttl_s = 1", tmp_path).type_options("other").ttl_s == 86400


def test_critical_and_ephemeral_dont_go_together_also_by_inheritance(tmp_path: Path) -> None:
    text = """
        types.default.priority = "critical"
        types.typing.persistence = "ephemeral"
        types.calm = {priority = "important", persistence = "ephemeral"}
        types."a b" = {persistence = "ephemeral"}
    """
    told = '"ephemeral" is live only, so its priority can\'t be "critical"'
    assert errors(text, tmp_path) == [
        f"config.toml: types.typing.persistence: {told}",
        f'config.toml: types."a b".persistence: {told}',
    ]


# What isn't used yet


def test_settings_without_effect_are_listed_when_they_were_changed(tmp_path: Path) -> None:
    text = """
        server.port = 1
        types.default.toast = true       # as the default has it
        delivery.plain_ack = "never"
        store.url = "postgresql://hub:pass@db/hub"
        hubd.plugins = ["inbox"]
        types.default.batch_s = 5
        types.feed.toast = false
        plugins.webpush.subject = "x"
    """
    assert load(text, tmp_path).unused_settings() == [
        "types.default.batch_s", "types.feed.toast", "plugins.webpush",
    ]  # fmt: skip


def test_nothing_of_it_can_be_changed() -> None:
    config = Config()
    with pytest.raises(ValidationError, match="frozen"):
        config.limits = Limits()  # type: ignore[misc]  # that it can't be done is what is tested
    with pytest.raises(ValidationError, match="frozen"):
        config.limits.ping_s = 1  # type: ignore[misc]  # the same
