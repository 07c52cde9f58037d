"""Web Push in a real Firefox: the hub encrypts, a push service hands on, the browser decrypts, the worker shows."""

import asyncio
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import ClientSession, web

from hubd.commands.keys import new_vapid_pair
from tests.browser.autopush import Autopush
from tests.browser.conftest import HubProcess
from tests.browser.firefox import Firefox, Page

PUSH = {
    "HUBD_PLUGINS__WEBPUSH__VAPID_PRIVATE_KEY": new_vapid_pair()[1],
    "HUBD_PLUGINS__WEBPUSH__SUBJECT": "mailto:ops@example.com",
    "HUBD_PLUGINS__WEBPUSH__ALLOW_HOSTS": '["127.0.0.1"]',
    "HUBD_DELIVERY__GRACE_S": "1",
    "HUBD_DELIVERY__PUSH_DELAY_S": "1",
}
STATE = "document.querySelector('[data-testid=state]').dataset.state"
SHOWN = "navigator.serviceWorker.ready.then((r) => r.getNotifications()).then((all) => all.map((one) => one.data.id))"
TOASTS = "[...document.querySelectorAll('[data-testid=toast]')].map((toast) => toast.dataset.id)"
FEED = "[...document.querySelectorAll('[data-testid=feed-item]')].map((item) => item.dataset.id)"


@pytest.fixture
async def hub() -> AsyncIterator[HubProcess]:
    process = HubProcess(PUSH)
    await process.start()
    try:
        yield process
    finally:
        await process.kill()


@pytest.fixture
async def autopush() -> AsyncIterator[Autopush]:
    service = Autopush()
    await service.start()
    try:
        yield service
    finally:
        await service.stop()


@pytest.fixture
async def firefox(autopush: Autopush) -> AsyncIterator[Firefox]:
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        browser = Firefox()
        await browser.start(Path(profile), autopush.address)
        try:
            yield browser
        finally:
            await browser.stop()


async def _blank(firefox: Firefox, hub: HubProcess) -> Page:
    """A page of the same origin that isn't a client of the hub: it can look at what the worker shows."""
    return await firefox.open(f"{hub.url}/demo/icon.svg?look")


@pytest.mark.timeout(180)
async def test_shown_while_the_page_is_closed_once_and_taken_away_when_read_elsewhere(
    firefox: Firefox, hub: HubProcess, autopush: Autopush
) -> None:
    await firefox.allow_notifications(hub.url)
    keeps_open = await firefox.open("about:blank")
    demo = await firefox.open(f"{hub.url}/demo/?user=ada")
    await demo.until(f"{STATE} === 'connected'")
    await demo.until("document.querySelector('[data-testid=push-switch]').dataset.state === 'off'")
    await demo.js("document.querySelector('[data-testid=push-switch]').click()")
    await demo.until("document.querySelector('[data-testid=push-switch]').dataset.state === 'on'")
    await demo.go("about:blank")

    # Nobody looks: the worker shows it, decrypted by the browser itself.
    await _away(hub, "ada")
    await hub.publish("user:ada", type="alert", title="décrypté par Firefox", body="B", id_="n1")
    look = await _blank(firefox, hub)
    await look.until(f"{SHOWN}.then((ids) => ids.includes('n1'))")
    titles = (
        "navigator.serviceWorker.ready.then((r) => r.getNotifications()).then((all) => all.map((one) => one.title))"
    )
    assert await look.js(titles) == ["décrypté par Firefox"] and len(autopush.posts) == 1

    # Back on the page, where it is replayed: it stands in the feed, isn't shown again, and goes as it is seen now.
    await demo.front()
    await demo.go(f"{hub.url}/demo/?user=ada")
    await demo.until(f"{FEED}.includes('n1')")
    await hub.publish("user:ada", type="alert", title="live", id_="n2")
    await demo.until(f"{TOASTS}.includes('n2')")
    assert await demo.js(TOASTS) == ["n2"]
    await look.until(f"{SHOWN}.then((ids) => !ids.includes('n1'))")
    await demo.close()

    # Too large for a push: the worker fetches the rest.
    await _away(hub, "ada")
    await hub.publish("user:ada", type="alert", title="large", body="long " * 1000, id_="large")
    length = SHOWN.replace("one.data.id", "one.body.length")
    await look.until(f"{length}.then((lengths) => lengths.includes(5000))")

    # Read on another device while a page is there: the worker's toast goes.
    await _away(hub, "ada")
    await hub.publish("user:ada", type="alert", title="third", id_="n3")
    await look.until(f"{SHOWN}.then((ids) => ids.includes('n3'))")
    page = await firefox.open(f"{hub.url}/demo/icon.svg?page")
    await page.js(
        "import('/hubd.js').then(({ Hubd }) => { window.hub = new Hubd({ url: '/notifications', user: 'ada',"
        " autoAck: false }); return new Promise((done) => hub.addEventListener('welcome', () => done(true))); })"
    )
    async with ClientSession() as http:
        answer = await http.post(f"{hub.url}/api/acks?user=ada", json={"ids": ["n3"]})
        assert answer.status == 200
    await look.until(f"{SHOWN}.then((ids) => !ids.includes('n3'))")
    await keeps_open.close()


async def _away(hub: HubProcess, user: str) -> None:
    """Wait until the hub has noticed that he is gone."""
    async with ClientSession(headers={"Authorization": f"Bearer {hub.key}"}) as http:
        for _ in range(400):
            answer = await http.get(f"{hub.url}/api/users/{user}")
            if (await answer.json())["presence"] == "away":
                return
            await asyncio.sleep(0.05)
    raise AssertionError("he never was away")


GUIDE_WORKER = """
self.addEventListener("push", (event) => {
  const data = event.data.json();
  event.waitUntil(
    self.registration.showNotification(data.title, {
      body: data.body,
      icon: "/icon-192.png",
      data: { url: data.url },
    })
  );
});
"""


@pytest.mark.timeout(180)
async def test_an_applications_own_worker_and_nothing_of_ours(firefox: Firefox, hub: HubProcess) -> None:
    """As an application does it by the book: subscribe, post the subscription as it is, show title, body and url."""
    app = web.Application()

    async def proxy(request: web.Request) -> web.Response:
        """The application's server in front of the hub, so that both are one origin."""
        async with ClientSession() as http:
            body = await request.read()
            async with http.request(request.method, f"{hub.url}{request.path}?user=ada", data=body) as answer:
                return web.Response(status=answer.status, body=await answer.read(), content_type="application/json")

    async def page(request: web.Request) -> web.Response:
        return web.Response(text="<!doctype html><p>app", content_type="text/html")

    async def worker(request: web.Request) -> web.Response:
        return web.Response(text=GUIDE_WORKER, content_type="text/javascript")

    app.router.add_get("/", page)
    app.router.add_get("/sw.js", worker)
    app.router.add_route("*", "/api/{rest:.*}", proxy)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        origin = f"http://127.0.0.1:{runner.addresses[0][1]}"
        await firefox.allow_notifications(origin)
        tab = await firefox.open(f"{origin}/")
        status = await tab.js(
            """(async () => {
                const registration = await navigator.serviceWorker.register("/sw.js");
                await navigator.serviceWorker.ready;
                const { key } = await (await fetch("/api/push/vapid-public-key")).json();
                const subscription = await registration.pushManager.subscribe({
                    userVisibleOnly: true, applicationServerKey: key });
                const answer = await fetch("/api/push-subscriptions", {
                    method: "POST", body: JSON.stringify(subscription) });
                return answer.status;
            })()"""
        )
        assert status == 201
        await hub.publish("user:ada", type="alert", title="By the book", body="Chapter 1", url="/orders/1")
        shown = await tab.until(
            "navigator.serviceWorker.ready.then((r) => r.getNotifications()).then((all) => all.length && all.map("
            "(one) => [one.title, one.body, one.data.url]))"
        )
        assert shown == [["By the book", "Chapter 1", "/orders/1"]]
    finally:
        await runner.cleanup()
