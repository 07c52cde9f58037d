"""`[plugins.fcm]`: checked as a whole before anything starts, each error at the option that it is about."""

from pathlib import Path

import pytest
from hubd_fcm.config import GOOGLE, FcmConfig

from hubd.config import ConfigError, load_config
from hubd.hooks.catalog import Catalog
from tests.plugins.test_fcm_account import GOOD, written


def loaded(folder: Path, options: str) -> FcmConfig:
    path = folder / "config.toml"
    path.write_text(f"[plugins.fcm]\n{options}\n")
    found = load_config(path, {}, {}, Catalog).plugins["fcm"]
    assert isinstance(found, FcmConfig)
    return found


def test_the_account_is_enough(tmp_path: Path) -> None:
    written(tmp_path, GOOD)
    config = loaded(tmp_path, 'service_account_file = "account.json"')  # beside the config
    assert (config.message, config.sender, config.endpoint, config.allow_hosts) == ("data", "http", GOOGLE, ())
    assert config.url == "https://fcm.googleapis.com/v1/projects/hubd-stand-in/messages:send"
    assert "PRIVATE" not in repr(config) and "PRIVATE" not in config.model_dump_json()


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ("", "plugins.fcm.service_account_file"),
        ('service_account_file = ""', "plugins.fcm.service_account_file"),
        ('service_account_file = "other.json"', "'other.json' can't be read: No such file"),
        ('service_account_file = "account.json"\nmessage = "both"', "plugins.fcm.message"),
        ('service_account_file = "account.json"\nsender = "grpc"', "plugins.fcm.sender"),
        ('service_account_file = "account.json"\nendpoint = "http://127.0.0.1:8"', "plugins.fcm.endpoint"),
        ('service_account_file = "account.json"\nendpoint = "https://10.0.0.1"', "plugins.fcm.endpoint"),
        ('service_account_file = "account.json"\nallow_hosts = ["http://x"]', "plugins.fcm.allow_hosts"),
        (
            'service_account_file = "account.json"\nendpoint = "https://fcm.example.com"\nsender = "sdk"',
            "firebase-admin knows the real one alone",
        ),
        ('service_account_file = "account.json"\nendpoints = "https://fcm.example.com"', "plugins.fcm.endpoints"),
    ],
)
def test_what_is_wrong_is_said(tmp_path: Path, options: str, says: str) -> None:
    written(tmp_path, GOOD)
    with pytest.raises(ConfigError) as refused:
        loaded(tmp_path, options)
    assert says in str(refused.value)
    assert GOOD["private_key"][40:80] not in str(refused.value)
