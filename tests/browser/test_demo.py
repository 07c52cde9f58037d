"""The demo page, in two browsers' worth of tabs, as a newcomer would try it."""

import asyncio
from typing import Any

STATE = "document.querySelector('[data-testid=state]').dataset.state"


def _text(testid: str) -> str:
    return f"document.querySelector('[data-testid={testid}]')?.innerText ?? ''"


def _all(testid: str) -> str:
    return f"[...document.querySelectorAll('[data-testid={testid}]')].map((item) => item.innerText)"


def _click(testid: str) -> str:
    return f"document.querySelector('[data-testid={testid}]').click()"


def _fill(testid: str, value: str) -> str:
    return f"""(() => {{
        const field = document.querySelector('[data-testid={testid}]');
        field.value = {value!r};
        field.dispatchEvent(new Event('input', {{ bubbles: true }}));
        field.dispatchEvent(new Event('change', {{ bubbles: true }}));
    }})()"""


async def _open(chromium: Any, hub: Any, user: str) -> Any:
    tab = await chromium.open(f"{hub.url}/demo/?user={user}")
    await tab.until(f"{STATE} === 'connected'")
    return tab


async def test_one_user_writes_to_the_other(chromium: Any, hub: Any) -> None:
    ada, bob = await _open(chromium, hub, "ada"), await _open(chromium, hub, "bob")
    await ada.js(_click("publish-to-user"))
    for field, value in (("publish-target", "bob"), ("publish-title", "Lunch?"), ("publish-body", "At noon")):
        await ada.js(_fill(field, value))
    await ada.js(_click("publish-button"))

    await bob.until(f"{_text('feed')}.includes('Lunch?')")
    await bob.until(f"{_text('toasts')}.includes('At noon')")
    assert "Lunch?" not in await ada.js(_text("feed"))


async def test_badge_and_feed_are_told_apart(chromium: Any, hub: Any) -> None:
    ada = await _open(chromium, hub, "ada")
    await hub.publish("user:ada", type="badge", count=12)
    await hub.publish("user:ada", type="feed", item="Bob merged a branch")
    await ada.until(f"{_text('badge')} === '12'")
    await ada.until(f"{_text('feed')}.includes('Bob merged a branch')")


async def test_markup_in_a_notification_stays_text(chromium: Any, hub: Any) -> None:
    ada = await _open(chromium, hub, "ada")
    evil = "<img src=x onerror='window.hacked = true'>"
    await hub.publish("user:ada", type="alert", title=evil, body=evil, url="javascript:window.hacked=true")
    await ada.until(f"{_text('feed')}.includes('onerror')")
    assert await ada.js("window.hacked") is None
    assert await ada.js("[...document.links].filter((link) => link.protocol === 'javascript:').length") == 0


async def test_what_was_missed_while_down_is_replayed_and_marked(chromium: Any, hub: Any) -> None:
    ada = await _open(chromium, hub, "ada")
    await hub.publish("user:ada", type="alert", title="before", body="")
    await ada.until(f"{_all('feed-item')}.length === 1")
    await ada.js(_click("drop-button"))
    await ada.until(f"{STATE} !== 'connected'")
    for n in range(3):
        await hub.publish("user:ada", type="alert", title=f"missed {n}", body="")
    await asyncio.sleep(0.5)
    assert len(await ada.js(_all("feed-item"))) == 1

    await ada.until(f"{_all('feed-item')}.length === 4")
    newest_first = await ada.js(_all("feed-item"))
    assert [f"missed {2 - place}" in text for place, text in enumerate(newest_first[:3])] == [True] * 3
    assert all("replayed" in text for text in newest_first[:3])
    assert "replayed" not in newest_first[3]


async def test_who_is_in_a_topic_is_shown_live(chromium: Any, hub: Any) -> None:
    ada = await _open(chromium, hub, "ada")
    await ada.js(_fill("topic-input", "team:engineering"))
    await ada.js(_click("subscribe-button"))
    await ada.until(f"{_text('topics')}.includes('team:engineering')")
    bob = await _open(chromium, hub, "bob")
    await bob.js(_fill("topic-input", "team:engineering"))
    await bob.js(_click("subscribe-button"))
    await ada.until(f"{_all('people')}.some((people) => people.includes('bob'))")


async def test_a_gap_is_shown_as_one(chromium: Any, hub: Any) -> None:
    ada = await _open(chromium, hub, "ada")
    await ada.js(_click("gap-button"))
    await ada.until("document.querySelector('[data-testid=gap]') !== null")
