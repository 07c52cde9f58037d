"""The main job on real input: applications publish over HTTP, people see it in real browsers."""

import asyncio
import json
import os
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

Serve = Callable[[str], Awaitable[str]]

PLAIN_PAGE = """<!doctype html><title>plain</title><script>
window.toasts = []; window.badge = 0; window.feed = []; window.other = [];
const ws = new WebSocket("%s/notifications?user=%s");
ws.onmessage = (event) => {
  const n = JSON.parse(event.data);
  switch (n.type) {
    case "alert": toasts.push(n.title + ": " + n.body); break;
    case "badge": badge = n.count; break;
    case "feed": feed.push(n.item); break;
    default: other.push(n);
  }
};
ws.onopen = () => { window.connected = true; };
</script>"""

CLIENT_PAGE = """<!doctype html><title>client</title><script type="module">
import { Hubd } from "%(url)s/hubd.js";
window.got = []; window.gaps = []; window.states = [];
const hub = new Hubd({ url: "%(url)s/notifications", user: "%(user)s", topics: ["log"] });
hub.addEventListener("notification", (event) => got.push(event.detail.n));
hub.addEventListener("gap", (event) => gaps.push(event.detail.reason));
hub.addEventListener("state", (event) => states.push(event.detail.state));
window.hub = hub;
</script>"""


async def test_a_bare_websocket_and_a_switch_are_enough(chromium: Any, hub: Any, serve_page: Serve) -> None:
    ws = hub.url.replace("http", "ws", 1)
    ada = await chromium.open(await serve_page(PLAIN_PAGE % (ws, "ada")))
    bob = await chromium.open(await serve_page(PLAIN_PAGE % (ws, "bob")))
    for page in (ada, bob):
        await page.until("window.connected")
    await hub.publish("user:ada", type="alert", title="Shipped", body="Order 1234")
    await hub.publish("user:ada:notifications", type="badge", count=7)
    await hub.publish("user:bob", type="feed", item="Ada likes your post")
    await hub.publish("notifications", type="alert", title="Maintenance", body="02:00 UTC")
    await hub.publish("team:nobody", type="alert", title="Not", body="for these two")
    await hub.publish("notifications", type="feed", item="last")

    for page in (ada, bob):
        await page.until("feed.at(-1) === 'last'")
    everything = "[toasts, badge, feed, other]"
    assert await ada.js(everything) == [["Shipped: Order 1234", "Maintenance: 02:00 UTC"], 7, ["last"], []]
    assert await bob.js(everything) == [["Maintenance: 02:00 UTC"], 0, ["Ada likes your post", "last"], []]


async def test_a_cut_network_loses_nothing_and_repeats_nothing(
    chromium: Any, hub: Any, wire: Any, serve_page: Serve
) -> None:
    page = await chromium.open(await serve_page(CLIENT_PAGE % {"url": wire.url, "user": "ada"}))
    await page.until("states.includes('connected')")
    for n in range(10):
        await hub.publish("user:ada", type="feed", n=n)
    await page.until("got.length === 10")

    wire.cut()
    for n in range(10, 60):
        await hub.publish(["user:ada", "notifications", "log"][n % 3], type="feed", n=n)
        await asyncio.sleep(0.1)  # five seconds in all
    assert await page.js("got.length") == 10
    wire.mend()

    await page.until("got.length >= 60")
    await hub.publish("user:ada", type="feed", n=60)
    await page.until("got.at(-1) === 60")
    assert await page.js("got") == list(range(61))
    assert await page.js("gaps") == []


async def test_a_killed_hub_means_an_honest_gap(chromium: Any, hub: Any, serve_page: Serve) -> None:
    page = await chromium.open(await serve_page(CLIENT_PAGE % {"url": hub.url, "user": "ada"}))
    await page.until("states.includes('connected')")
    await hub.publish("user:ada", type="feed", n=1)
    await page.until("got.length === 1")

    await hub.kill()
    await page.until("states.at(-1) !== 'connected'")
    await hub.start()
    await page.until("states.at(-1) === 'connected'")
    await page.until("gaps.length === 1")
    assert await page.js("gaps") == ["epoch"]

    await hub.publish("user:ada", type="feed", n=2)
    await page.until("got.length === 2")
    assert await page.js("got") == [1, 2]


def _system_log() -> list[str]:
    """The longest readable text log of this system: what is really there, not what a test would make up."""
    candidates = [path for path in Path("/var/log").rglob("*.log") if path.is_file() and os.access(path, os.R_OK)]
    assert candidates, "this system has no log under /var/log"
    longest = max(candidates, key=lambda path: path.stat().st_size)
    lines = longest.read_text(errors="replace").splitlines()
    return [line for line in lines if line.strip()][-300:]


async def test_any_programs_output_can_be_a_feed(chromium: Any, hub: Any, serve_page: Serve) -> None:
    html = CLIENT_PAGE.replace("detail.n)", "detail.title)") % {"url": hub.url, "user": "ada"}
    page = await chromium.open(await serve_page(html))
    await page.until("states.includes('connected')")
    lines = _system_log()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "hubd", "publish", "--stdin", "--text", "--to", "log", "--type", "feed"),
        stdin=asyncio.subprocess.PIPE,
        env=os.environ | {"HUBD_URL": hub.url, "HUBD_KEY": hub.key},
    )
    assert process.stdin is not None
    process.stdin.write((lines[0] + "\n").encode())
    await process.stdin.drain()
    await page.until("got.length === 1")  # it comes at once: the program still runs
    process.stdin.write(("\n".join(lines[1:]) + "\n").encode())
    process.stdin.close()
    assert await asyncio.wait_for(process.wait(), 30) == 0
    await page.until(f"got.length >= {len(lines)}")
    assert await page.js("got") == [line.strip() for line in lines]


async def test_a_feed_of_json_lines_says_where_each_goes(chromium: Any, hub: Any, serve_page: Serve) -> None:
    page = await chromium.open(await serve_page(CLIENT_PAGE % {"url": hub.url, "user": "ada"}))
    await page.until("states.includes('connected')")
    bodies = [{"to": ["user:ada", "log"][n % 2], "notification": {"type": "feed", "n": n}} for n in range(50)]
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "hubd", "publish", "--stdin"),
        stdin=asyncio.subprocess.PIPE,
        env=os.environ | {"HUBD_URL": hub.url, "HUBD_KEY": hub.key},
    )
    await asyncio.wait_for(process.communicate("\n".join(map(json.dumps, bodies)).encode()), 30)
    assert process.returncode == 0
    await page.until("got.length >= 50")
    assert await page.js("got") == list(range(50))
