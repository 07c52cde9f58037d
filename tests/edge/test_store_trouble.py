"""While nothing can be stored: what is answered, and what goes on."""

import pytest

from hubd.core.stored import Lane, Revoke
from tests.edge.conftest import StartHub
from tests.edge.live_hub import LiveHub
from tests.steered_store import SteeredStore


@pytest.fixture
def store() -> SteeredStore:
    return SteeredStore()


@pytest.fixture
async def hub(start_hub: StartHub, store: SteeredStore) -> LiveHub:
    return await start_hub(store=store)


async def test_readiness_names_it(hub: LiveHub, store: SteeredStore) -> None:
    assert (await hub.call("GET", "/health/ready", key=None)).status == 200
    store.trouble = "the disk is full"
    answer = await hub.call("GET", "/health/ready", key=None)
    assert (answer.status, answer.body["reasons"]) == (503, ["the store: the disk is full"])
    assert (await hub.call("GET", "/health/live", key=None)).status == 200
    store.trouble = ""
    assert (await hub.call("GET", "/health/ready", key=None)).status == 200


async def test_durable_publishes_are_refused_and_others_arent(hub: LiveHub, store: SteeredStore) -> None:
    store.trouble = "the disk is full"
    for fields in ({"priority": "critical"}, {"persistence": "persistent"}):
        answer = await hub.try_publish("user:42", **fields)
        assert (answer.status, answer.code, answer.headers["Retry-After"]) == (503, "unavailable", "2")
    for fields in ({"priority": "important"}, {"priority": "informational"}, {"persistence": "ephemeral"}):
        assert (await hub.try_publish("user:42", **fields)).status == 202


async def test_a_revocation_is_confirmed_when_it_is_stored(hub: LiveHub, store: SteeredStore) -> None:
    assert (await hub.call("POST", "/api/users/42/revoke")).status == 200
    assert store.written == [(Revoke("42", hub.clock.now()), Lane.ACK)]


async def test_a_revocation_counts_at_once_also_when_it_cant_be_stored(hub: LiveHub, store: SteeredStore) -> None:
    client = await hub.connect()
    await client.messages()
    store.trouble = "the disk is full"
    answer = await hub.call("POST", "/api/users/42/revoke")
    assert (answer.status, answer.code) == (503, "unavailable")
    assert await client.closed() == 4507, "whoever it is about is out"
    assert (await hub.call("GET", "/api/subscriptions", token=hub.token())).status == 401
    store.trouble = ""
    assert (await hub.call("POST", "/api/users/42/revoke")).status == 200
    assert len(store.written) == 1
