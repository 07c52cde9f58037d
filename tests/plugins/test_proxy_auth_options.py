"""The options of proxy_auth: what a config may say, and what is said about one that is wrong."""

from pathlib import Path
from typing import Any

import pytest
from hubd_proxy_auth import ProxyAuth
from pydantic import ValidationError

from tests.command import hubd

URL = "https://app.example.com/who"


def made(**given: Any) -> Any:
    return ProxyAuth.Config.model_validate({"url": URL, **given})


def test_defaults() -> None:
    config = made()
    assert config.model_dump() == {
        "url": URL,
        "secret": None,
        "forward_headers": ("authorization", "cookie"),
        "forward_query": (),
        "timeout_s": 2.0,
        "cache_s": 60.0,
        "denied_cache_s": 5.0,
        "cache_entries": 10_000,
        "concurrency": 32,
        "allow_hosts": (),
        "fallback": True,
        "report_not_ready": False,
    }


def test_names_of_headers_are_the_same_in_any_case() -> None:
    assert made(forward_headers=["X-Session", "COOKIE"]).forward_headers == ("x-session", "cookie")


def test_the_secret_isnt_shown() -> None:
    assert "sesame" not in repr(made(secret="sesame"))


@pytest.mark.parametrize(
    ("given", "where"),
    [
        ({"url": "http://app.example.com/"}, "http:// is only for hosts"),
        ({"url": "http://127.0.0.1/"}, "127.0.0.1"),
        ({"url": "https://10.0.0.1/"}, "10.0.0.1"),
        ({"url": "https://user:sesame@app.example.com/"}, "no user and no password"),
        ({"url": "nonsense"}, "https://"),
        ({"url": ""}, "https://"),
        ({"allow_hosts": ["*.example.com"]}, "no host"),
        ({"secret": ""}, "printable ASCII"),
        ({"secret": "se same"}, "printable ASCII"),
        ({"secret": "sésame"}, "printable ASCII"),
        ({"secret": "sesame\n"}, "printable ASCII"),
        ({"forward_headers": ["a b"]}, "header"),
        ({"forward_headers": [""]}, "header"),
        ({"forward_headers": []}, "nothing would be asked about"),
        ({"timeout_s": 0}, "timeout_s"),
        ({"timeout_s": 4.1}, "timeout_s"),
        ({"cache_s": -1}, "cache_s"),
        ({"cache_s": 3601}, "cache_s"),
        ({"denied_cache_s": float("nan")}, "denied_cache_s"),
        ({"cache_entries": 0}, "cache_entries"),
        ({"concurrency": 0}, "concurrency"),
        ({"concurrency": 501}, "concurrency"),
        ({"fallback": "yes"}, "fallback"),
        ({"cache": 60}, "cache"),
    ],
    ids=str,
)
def test_what_is_wrong_is_named(given: dict[str, Any], where: str) -> None:
    with pytest.raises(ValidationError) as caught:
        made(**given)
    assert where in str(caught.value) and "sesame" not in str(caught.value)


@pytest.mark.parametrize("url", ["http://127.0.0.1:8000/who", "http://app.internal/who", "https://10.1.2.3/who"])
def test_hosts_that_are_allowed(url: str) -> None:
    assert made(url=url, allow_hosts=["127.0.0.0/8", "app.internal", "10.0.0.0/8"]).url == url


def test_check_config_says_what_is_wrong(tmp_path: Path) -> None:
    path = tmp_path / "hubd.toml"
    path.write_text('[plugins.proxy_auth]\nurl = "http://127.0.0.1:8000/who"\ntimeout = 1\nsecret = "sesame"\n')
    checked = hubd("check-config", "--config", str(path))
    assert checked.code != 0 and "did you mean timeout_s?" in checked.err and "sesame" not in checked.err
    path.write_text('[plugins.proxy_auth]\nurl = "http://127.0.0.1:8000/who"\nallow_hosts = ["127.0.0.1"]\n')
    checked = hubd("check-config", "--config", str(path))
    assert checked.code == 0, checked.err
