"""A real page in a real browser behind a real nginx that gets in the way, and then doesn't any more."""

import asyncio
from pathlib import Path

import pytest

from tests.browser.conftest import Chromium, Tab
from tests.proxy.conftest import Nginx, Site, token

UNBUFFERED = "        proxy_buffering off;\n"
NO_UPGRADE = UNBUFFERED + "        if ($http_upgrade) { return 403; }\n"
HELD_BACK = "        proxy_buffering on;\n        proxy_ignore_headers X-Accel-Buffering;\n"
NO_UPGRADE_AND_HELD_BACK = HELD_BACK + "        if ($http_upgrade) { return 403; }\n"
PATIENCE_S = 40.0

PAGE = """<!doctype html><title>page</title><p id=state>…</p><ul id=shown></ul><script type=module>
import { Hubd } from "/hubd.js";
window.gaps = []; window.states = [];
window.hub = new Hubd({ token: () => "TOKEN", topics: ["news"], climbMs: 1500, climbMaxMs: 3000 });
hub.addEventListener("notification", ({ detail }) => {
  const line = document.createElement("li");
  line.textContent = detail.title;
  shown.append(line);
});
hub.addEventListener("gap", ({ detail }) => gaps.push(detail));
hub.addEventListener("state", ({ detail }) => {
  states.push(detail);
  state.textContent = `${detail.state} by ${detail.transport}`;
});
</script>"""


class Page:
    """The page in its tab, and what was published to it."""

    def __init__(self, site: Site, tab: Tab) -> None:
        self.site = site
        self.tab = tab
        self.published: list[str] = []

    async def publish(self, count: int, pause_s: float = 0.0) -> None:
        """Publish so many, to the user and to his topic in turn."""
        for _ in range(count):
            title = f"number {len(self.published)}"
            await self.site.hub.publish("news" if len(self.published) % 2 else "user:ada", title=title)
            self.published.append(title)
            await asyncio.sleep(pause_s)

    async def by(self, transport: str) -> None:
        """Wait until it says that it is connected by this transport."""
        await self.tab.until(f"state.textContent === 'connected by {transport}'", PATIENCE_S)

    async def has_all(self) -> None:
        """Everything that was published is shown, in order and once, and no gap was told."""
        await self.tab.until(f"shown.children.length >= {len(self.published)}", PATIENCE_S)
        await asyncio.sleep(0.3)
        assert await self.tab.js("[...shown.children].map((line) => line.textContent)") == self.published
        assert await self.tab.js("gaps") == []


async def opened(site: Site, chromium: Chromium, folder: Path, obstacle: str) -> Page:
    """The page, behind nginx with this in the place of its unbuffered streams."""
    (folder / "page.html").write_text(PAGE.replace("TOKEN", token("ada")))
    await site.hub.start()
    await site.proxy.start(site.hub.port, changes(folder, obstacle))
    return Page(site, await chromium.open(f"{site.url}/page.html"))


def changes(folder: Path, obstacle: str) -> dict[str, str]:
    """What to change of the shipped config: the obstacle, and a page."""
    page = f"    location = /page.html {{ root {folder}; default_type text/html; }}\n"
    return {UNBUFFERED: obstacle, "    location / {\n": f"{page}    location / {{\n"}


@pytest.mark.parametrize(
    ("obstacle", "transport"),
    [(UNBUFFERED, "websocket"), (NO_UPGRADE, "sse"), (NO_UPGRADE_AND_HELD_BACK, "poll")],
    ids=["open", "no-upgrade", "no-upgrade-and-held-back"],
)
async def test_the_page_gets_everything_and_says_how(
    behind_nginx: Site, chromium: Chromium, tmp_path: Path, obstacle: str, transport: str
) -> None:
    page = await opened(behind_nginx, chromium, tmp_path, obstacle)
    await page.by(transport)
    await page.publish(30, 0.02)
    await page.has_all()


async def test_unblocked_it_climbs_back(behind_nginx: Site, chromium: Chromium, tmp_path: Path) -> None:
    proxy: Nginx = behind_nginx.proxy
    page = await opened(behind_nginx, chromium, tmp_path, NO_UPGRADE_AND_HELD_BACK)
    await page.by("poll")
    await page.publish(5)
    for obstacle, transport in ((NO_UPGRADE, "sse"), (UNBUFFERED, "websocket")):
        publishing = asyncio.ensure_future(page.publish(60, 0.05))
        await proxy.change(behind_nginx.hub.port, changes(tmp_path, obstacle))
        await page.by(transport)
        await publishing
        await page.publish(3)
        await page.has_all()


async def test_blocked_in_the_middle_it_steps_down(behind_nginx: Site, chromium: Chromium, tmp_path: Path) -> None:
    proxy: Nginx = behind_nginx.proxy
    page = await opened(behind_nginx, chromium, tmp_path, UNBUFFERED)
    await page.by("websocket")
    await page.publish(5)
    publishing = asyncio.ensure_future(page.publish(40, 0.05))
    await proxy.change(behind_nginx.hub.port, changes(tmp_path, NO_UPGRADE))
    await page.by("sse")
    await publishing
    await page.has_all()


async def test_a_reload_goes_on_where_the_page_was(behind_nginx: Site, chromium: Chromium, tmp_path: Path) -> None:
    page = await opened(behind_nginx, chromium, tmp_path, NO_UPGRADE)
    await page.by("sse")
    await page.publish(4)
    await page.has_all()
    await page.tab.js("hub.close()")
    page.published.clear()
    await page.publish(7)
    await page.tab.reload()
    await page.by("sse")
    await page.has_all()
