"""One person, one browser, several ways: each notification is shown once over all tabs and the service worker.

Frames reach each tab, and pushes the worker, in random order and at random times, while tabs come to the front and go.
What counts is what a person saw: toasts in pages, and what the worker had the browser show. It tells the test of each,
as Chromium forgets some: the oldest of many, and what is shown in the moment in which somebody asks what is there.
"""

import asyncio
import json
import os
import time
from collections import Counter
from collections.abc import AsyncIterator
from random import Random
from typing import Any

import pytest

from tests.browser.timed_hub import TimedHub

AT_ONCE = 10
"""How many notifications are under way at the same time."""
SPREAD_S = 0.5
WAIT_S = 60.0
SHOWN = "navigator.serviceWorker.getRegistration().then((r) => r.getNotifications())"
WORKER = """
const show = ServiceWorkerRegistration.prototype.showNotification;
ServiceWorkerRegistration.prototype.showNotification = async function (title, options) {
  await show.call(this, title, options);
  await fetch(`/api/shown/${options.data.id}`, { method: "POST" });
};
importScripts("/hubd-sw.js");
"""
TITLES = f"{SHOWN}.then((all) => all.map((one) => [one.data.id, one.title, one.body]))"


class Browser:
    """Two windows with tabs; in each of them one is in front."""

    def __init__(self, chromium: Any, hub: TimedHub) -> None:
        self._chromium = chromium
        self.hub = hub
        self.tabs: dict[str, Any] = {}

    async def start(self) -> None:
        await self._chromium.call("Browser.grantPermissions", origin=self.hub.url, permissions=["notifications"])
        for name, path, new_window in (
            ("a", "/tab/a", True), ("b", "/tab/b", False), ("x", "/blank", False),
            ("c", "/tab/c", True), ("y", "/blank", False),
        ):  # fmt: skip
            self.tabs[name] = await self._chromium.open(self.hub.url + path, new_window=new_window)
            if name in "abc":
                await self.tabs[name].until("window.isUp")
        self._any = self.tabs["a"]
        await self._any.js("navigator.serviceWorker.register('/sw.js').then((r) => navigator.serviceWorker.ready)")
        # The protocol drops what comes before that; a push service doesn't.
        await self._any.until("navigator.serviceWorker.ready.then((r) => r.active.state === 'activated')")
        await self._any.call("ServiceWorker.enable")
        self._registration = await self._registered()

    async def _registered(self) -> str:
        deadline = time.monotonic() + WAIT_S
        while time.monotonic() < deadline:
            for event in self._chromium.events:
                if event["method"] == "ServiceWorker.workerRegistrationUpdated":
                    for one in event["params"]["registrations"]:
                        return str(one["registrationId"])
            await asyncio.sleep(0.03)
        raise AssertionError("no worker was registered")

    async def front(self, name: str) -> None:
        await self._chromium.call("Target.activateTarget", targetId=self.tabs[name].target)

    async def push(self, data: Any) -> None:
        text = data if isinstance(data, str) else json.dumps(data)
        await self._any.call(
            "ServiceWorker.deliverPushMessage", origin=self.hub.url, registrationId=self._registration, data=text
        )

    async def hide_all(self) -> None:
        """No page of the hub's is in front."""
        for name in "xy":
            await self.front(name)
        for name in "abc":
            await self.tabs[name].until("document.visibilityState === 'hidden'")

    async def seen(self) -> Counter[str]:
        """How often a person saw what, until now."""
        seen = self.shown_by_worker()
        for name in "abc":
            seen.update(await self.tabs[name].js("toasts"))
        return seen

    def shown_by_worker(self) -> Counter[str]:
        return Counter(path.removeprefix("shown/") for _, path, *_ in self.hub.asked if path.startswith("shown/"))

    async def take_away(self) -> list[str]:
        """Everything that the browser shows now, and no more."""
        ids = await self._any.js(f"{SHOWN}.then((all) => all.map((one) => {{ one.close(); return one.data.id; }}))")
        return sorted(ids)

    async def until_seen(self, ids: list[str]) -> Counter[str]:
        deadline = time.monotonic() + WAIT_S
        while True:
            seen = await self.seen()
            if all(seen[id] for id in ids):
                return seen
            assert time.monotonic() < deadline, f"never shown: {[id for id in ids if not seen[id]]}"
            await asyncio.sleep(0.05)


@pytest.fixture
async def browser(chromium: Any) -> AsyncIterator[Browser]:
    hub = TimedHub(WORKER)
    await hub.start()
    made = Browser(chromium, hub)
    try:
        await made.start()
        yield made
    finally:
        await hub.stop()


def _notification(id: str) -> dict[str, Any]:
    return {"id": id, "type": "alert", "title": f"title of {id}", "body": "b", "channel": "user:ada:notifications",
            "priority": "important", "sent_at": 1_800_000_000_000}  # fmt: skip


async def _interleave(browser: Browser, random: Random, ids: list[str]) -> None:
    """Each of them by each way at its own time, and somebody who turns from tab to tab meanwhile."""

    async def at(delay_s: float, call: Any, *arguments: Any) -> None:
        await asyncio.sleep(delay_s)
        await call(*arguments)

    under_way, without_push = [], False
    for id in ids:
        notification = _notification(id)
        pushes = random.choice([0, 1, 1, 1, 2])  # the service, or the hub, may bring it twice
        without_push = without_push or pushes == 0
        begin_s = random.uniform(0, 0.2)
        for name in random.sample("abc", k=random.choice([1, 2, 3, 3]) if pushes else 3):
            under_way.append(at(begin_s + random.uniform(0, SPREAD_S), browser.hub.send, name, notification))
        for _ in range(pushes):
            data = notification | {"hub_capability": "cap_x"}
            under_way.append(at(begin_s + random.uniform(0, SPREAD_S), browser.push, data))
    for _ in range(random.randrange(4)):
        under_way.append(at(random.uniform(0, SPREAD_S), browser.front, random.choice("abxcy")))
    await asyncio.gather(*under_way)
    if without_push:  # nobody but a page can show it, and only one that is looked at
        name = random.choice("abc")
        await browser.front(name)
        await browser.tabs[name].until("document.visibilityState === 'visible'")


async def _check(browser: Browser, seed: int, count: int) -> None:
    random = Random(seed)
    where: Counter[str] = Counter()
    everything: list[str] = []
    for first in range(0, count, AT_ONCE):
        ids = [f"n{number}" for number in range(first, min(first + AT_ONCE, count))]
        everything += ids
        await _interleave(browser, random, ids)
        seen = await browser.until_seen(ids)
        assert {id: seen[id] for id in ids if seen[id] != 1} == {}, f"seed {seed}"
        by_worker = browser.shown_by_worker()
        assert await browser.take_away() == sorted(id for id in ids if by_worker[id]), f"seed {seed}"
    # Whoever comes back later, to whichever tab, finds nothing once more.
    for name in "abc":
        await browser.front(name)
        await browser.tabs[name].until("document.visibilityState === 'visible'")
    for name in "abc":
        await browser.hub.send(name, _notification(f"last-{name}"))
        await browser.tabs[name].until(f"listed.includes('last-{name}')")
        where[name] = await browser.tabs[name].js("toasts.length")
    everything += ["last-a", "last-b", "last-c"]
    await browser.front("a")
    seen = await browser.until_seen(everything)
    where["worker"] = sum(seen.values()) - sum(where.values())
    print(f"seed {seed}: {count} interleavings; shown by {dict(where)}")
    assert {id: times for id, times in seen.items() if times != 1} == {}, f"seed {seed}"
    assert sorted(seen) == sorted(everything)
    assert 0 < where["worker"] < count, "not all ways were gone"


def _seed() -> int:
    given = os.environ.get("HUBD_SEED", "7")
    return Random().randrange(1 << 32) if given == "random" else int(given)


@pytest.mark.timeout(180)
async def test_each_is_shown_once_over_pages_and_worker(browser: Browser) -> None:
    await _check(browser, _seed(), 100)


@pytest.mark.long
@pytest.mark.timeout(1800)
async def test_each_of_a_thousand_is_shown_once_over_pages_and_worker(browser: Browser) -> None:
    await _check(browser, _seed(), 1000)


async def test_a_hidden_page_leaves_it_to_the_worker(browser: Browser) -> None:
    await browser.hide_all()
    for name in "abc":
        await browser.hub.send(name, _notification("n1"))
        await browser.tabs[name].until("listed.includes('n1')")
    assert await browser.seen() == {}
    await browser.push(_notification("n1"))
    await browser.until_seen(["n1"])
    for name in "abc":
        await browser.front(name)
        await browser.hub.send(name, _notification(f"next-{name}"))
        await browser.until_seen([f"next-{name}"])
        assert "n1" not in await browser.tabs[name].js("toasts")
    assert await browser.tabs["x"].js(TITLES) == [["n1", "title of n1", "b"]]


async def test_a_page_that_is_looked_at_shows_what_the_worker_is_pushed(browser: Browser) -> None:
    await browser.hide_all()
    await browser.front("b")
    await browser.tabs["b"].until("document.visibilityState === 'visible'")
    await browser.push(_notification("n1"))
    await browser.hub.send("b", _notification("n1"))
    await browser.tabs["b"].until("toasts.includes('n1')")
    await browser.push(_notification("n1"))
    await browser.push(_notification("n2"))  # the page never gets this one
    await browser.until_seen(["n2"])
    assert await browser.tabs["b"].js("toasts") == ["n1"]
    assert await browser.tabs["x"].js(TITLES) == [["n2", "title of n2", "b"]]


async def test_what_is_read_elsewhere_or_taken_back_is_taken_away(browser: Browser) -> None:
    await browser.hide_all()
    for id in ("n1", "n2", "n3"):
        await browser.push(_notification(id))
    await browser.until_seen(["n1", "n2", "n3"])
    await browser.hub.say("a", hub="read", ids=["n1"])
    await browser.hub.say("c", hub="retract", ids=["n3"])
    await browser.tabs["x"].until(f"{SHOWN}.then((all) => all.length === 1 && all[0].data.id === 'n2')")


async def test_a_light_one_is_fetched_with_its_capability(browser: Browser) -> None:
    await browser.hide_all()
    browser.hub.whole["n1"] = _notification("n1") | {"body": "long" * 2000}
    light = {"id": "n1", "fetch": True, "title": "title", "hub_capability": "cap_1", "sent_at": 1}
    await browser.push(light)
    await browser.push(light | {"id": "n2", "title": "can't be had"})
    await browser.until_seen(["n1", "n2"])
    assert ("GET", "notifications/n1", "Bearer cap_1", None) in browser.hub.asked
    shown = {id: (title, body) for id, title, body in await browser.tabs["x"].js(TITLES)}
    assert shown == {"n1": ("title of n1", "long" * 2000), "n2": ("can't be had", "")}
