"""Who really looks: tabs of a real Chromium that are hidden, left alone, or closed, and what is pushed because of it.

The hub runs in the test's own process, behind a real listener, and by the machine's clock; a pusher that only notes
what it was given stands for all devices.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from random import Random
from typing import Any

import pytest

from hubd.clock import SystemClock
from hubd.config import Config
from hubd.core.connection import Connection, Visibility
from hubd.core.presence import State
from hubd.edge.app import Edge
from hubd.edge.http_server import Runner
from hubd.edge.keys import ApiKeys
from hubd.hub import Hub
from hubd.ids import Ids
from hubd.storing import Written
from hubd.tasks import Tasks
from hubd.testing import RecordingPusher

WAIT_S = 20.0
SHORT_S = 1.5
"""A delay or limit that the test waits out."""
LONG_S = 300.0
"""One that doesn't end before the test has done what has to come before, however slow the machine is."""

PAGE = """<!doctype html><title>attention</title><script type="module">
import { Hubd } from "%(url)s/hubd.js";
window.got = []; window.read = []; window.states = [];
const hub = new Hubd({ url: "%(url)s/notifications", user: "ada", transports: ["%(transport)s"], persist: false });
hub.addEventListener("notification", ({ detail }) => got.push(detail.id));
hub.addEventListener("read", ({ detail }) => read.push(...detail.ids));
hub.addEventListener("state", ({ detail }) => states.push(detail.state));
</script>"""


class WatchedHub(Hub):
    """Notes each ack of what it knows: when, of what, and by which connections."""

    acks: list[tuple[float, str, tuple[str, ...]]]

    def ack(self, user: str, ids: list[str], by: Sequence[Connection]) -> list[Written]:
        at = self.clock.monotonic()
        self.acks += [(at, id, tuple(connection.id for connection in by)) for id in ids]
        return super().ack(user, ids, by)


class World:
    """A hub that listens, and what it saw."""

    def __init__(self, delivery: dict[str, float]) -> None:
        loop = asyncio.get_running_loop()
        self.clock = SystemClock()
        self.tasks = Tasks()
        self.pusher = RecordingPusher()
        self.hub = WatchedHub(
            Config.model_validate({"delivery": delivery}),
            clock=self.clock,
            ids=Ids(self.clock, Random(1)),
            call_soon=loop.call_soon,
            pusher=self.pusher,
            call_later=loop.call_later,
        )
        self.hub.acks = []
        self.pusher.hub = self.hub
        self.delay_s = delivery["push_delay_s"]
        self._edge = Edge(self.hub, keys=ApiKeys([]), tasks=self.tasks, random=Random(1), dev=True)
        self._runner = Runner(self._edge.reception, self._edge.app, shutdown_timeout=1)

    async def start(self) -> None:
        await self._runner.setup()
        await self._edge.reception.listen(self._runner, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        self.tasks.start(self._edge.sweep.run(), "sweep")

    async def stop(self) -> None:
        for connection in list(self.hub.registry.connections):
            connection.abort()
        await self._runner.cleanup()
        self.hub.delivering.stop()
        await self.tasks.close()

    async def publish(self, id: str) -> float:
        """Publish something important to the user; gives when, by the hub's clock."""
        at = self.clock.monotonic()
        body = {"to": "user:ada", "id": id, "notification": {"type": "alert"}, "priority": "important"}
        await self.hub.publish(self.hub.prepare(body), "test", None)
        return at

    @property
    def acked(self) -> list[str]:
        return [id for _, id, _ in self.hub.acks]

    @property
    def pushed(self) -> list[str]:
        return [id for _, id, _ in self.pusher.pushed]

    def presence(self) -> State:
        return self.hub.presence.state(self.hub.registry.users.get("ada"), self.clock.monotonic())

    async def until(self, condition: Callable[[], Any], what: str) -> None:
        """Wait until something is so at the hub."""
        deadline = time.monotonic() + WAIT_S
        while not condition():
            assert time.monotonic() < deadline, f"not {what}; acked {self.acked}, pushed {self.pusher.pushed}"
            await asyncio.sleep(0.01)

    async def until_pushed(self, id: str, published_at: float) -> None:
        """Wait for the push: no ack may have come before it, and it may not come before its time."""
        await self.until(lambda: id in self.pushed, f"pushed: {id}")
        assert id not in self.acked, self.hub.acks
        waited_s = next(at for at, pushed, _ in self.pusher.pushed if pushed == id) - published_at
        assert waited_s >= self.delay_s

    async def until_acked(self, id: str) -> None:
        """Wait for the ack: nothing may be left to do, and nothing may have been pushed."""
        await self.until(lambda: id in self.acked, f"acked: {id}")
        assert len(self.hub.delivering.delivery.open) == 0
        assert id not in self.pushed


class Page:
    """A tab with the client in it, which can be hidden by another one of the same window."""

    def __init__(self, chromium: Any, tab: Any) -> None:
        self._chromium = chromium
        self.tab = tab

    async def hide(self) -> None:
        """Bring another tab to the front, as somebody does who goes on to something else."""
        await self._chromium.call("Target.createTarget", url="about:blank")
        await self.tab.until("document.visibilityState === 'hidden'")

    async def show(self) -> None:
        await self._chromium.call("Target.activateTarget", targetId=self.tab.target)
        await self.tab.until("document.visibilityState === 'visible'")

    async def close(self) -> None:
        await self._chromium.call("Target.closeTarget", targetId=self.tab.target)

    async def press_a_key(self) -> None:
        for kind in ("keyDown", "keyUp"):
            await self.tab.call("Input.dispatchKeyEvent", type=kind, key="a")

    async def move_the_mouse(self) -> None:
        await self.tab.call("Input.dispatchMouseEvent", type="mouseMoved", x=50, y=60)

    async def until_displayed(self, id: str) -> None:
        await self.tab.until(f"got.includes('{id}')")


Open = Callable[..., Awaitable[Page]]
StartWorld = Callable[..., Awaitable[World]]


@pytest.fixture
async def start_world() -> AsyncIterator[StartWorld]:
    """Start a hub: ``await start_world(push_delay_s=1)``."""
    started: list[World] = []

    async def start(**delivery: float) -> World:
        world = World({"push_delay_s": LONG_S, "attention_ttl_s": LONG_S, "grace_s": LONG_S} | delivery)
        started.append(world)
        await world.start()
        return world

    yield start
    for world in started:
        await world.stop()


@pytest.fixture
def open_page(chromium: Any, serve_page: Callable[[str], Awaitable[str]]) -> Open:
    """Open a tab with a client that is connected, in front of all others."""

    async def open_page(world: World, transport: str = "websocket", *, new_window: bool = True) -> Page:
        url = await serve_page(PAGE % {"url": world.url, "transport": transport})
        page = Page(chromium, await chromium.open(url, new_window=new_window))
        await page.tab.until("window.states?.includes('connected') && document.visibilityState === 'visible'")
        await world.until(lambda: world.presence() is State.ATTENTIVE, "attentive")
        return page

    return open_page


@pytest.mark.parametrize("transport", ["websocket", "sse", "poll"])
async def test_what_a_hidden_tab_got_is_pushed_and_acked_when_it_is_seen(
    start_world: StartWorld, open_page: Open, transport: str
) -> None:
    world = await start_world(push_delay_s=SHORT_S)
    page = await open_page(world, transport)
    await page.hide()
    published_at = await world.publish("n1")
    await page.until_displayed("n1")
    await world.until_pushed("n1", published_at)
    assert await page.tab.js("document.visibilityState") == "hidden"
    await page.show()
    await world.until(lambda: world.acked == ["n1"], "acked once")


@pytest.mark.parametrize("transport", ["websocket", "sse"])
async def test_the_hub_is_told_who_hides_and_shows_a_tab(
    start_world: StartWorld, open_page: Open, transport: str
) -> None:
    world = await start_world()
    page = await open_page(world, transport)
    await page.hide()
    await world.until(lambda: world.presence() is State.CONNECTED, "told of the hidden tab")
    await page.show()
    await world.until(lambda: world.presence() is State.ATTENTIVE, "told that it is seen again")


async def test_a_tab_that_is_shown_again_in_time_spares_the_push(start_world: StartWorld, open_page: Open) -> None:
    world = await start_world()
    page = await open_page(world)
    await page.hide()
    await world.publish("n1")
    await page.until_displayed("n1")
    assert world.acked == [] and len(world.hub.delivering.delivery.open) == 1
    await page.show()
    await world.until_acked("n1")
    assert world.pushed == []


@pytest.mark.parametrize("transport", ["websocket", "sse"])
async def test_a_visible_tab_that_nobody_touches_holds_no_push_back(
    start_world: StartWorld, open_page: Open, transport: str
) -> None:
    world = await start_world(push_delay_s=SHORT_S, attention_ttl_s=SHORT_S)
    page = await open_page(world, transport)
    await world.until(lambda: world.presence() is State.CONNECTED, "without attention")
    published_at = await world.publish("n1")
    await page.until_displayed("n1")
    await world.until_pushed("n1", published_at)
    assert await page.tab.js("document.visibilityState") == "visible"
    await page.press_a_key()
    await world.until(lambda: world.acked == ["n1"], "acked once")


async def test_input_in_time_spares_the_push(start_world: StartWorld, open_page: Open) -> None:
    world = await start_world(attention_ttl_s=SHORT_S)
    page = await open_page(world)
    await world.until(lambda: world.presence() is State.CONNECTED, "without attention")
    await world.publish("n1")
    await page.until_displayed("n1")
    assert world.acked == [] and len(world.hub.delivering.delivery.open) == 1
    await page.move_the_mouse()
    await world.until_acked("n1")
    assert world.pushed == []


async def test_of_two_tabs_the_one_that_is_seen_acks_for_both(start_world: StartWorld, open_page: Open) -> None:
    world = await start_world()
    hidden = await open_page(world)
    (of_hidden,) = world.hub.registry.connections
    seen = await open_page(world, new_window=False)
    await hidden.tab.until("document.visibilityState === 'hidden'")
    await world.until(lambda: of_hidden.visibility is Visibility.HIDDEN, "told of the hidden tab")
    await world.publish("n1")
    await hidden.until_displayed("n1")
    await seen.until_displayed("n1")
    await world.until_acked("n1")
    await hidden.tab.until("read.includes('n1')")

    await hidden.show()
    await seen.tab.until("document.visibilityState === 'hidden'")
    await world.publish("n2")
    await world.until_acked("n2")
    assert [(id, of_hidden.id in by) for _, id, by in world.hub.acks] == [("n1", False), ("n2", True)]
    assert world.pushed == []


@pytest.mark.parametrize("is_closed_first", [False, True])
async def test_a_closed_page_means_a_push_after_the_delay(
    start_world: StartWorld, open_page: Open, is_closed_first: bool
) -> None:
    world = await start_world(push_delay_s=SHORT_S)
    page = await open_page(world)
    if is_closed_first:
        await page.close()
        await world.until(lambda: world.presence() is State.WAVERING, "gone")
        published_at = await world.publish("n1")
    else:
        await page.hide()
        published_at = await world.publish("n1")
        await page.until_displayed("n1")
        await page.close()
    await world.until_pushed("n1", published_at)
    await world.until(lambda: world.presence() is State.WAVERING, "within the grace")
