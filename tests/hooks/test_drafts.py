"""The features that are to come, in a few lines each, on the public hooks alone: nothing that they need is missing."""

from typing import Any

from hubd.testing import RecordingConnection, hub_for
from tests.hooks.drafts import Batching, Caps, DoNotDisturb, Inbox, Pager, Preferences, Segments


def seen(connection: RecordingConnection) -> list[Any]:
    return [frame.get("title", frame.get("count")) for frame in connection.notifications()]


async def test_preferences() -> None:
    async with hub_for(Preferences) as hub:
        ada, bob = hub.connect("ada", ["t"]), hub.connect("bob", ["t"])
        answer = await hub.request("PUT", "/api/preferences", user="ada", json={"muted": ["like"]})
        assert answer.status == 200
        liked = await hub.publish("t", {"type": "like", "title": "liked"})
        await hub.publish("t", {"type": "like", "title": "alarm"}, priority="critical")
        await hub.publish("t", {"type": "post", "title": "posted"})
        assert (seen(ada), seen(bob)) == (["alarm", "posted"], ["liked", "alarm", "posted"])
        assert liked.live == 1
        assert await hub.metric("hubd_withheld_total", plugin="preferences", action="drop") == 1
        again = hub.connect("ada", ["t"], cursor=hub.hub.attendance.cursor(0))
        await hub.settle()
        assert seen(again) == ["alarm", "posted"], "not by a replay either"
        assert (await hub.request("GET", f"/api/notifications/{liked.id}", user="ada")).status == 404


async def test_do_not_disturb() -> None:
    async with hub_for(DoNotDisturb) as hub:
        ada, bob = hub.connect("ada", ["t"]), hub.connect("bob", ["t"])
        hub.plugin.switch("ada", True)
        for title in "abc":
            await hub.publish("t", {"type": "x", "title": title}, id=title, ttl=60)
        await hub.publish("user:ada", {"type": "x", "title": "fire"}, id="fire", priority="critical", ttl=60)
        assert (seen(ada), seen(bob)) == ([], ["a", "b", "c"])
        await hub.advance(3600)
        hub.plugin.switch("ada", False)
        await hub.settle()
        assert seen(ada) == ["fire", 3]
        fire = ada.notifications()[0]
        assert (fire["id"], fire["channel"]) == ("fire", "user:ada:notifications")
        await hub.publish("t", {"type": "x", "title": "d"})
        assert seen(ada)[-1] == "d"


async def test_batching() -> None:
    async with hub_for(Batching) as hub:
        ada, bob = hub.connect("ada", ["t"]), hub.connect("bob")
        for count in range(6):
            await hub.publish(
                ["t", "user:bob"] if count < 2 else "t", {"type": "like", "title": f"l{count}"}, group="likes"
            )
        assert (seen(ada), seen(bob)) == (["l0"], ["l0"])
        await hub.advance(59)
        assert seen(ada) == ["l0"]
        await hub.advance(1)
        assert (seen(ada), seen(bob)) == (["l0", 5], ["l0", 1])
        await hub.publish("t", {"type": "like", "title": "next"}, group="likes")
        assert seen(ada)[-1] == "next"


async def test_caps() -> None:
    async with hub_for(Caps) as hub:
        ada, bob = hub.connect("ada", ["t"]), hub.connect("bob")
        for title in "abcd":
            await hub.publish(["t", "user:bob"] if title == "d" else "t", {"type": "x", "title": title})
        assert (seen(ada), seen(bob)) == (["a", "b"], ["d"])
        await hub.advance(3600)
        await hub.publish("t", {"type": "x", "title": "e"})
        assert seen(ada)[-1] == "e"


async def test_inbox() -> None:
    async with hub_for(Inbox) as hub:
        await hub.hub.make_durable("away", ["t"], None)
        ada = hub.connect("ada", ["t"])
        receipt = await hub.publish("t", {"type": "x", "title": "kept"}, persistence="persistent")
        hub.hub.ack("ada", [receipt.id], [ada])
        await hub.settle()
        mine = (await hub.request("GET", "/api/inbox", user="ada")).json()
        assert [(one["title"], one["seen"]) for one in mine] == [("kept", True)]
        theirs = (await hub.request("GET", "/api/inbox/away", key=True)).json()
        assert [(one["title"], one["seen"]) for one in theirs] == [("kept", False)]
        assert (await hub.request("GET", "/api/inbox", user="stranger")).json() == []
        await hub.request("DELETE", f"/api/notifications/{receipt.id}", key=True)
        await hub.settle()
        assert (await hub.request("GET", "/api/inbox", user="ada")).json() == []


async def test_a_push_backend_and_who_is_away() -> None:
    async with hub_for(Pager) as hub:
        for user, number in (("ada", "5"), ("bob", "0"), ("cyd", "5")):
            await hub.hub.make_durable(user, ["t"], None)
            await hub.register(user, "pager", token=user + number)
        ada = hub.connect("ada", ["t"])
        receipt = await hub.publish("t", {"type": "x"}, id="n")
        hub.hub.ack("ada", [receipt.id], [ada])
        await hub.advance(10)
        assert hub.plugin.gone == [("bob", "bob0", "unknown number")]
        ada.drop()
        await hub.advance(10)
        assert [(user, state.value) for user, state in hub.plugin.edges] == [
            ("ada", "attentive"), ("ada", "wavering"), ("ada", "away"),
        ]  # fmt: skip


async def test_segments() -> None:
    async with hub_for(Segments) as hub:
        ada, cyd = hub.connect("ada"), hub.connect("cyd")
        answer = await hub.request(
            "POST", "/api/notifications", key=True, json={"to": {"segment": "on-call"}, "notification": {"type": "x"}}
        )
        assert answer.status == 202, answer.body
        await hub.settle()
        (got,) = ada.notifications()
        assert (got["channel"], got["priority"]) == ("user:ada:notifications", "critical")
        assert cyd.notifications() == []
        body = {"to": {"segment": "nobody knows"}, "notification": {"type": "x"}}
        answer = await hub.request("POST", "/api/notifications", key=True, json=body)
        assert (answer.status, answer.json()["errors"][0]["path"]) == (422, "to.segment")
