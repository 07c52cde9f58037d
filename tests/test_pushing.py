"""The hub's part that pushes: what of it belongs together, from a device that registers to the stop."""

import asyncio
from typing import Any

from hubd.plugin import Outcome, PluginConfig, PushBackend, PushResult, hookimpl
from hubd.pushing import SECRET
from hubd.testing import PluginWorld, RecordingBackend, hub_for, make_hub
from tests.steered_store import SteeredStore


class Toy:
    """A plugin that brings a backend which records."""

    def __init__(self, config: PluginConfig) -> None:
        self.backend = RecordingBackend()

    @hookimpl
    def hubd_push_backends(self) -> list[PushBackend]:
        return [self.backend]


def pushed(hub: PluginWorld) -> list[tuple[str, str]]:
    backend: RecordingBackend = hub.plugin.backend
    return backend.pushed


async def test_a_device_that_comes_gets_what_could_not_be_brought() -> None:
    async with hub_for(Toy) as hub:
        await hub.publish("user:ada", {"type": "alarm"}, id="n1", priority="critical")
        assert pushed(hub) == []
        await hub.register("ada", "toy", token="phone")
        await hub.settle()
        assert pushed(hub) == [("phone", "n1")]


async def test_what_a_service_says_is_explained() -> None:
    async with hub_for(Toy) as hub:
        await hub.register("ada", "toy", token="phone")
        answers = [PushResult(Outcome.LATER, "503"), PushResult(Outcome.ACCEPTED, "201")]
        hub.plugin.backend.answer = lambda device, push: answers.pop(0)
        await hub.publish("user:ada", {"type": "alarm"}, id="n1", priority="critical")
        await hub.advance(5)
        told = await hub.handle.explain("n1", "ada")
        assert told is not None and told["milestone"] == "pushed"
        attempts = [(step["outcome"], step["answer"]) for step in told["steps"] if step["step"] == "attempt"]
        assert attempts == [("later", "503"), ("accepted", "201")]


async def test_who_has_only_devices_that_nobody_reaches_has_no_route() -> None:
    async with hub_for(Toy) as hub:
        await hub.register("ada", "apns", token="a" * 64)
        await hub.publish("user:ada", {"type": "alert"}, id="n1")
        await hub.advance(10)
        told = await hub.handle.explain("n1", "ada")
        assert told is not None and told["milestone"] == "dropped(no_route)" and pushed(hub) == []


async def test_gone_ones_are_told_and_not_listed() -> None:
    async with hub_for(Toy) as hub:
        await hub.register("ada", "toy", token="phone")
        hub.plugin.backend.answer = lambda device, push: PushResult(Outcome.GONE, "410")
        told: list[Any] = []
        hub.hub.devices.on_gone = lambda *what: told.append(what)
        await hub.publish("user:ada", {"type": "alert"})
        ((user, (device,), reason),) = told
        assert (user, device.address["token"], reason) == ("ada", "phone", "410")
        assert (await hub.request("GET", "/api/devices", user="ada")).json() == {"devices": []}


async def test_more_than_a_user_may_have() -> None:
    async with hub_for(Toy, settings={"push": {"devices_per_user": 2}}) as hub:
        for name in ("old", "middle", "new"):
            await hub.register("ada", "toy", token=name)
            await hub.advance(1)
        await hub.publish("user:ada", {"type": "alert"}, id="n1")
        assert sorted(pushed(hub)) == [("middle", "n1"), ("new", "n1")]


async def test_somebody_elses_phone_is_never_pushed_to() -> None:
    async with hub_for(Toy) as hub:
        await hub.register("ada", "toy", token="shared")
        await hub.publish("user:ada", {"type": "alert"}, id="for ada".replace(" ", "-"))
        await hub.register("bob", "toy", token="shared")
        await hub.publish("user:ada", {"type": "alert"}, id="for-nobody")
        await hub.publish("user:bob", {"type": "alert"}, id="for-bob")
        assert [id for _, id in pushed(hub)] == ["for-ada", "for-bob"]


async def test_the_secret_is_made_once_and_kept() -> None:
    store = SteeredStore()
    hub, _, _ = make_hub(store=store)
    assert store.noted == [], "a hub that pushes nothing needs none"
    text = hub.capabilities.sign("n1", "ada", hub.clock.now() + 60)
    (kept,) = store.noted
    hub.memory.secrets[SECRET] = kept.value  # type: ignore[union-attr]  # it is the one
    again, _, _ = make_hub(memory=hub.memory, seed=2)
    assert again.capabilities.user_of(text, "n1") == "ada"
    other, _, _ = make_hub(seed=3)
    assert other.capabilities.user_of(text, "n1") is None


async def test_a_stop_waits_for_what_is_under_way() -> None:
    async with hub_for(Toy) as hub:
        await hub.register("ada", "toy", token="phone")
        backend, begun, finish = hub.plugin.backend, [], []

        async def send(device: Any, push: Any) -> PushResult:
            begun.append(push.id)
            await asyncio.sleep(0.01)
            finish.append(push.id)
            return PushResult(Outcome.ACCEPTED, "201")

        backend.send = send
        await hub.publish("user:ada", {"type": "alarm"}, id="n1", priority="critical")
        assert (begun, finish) == (["n1"], [])
    assert finish == ["n1"]


async def test_an_ack_reaches_the_second_device_also_when_the_explanation_had_to_go() -> None:
    async with hub_for(Toy, settings={"delivery": {"explain_bytes": 0}}) as hub:
        await hub.register("ada", "toy", token="phone")
        await hub.register("ada", "toy", token="tablet", host="busy")
        backend = hub.plugin.backend
        backend.answer = lambda device, push: (
            PushResult(Outcome.LATER, "429", 60.0, for_all=True)
            if device.address["token"] == "tablet"
            else PushResult(Outcome.ACCEPTED, "200")
        )
        await hub.publish("user:ada", {"type": "alarm"}, id="n1", priority="critical")
        await hub.advance(10)
        ada = hub.connect("ada")
        hub.hub.ack("ada", ["n1"], [ada])
        before = len(pushed(hub))
        await hub.advance(600)
        assert len(pushed(hub)) == before


async def test_who_came_while_a_push_was_tried_in_vain_gets_it_on_his_connection() -> None:
    async with hub_for(Toy) as hub:
        await hub.register("ada", "toy", token="phone")
        answered = asyncio.Event()

        async def send(device: Any, push: Any) -> PushResult:
            await answered.wait()
            return PushResult(Outcome.REFUSED, "400")

        hub.plugin.backend.send = send
        await hub.publish("user:ada", {"type": "alarm"}, id="n1", priority="critical")
        ada = hub.connect("ada")
        assert ada.notifications() == []
        answered.set()
        await hub.settle()
        assert [one["id"] for one in ada.notifications()] == ["n1"]
