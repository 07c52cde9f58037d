"""What single values of the config have to look like; each check returns the value, or says what to write instead."""

import ipaddress
import re
from typing import Any
from urllib.parse import SplitResult, urlsplit

from pydantic_core import PydanticCustomError

from hubd.core.channel import Patterns
from hubd.core.errors import Problem

_HOST_NAME = re.compile(r"(?=.{1,253}\.?$)[A-Za-z0-9_]([A-Za-z0-9_-]{0,62})?(\.[A-Za-z0-9_]([A-Za-z0-9_-]{0,62})?)*\.?")
_SHA256 = re.compile(r"[0-9a-fA-F]{64}")
_DEFAULT_PORT = {"http": 80, "https": 443}
_SERVER = re.compile(r"(\[[0-9A-Fa-f:.%\w]+\]|[^\[\]:]*)(?::(?P<port>[0-9]{1,5}))?")
_STORES = ("sqlite:///", "postgresql://", "postgres://")


def whole_if_integral(value: float) -> float:
    """The same number as an ``int`` where it is whole: nobody wants to read 25.0 s."""
    return int(value) if value == int(value) else value


def table(value: Any) -> Any:
    """A table, whatever stands in it."""
    if not isinstance(value, dict):
        raise PydanticCustomError("dict_type", "has to be a table")
    return value


def not_empty(values: tuple[Any, ...]) -> tuple[Any, ...]:
    """A list with something in it."""
    if not values:
        raise ValueError("the list is empty")
    return values


def host(text: str) -> str:
    """An IP address or a host name, without scheme, brackets or port."""
    if not (_is_address(text) or _HOST_NAME.fullmatch(text)):
        raise ValueError("give an IP address or a host name alone, such as 127.0.0.1 or localhost")
    return text


def origin(text: str) -> str:
    """A web origin in the form in which browsers send it: lower case, without the scheme's own port."""
    url = _split(text)
    good_host = host_or_none(url.hostname or "")
    if url.scheme not in _DEFAULT_PORT or not good_host:
        raise ValueError(
            f"{text!r} is no origin: write it exactly, as https://app.example.com or http://localhost:3000"
        )
    if url.path or url.query or url.fragment or "?" in text or "#" in text or "@" in url.netloc:
        raise ValueError(f"{text!r} is more than an origin: leave out everything after host and port, also the last /")
    name = f"[{good_host}]" if ":" in good_host else good_host
    port = "" if url.port in (None, _DEFAULT_PORT[url.scheme]) else f":{url.port}"
    return f"{url.scheme}://{name}{port}"


def optional_origin(text: str) -> str:
    """A web origin, or nothing."""
    return origin(text) if text else text


def host_or_none(text: str) -> str | None:
    """The host, if it is one."""
    try:
        return host(text)
    except ValueError:
        return None


def network(text: str) -> str:
    """An IP address or network."""
    try:
        ipaddress.ip_network(text)
    except ValueError:
        raise ValueError(f"{text!r} is no address and no network: write 10.0.0.1 or 10.0.0.0/8") from None
    return text


def jwks_url(text: str) -> str:
    """An https address, or nothing; http only to this machine, where nobody can put other keys in between."""
    if not text:
        return text
    url = _split(text)
    loopback = url.hostname == "localhost" or (_is_address(url.hostname) and _address(url.hostname).is_loopback)
    if not url.hostname or url.scheme not in _DEFAULT_PORT or (url.scheme == "http" and not loopback):
        raise ValueError("give an https:// address (http:// only on this machine)")
    return text


def sha256(text: str) -> str:
    """A SHA-256 in hex, lower case."""
    if _SHA256.fullmatch(text) is None:
        raise ValueError("give the SHA-256 of the key, 64 hex digits, as `hubd gen-key api` prints it; not the key")
    return text.lower()


def channel_pattern(text: str) -> str:
    """A pattern of channel names."""
    try:
        Patterns([text])
    except Problem as problem:
        raise ValueError(problem.message) from None
    return text


def topic_pattern(text: str) -> str:
    """A pattern of topics: it can't begin with what never is a topic."""
    if text.partition(":")[0] in ("user", "hub"):
        raise ValueError(f"pattern {text!r}: channels that begin with 'user' or 'hub' are no topics")
    return channel_pattern(text)


def store_url(text: str) -> str:
    """A database address of a kind that hubd knows, or none; what is said of it doesn't quote it, nor its password."""
    if text != "off" and not text.startswith(_STORES):
        raise ValueError(
            "give sqlite:///file.db (four slashes for an absolute path), postgresql://user@host/database or off"
        )
    if text.startswith("sqlite:"):
        path = text.removeprefix("sqlite:///").partition("?")[0]
        if path in ("", ":memory:") or path.startswith("file:"):
            raise ValueError('it names no file; to store nothing, say "off"')
    elif text != "off" and not _is_server_address(text):
        raise ValueError(
            "this is no address of a database: a port is a number up to 65535, an IPv6 address stands in brackets, "
            "and @ / : # ? [ ] in a name or a password are written as %40 %2F %3A %23 %3F %5B %5D"
        )
    return text


def _is_server_address(text: str) -> bool:
    """Whether the libraries that connect to PostgreSQL can make sense of it."""
    try:
        found = _SERVER.fullmatch(urlsplit(text).netloc.rpartition("@")[2])
    except ValueError:
        return False
    return found is not None and (not found["port"] or 0 < int(found["port"]) < 65536)


def saved_file(text: str) -> str:
    """A file that is hubd's own, to be written and deleted: so its name must be one that nothing else has."""
    if text and text != "off" and not text.endswith(".rings"):
        raise ValueError('give a file whose name ends in .rings, "off", or nothing')
    if "\0" in text:
        raise ValueError("a file's name has no NUL in it")
    return text


def _split(text: str) -> SplitResult:
    try:
        url = urlsplit(text)
        _ = url.port
    except ValueError:
        raise ValueError("this is no address: it begins with https://, and a port is a number up to 65535") from None
    if text != text.strip() or any(ord(letter) < 33 for letter in text):
        raise ValueError("an address has no white space")
    return url


def _is_address(text: str | None) -> bool:
    try:
        _address(text)
    except ValueError:
        return False
    return True


def _address(text: str | None) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    return ipaddress.ip_address(text or "")
