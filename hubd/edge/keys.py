"""API keys: how an application's servers prove who they are."""

import hashlib
import hmac
import secrets
from collections.abc import Iterable, Iterator

from hubd.config import ApiKeyEntry
from hubd.core.channel import patterns
from hubd.core.identity import ApiKey

PREFIX = "hub_"
KEY_CHARS = 256
_ID_CHARS = 64
_SECRET_BYTES = 32
_NO_DIGEST = bytes(32)


def new_key(name: str) -> tuple[str, str]:
    """A fresh key ``hub_<name>_<secret>`` (256 random bits), and its SHA-256 in hex, which is all that is stored."""
    # Hex, because the other short alphabets have the '_' that separates the parts.
    key = f"{PREFIX}{name}_{secrets.token_hex(_SECRET_BYTES)}"
    return key, hashlib.sha256(key.encode()).hexdigest()


class ApiKeys:
    """The keys in ``auth.api_keys``, and those that count ``always``, whatever the config says."""

    def __init__(self, entries: Iterable[ApiKeyEntry], always: Iterable[ApiKeyEntry] = ()) -> None:
        self._always = tuple(always)
        self.apply(entries)

    def apply(self, entries: Iterable[ApiKeyEntry]) -> None:
        """Let these keys count from now on, and no others."""
        # Those that were found, so that a busy server's isn't hashed each time. How long it takes to look up another
        # text says nothing of them: Python compares texts only where its own hashes of both, which are secret, agree.
        self._found: dict[str, ApiKey] = {}
        self._known = {
            entry.id: (
                bytes.fromhex(entry.sha256),
                ApiKey(entry.id, frozenset(entry.rights), patterns(tuple(entry.channels))),
            )
            for entry in (*entries, *self._always)
        }

    def find(self, key: str) -> ApiKey | None:
        """Whose key this is (what follows ``Bearer``), or None; an unknown id costs the same comparison."""
        if (known := self._found.get(key)) is not None:
            return known
        if not key.startswith(PREFIX) or len(key) > KEY_CHARS or not key.isascii():
            return None
        digest = hashlib.sha256(key.encode()).digest()
        found = None
        for name in _possible_ids(key.removeprefix(PREFIX)):
            stored, api_key = self._known.get(name, (_NO_DIGEST, None))
            if hmac.compare_digest(digest, stored):
                found = api_key
        if found is not None:
            self._found[key] = found
        return found


def _possible_ids(rest: str) -> Iterator[str]:
    """Everything before an underscore: ids may hold one, and so may the secret of a key that was made by hand."""
    place = rest.find("_")
    while 0 <= place <= _ID_CHARS:
        yield rest[:place]
        place = rest.find("_", place + 1)
