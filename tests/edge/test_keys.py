"""API keys: the right key is found, everything else isn't."""

import hashlib
import hmac

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hubd.config import ApiKeyEntry
from hubd.core.channel import parse_channel
from hubd.edge.keys import ApiKeys, new_key


def entry(key: str, name: str, **options: object) -> ApiKeyEntry:
    return ApiKeyEntry.model_validate({"id": name, "sha256": hashlib.sha256(key.encode()).hexdigest()} | options)


@pytest.mark.parametrize("name", ["backend", "a", "back_end", "a_b_c", "x" * 64, "a.b-c"])
def test_a_new_key_is_found(name: str) -> None:
    key, digest = new_key(name)
    assert key.startswith(f"hub_{name}_") and "_" not in key.rpartition("_")[2]
    assert digest == hashlib.sha256(key.encode()).hexdigest()
    found = ApiKeys([ApiKeyEntry(id=name, sha256=digest)]).find(key)
    assert found is not None and found.id == name


def test_two_new_keys_differ() -> None:
    assert new_key("a")[0] != new_key("a")[0]


def test_it_brings_its_rights_and_channels() -> None:
    key, _ = new_key("backend")
    found = ApiKeys([entry(key, "backend", rights=["publish"], channels=["team:*"])]).find(key)
    assert found is not None
    assert found.rights == {"publish"}
    assert found.channels.match("team:a") and not found.channels.match(parse_channel("user:1").name)


def test_ids_that_begin_alike_and_secrets_with_an_underscore() -> None:
    made = {name: f"hub_{name}_sec_ret" for name in ("a", "a_b", "a_b_sec")}
    keys = ApiKeys([entry(key, name) for name, key in made.items()])
    for name, key in made.items():
        found = keys.find(key)
        assert found is not None and found.id == name


def test_everything_else_is_not_found() -> None:
    key, digest = new_key("backend")
    other, _ = new_key("other")
    keys = ApiKeys([entry(key, "backend")])
    secret = key.rpartition("_")[2]
    wrong = [
        "", "hub_", "hub__", "hub", secret, f"hub_{secret}", f"hub_other_{secret}", other, key[:-1], key + "0",
        key + " ", key.upper(), f"hub_backend_{'0' * 48}", f"hub_backend_{digest}", digest, "hub_backend_",
        f"hub_backend_{secret}ä", "hub_backend_\udcff", f"hub_{'_' * 5000}", f"Bearer {key}",
    ]  # fmt: skip
    assert [text for text in wrong if keys.find(text) is not None] == []
    assert ApiKeys([]).find(key) is None


def test_an_unknown_id_costs_a_comparison_too(monkeypatch: pytest.MonkeyPatch) -> None:
    compared = []
    honest = hmac.compare_digest

    def watched(one: bytes, other: bytes) -> bool:
        compared.append(one)
        return honest(one, other)

    monkeypatch.setattr(hmac, "compare_digest", watched)
    key, _ = new_key("backend")
    keys = ApiKeys([entry(key, "backend")])
    for text in (key, new_key("backend")[0], new_key("unknown")[0]):
        compared.clear()
        keys.find(text)
        assert len(compared) == 1


def test_nobody_is_let_in_by_the_stand_in_for_unknown_ids(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hmac, "compare_digest", lambda *_: True)
    keys = ApiKeys([entry(new_key("backend")[0], "backend")])
    assert keys.find(new_key("unknown")[0]) is None


@given(st.text() | st.text(alphabet="hub_ackend0").map(lambda rest: f"hub_{rest}"))
def test_any_text(text: str) -> None:
    assert ApiKeys([entry(new_key("backend")[0], "backend")]).find(text) is None
