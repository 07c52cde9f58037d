"""What happens in a hub becomes events, for those endpoints that want them; reloads; the end."""

import asyncio
import json
from typing import Any

import pytest
from hubd_webhooks import endpoint as endpoint_module
from hubd_webhooks.config import DEFAULT_EVENTS, WebhooksConfig

from hubd.plugin import Device, EgressFailed, Notification, UserSet, Verdict, Way, digest, drop, hold, hookimpl
from hubd.testing import Other
from tests.plugins.webhooks_world import OTHER_KEY, OTHER_SECRET, QUIET, World, config, endpoint, is_genuine, webhooks

EVERYTHING = [*DEFAULT_EVENTS, "acked", "subscribed", "unsubscribed"]
ALL = config(endpoint(events=EVERYTHING))


async def types_of(world: World) -> list[str]:
    await world.hub.settle()
    return [event["type"] for event in world.network.events]


# --- Each event


async def test_published() -> None:
    async with webhooks(config(endpoint(**QUIET))) as world:
        world.hub.connect("ada", ["news"])
        receipt = await world.hub.publish(
            ["news", "user:ada"], {"type": "alert", "title": "s3cr3t"}, priority="critical"
        )
        (data,) = world.network.data_of("published")
        assert data == {
            "id": receipt.id,
            "type": "alert",
            "channels": ["news", "user:ada:notifications"],
            "channel_count": 2,
            "priority": "critical",
            "persistence": "bufferable",
            "sent_at": int(world.hub.clock.now() * 1000),
            "sender": None,
            "live": 1,
        }
        assert b"s3cr3t" not in world.network.calls[0].body


async def test_the_notification_itself_goes_to_those_alone_who_asked_for_it() -> None:
    options = config(endpoint(**QUIET, name="full", payload=True), endpoint(**QUIET, name="plain"))
    async with webhooks(options) as world:
        await world.hub.publish("news", {"type": "alert", "title": "S\u00e3o"})
        full, plain = sorted(world.network.events, key=lambda event: "payload" not in event["data"])
        assert full["data"]["payload"] == {"type": "alert", "title": "S\u00e3o"}
        assert full["id"] == plain["id"]  # it is one event, whoever gets it
        assert "payload" not in plain["data"]


async def test_a_notification_that_is_too_long_is_left_out() -> None:
    big = {"limits": {"message_bytes": 2_000_000}}
    async with webhooks(config(endpoint(**QUIET, payload=True)), settings=big) as world:
        await world.hub.publish("news", {"type": "alert", "title": "x" * 300_000})
        (data,) = world.network.data_of("published")
        assert (data["payload"], data["payload_left_out"]) == (None, True)


async def test_many_channels_are_counted() -> None:
    async with webhooks() as world:
        await world.hub.publish([f"news:{number}" for number in range(250)])
        (data,) = world.network.data_of("published")
        assert (len(data["channels"]), data["channel_count"]) == (100, 250)


async def test_people_come_and_go() -> None:
    async with webhooks(ALL) as world:
        ada = world.hub.connect("ada")
        ada.drop()
        await world.hub.advance(3600)
        assert world.network.data_of("connected") == [
            {"user": "ada", "connection": ada.id, "transport": "recording"},
        ]
        assert world.network.data_of("disconnected") == [
            {"user": "ada", "connection": ada.id, "transport": "recording", "reason": "gone"},
        ]
        states = [(data["user"], data["before"], data["after"]) for data in world.network.data_of("presence")]
        assert states == [
            ("ada", "away", "attentive"),
            ("ada", "attentive", "wavering"),
            ("ada", "wavering", "away"),
        ]


async def test_retracted() -> None:
    async with webhooks(ALL) as world:
        receipt = await world.hub.publish("news", {"type": "alert"})
        notification = world.hub.handle.find(receipt.id)
        assert notification is not None
        world.hub.handle.retract(notification)
        await world.hub.settle()
        (data,) = world.network.data_of("retracted")
        assert data == {"id": receipt.id, "type": "alert", "channels": ["news"], "channel_count": 1}


async def test_subscriptions() -> None:
    async with webhooks(ALL) as world:
        await world.hub.handle.subscribe("ada", ["news"])
        await world.hub.handle.unsubscribe("ada", ["news"])
        await world.hub.settle()
        expected = [{"user": "ada", "topic": "news", "connection": None}]
        assert world.network.data_of("subscribed") == world.network.data_of("unsubscribed") == expected


async def test_acked() -> None:
    async with webhooks(ALL) as world:
        ids = tuple(f"n{number}" for number in range(150))
        world.plugin.hubd_acked("ada", ids)
        await world.hub.settle()
        assert world.network.data_of("acked") == [{"user": "ada", "ids": list(ids[:100]), "id_count": 150}]


async def test_gone_without_the_addresses_of_devices() -> None:
    async with webhooks(ALL) as world:
        devices = [Device("d1", "ada", "webpush", {"endpoint": "https://s3cr3t"})]
        world.hub.hub.observers.devices_gone.tell("ada", tuple(devices), "410 " + "x" * 500)
        await world.hub.settle()
        (data,) = world.network.data_of("gone")
        assert data["devices"] == [{"id": "d1", "platform": "webpush"}]
        assert (data["user"], data["device_count"], len(data["reason"])) == ("ada", 1, 200)
        assert b"s3cr3t" not in world.network.calls[0].body


class Gate:
    """A gate with something to say about everybody who is to get `news`."""

    def __init__(self, config: Any) -> None:
        pass

    @hookimpl
    def hubd_filter_recipients(self, notification: Notification, recipients: UserSet) -> list[Verdict]:
        numbers = list(recipients)
        third = len(numbers) // 3
        return [
            drop(UserSet(numbers[:third]), "muted"),
            hold(UserSet(numbers[third : 2 * third]), "quiet_hours", Way.PUSH),
            digest(UserSet(numbers[2 * third :]), "daily"),
        ]


async def test_what_gates_keep_from_users() -> None:
    async with webhooks(ALL, others=(Other("mutes", Gate),)) as world:
        for number in range(450):
            await world.hub.handle.subscribe(f"u{number}", ["news"])
        receipt = await world.hub.publish("news", {"type": "alert"})
        for type_, reason, ways in (
            ("dropped", "muted", ["live", "push"]),
            ("held", "quiet_hours", ["push"]),
            ("digested", "daily", ["live", "push"]),
        ):
            (data,) = world.network.data_of(type_)
            assert (data["id"], data["plugin"], data["reason"], data["ways"]) == (receipt.id, "mutes", reason, ways)
            assert data["user_count"] == 150 and len(data["users"]) == 100
        assert world.network.data_of("dropped")[0]["users"][:2] == ["u0", "u1"]


# --- Who gets which


async def test_an_endpoint_gets_what_it_asked_for() -> None:
    async with webhooks(config(endpoint(events=["disconnected"]))) as world:
        world.hub.connect("ada").drop()
        await world.hub.publish("news")
        assert await types_of(world) == ["disconnected"]


async def test_without_a_choice_the_noisy_ones_are_left_out() -> None:
    async with webhooks(config(endpoint())) as world:
        await world.hub.handle.subscribe("ada", ["news"])
        await world.hub.handle.unsubscribe("ada", ["news"])
        world.plugin.hubd_acked("ada", ("n1",))
        await world.hub.publish("news")
        assert await types_of(world) == ["published"]


async def test_channels_choose_among_events_about_channels() -> None:
    one = endpoint(events=["published", "subscribed", "connected"], channels=["team:*", "user:ada"])
    async with webhooks(config(one)) as world:
        for to in ("news", "team:a", "team:a:b", "user:ada", "user:bob", "notifications"):
            await world.hub.publish(to, {"type": to})
        await world.hub.publish(["news", "team:b"], {"type": "both"})
        await world.hub.handle.subscribe("ada", ["news", "team:c"])
        world.hub.connect("bob")
        await world.hub.settle()
        assert [data["type"] for data in world.network.data_of("published")] == ["team:a", "user:ada", "both"]
        assert [data["topic"] for data in world.network.data_of("subscribed")] == ["team:c"]
        assert len(world.network.data_of("connected")) == 1


# --- Reloads


async def test_a_reload_brings_new_endpoints_and_takes_old_ones() -> None:
    async with webhooks(config(endpoint(**QUIET, name="a"), endpoint(**QUIET, name="b"))) as world:
        await world.hub.publish("news")
        assert len(world.network.calls) == 2
        other = endpoint(url="https://new.example.com/", secret=OTHER_SECRET, events=["published"], name="c")
        world.hub.reconfigure(config(endpoint(**QUIET, name="b"), other))
        await world.hub.publish("news")
        assert sorted(call.url for call in world.network.calls[2:]) == [
            "https://app.example.com/hooks",
            "https://new.example.com/",
        ]
        (new,) = (call for call in world.network.calls if "new" in call.url)
        assert is_genuine(new.headers, new.body, OTHER_KEY, world.hub.clock.now())
        assert await world.hub.metric("webhooks_sent_total", endpoint="a") == 1
        with pytest.raises(KeyError):
            await world.hub.metric("webhooks_waiting", endpoint="a")


async def test_what_waits_for_an_endpoint_goes_to_its_new_address_at_once() -> None:
    async with webhooks(config(endpoint(**QUIET, name="a")), EgressFailed("tls"), 204) as world:
        await world.hub.publish("news")
        moved = endpoint(**QUIET, name="a") | {"url": "https://moved.example.com/"}
        world.hub.reconfigure(config(moved))
        await world.hub.settle()
        assert [call.url for call in world.network.calls] == [
            "https://app.example.com/hooks",
            "https://moved.example.com/",
        ]
        assert world.network.calls[0].id == world.network.calls[1].id


async def test_what_waits_for_an_endpoint_that_is_taken_away_is_lost_and_counted() -> None:
    async with webhooks(config(endpoint(**QUIET, name="a"), batch=1, concurrency=1), 500) as world:
        await world.publish(3)
        await world.hub.settle()
        world.hub.reconfigure(config(endpoint(**QUIET, name="b")))
        await world.hub.advance(3600)
        assert len(world.network.calls) == 1
        assert await world.hub.metric("webhooks_dropped_total", endpoint="a", reason="removed") == 3


async def test_both_secrets_sign_while_one_is_replaced() -> None:
    async with webhooks(config(endpoint(**QUIET, old_secret=OTHER_SECRET))) as world:
        await world.hub.publish("news")
        (call,) = world.network.calls
        assert len(call.headers["webhook-signature"].split()) == 2
        assert is_genuine(call.headers, call.body, OTHER_KEY, world.hub.clock.now())


async def test_other_allowed_hosts_take_another_client() -> None:
    async with webhooks(config(endpoint(**QUIET))) as world:
        before = world.plugin._egress
        made: list[WebhooksConfig] = []

        def make(options: WebhooksConfig) -> Any:
            made.append(options)
            return before

        world.plugin.make_egress = make  # type: ignore[method-assign]  # to see what it is asked for
        world.hub.reconfigure(config(endpoint(**QUIET), batch=7))
        assert made == []
        world.hub.reconfigure(config(endpoint(**QUIET), allow_hosts=["10.0.0.0/8"]))
        assert [options.allow_hosts for options in made] == [("10.0.0.0/8",)]


# --- The end


async def test_a_stop_sends_what_waits_for_its_next_try() -> None:
    async with webhooks(config(endpoint(**QUIET), batch=1, concurrency=2), 500, 503, 204) as world:
        await world.publish(10)
        await world.hub.settle()
        assert world.network.open == 0  # the calls wait for time to pass, and it doesn't
        assert len(world.network.calls) == 2
        await world.plugin.hubd_shutdown()  # while the clock stands: at its end the kit wakes whoever sleeps
        assert len(world.network.calls) == 12
        assert len({event["id"] for event in world.network.events}) == 10
        assert world.network.closed


async def test_a_stop_gives_up_after_a_while_and_says_what_is_lost(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    import hubd_webhooks.plugin as plugin_module

    monkeypatch.setattr(plugin_module, "SHUTDOWN_S", 0.05)
    monkeypatch.setattr(endpoint_module, "SHUTDOWN_S", 0.05)
    gate: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    async with webhooks(config(endpoint(**QUIET), batch=1, concurrency=1), gate) as world:
        await world.publish(7)
        await world.hub.settle()
        one = world.plugin.endpoints["app.example.com"]
    (line,) = [record.getMessage() for record in caplog.records]
    assert "events are lost because the hub stops" in line and "lost=7" in line
    assert one.waiting == 0 and world.network.closed


async def test_a_stop_tries_once_and_not_again(caplog: pytest.LogCaptureFixture) -> None:
    async with webhooks(config(endpoint(**QUIET), batch=1, concurrency=1), 500) as world:
        await world.publish(5)
        await world.hub.settle()
        await world.plugin.hubd_shutdown()
    # The first one was tried before, and each once more.
    assert len(world.network.calls) == 6
    assert all(call.timeout_s == 4 for call in world.network.calls[1:])
    assert "lost=5" in caplog.records[-1].getMessage()


async def test_the_disconnections_of_the_stop_are_told() -> None:
    async with webhooks(config(endpoint(events=["disconnected"]))) as world:
        world.hub.connect("ada").drop()
    assert [data["user"] for data in world.network.data_of("disconnected")] == ["ada"]


async def test_events_are_json_that_everybody_reads() -> None:
    async with webhooks(ALL) as world:
        world.hub.connect("ada")
        await world.hub.publish("news", {"type": "alert", "title": '"\\\u2028\U0001f600'})
        await world.hub.settle()
        for call in world.network.calls:
            assert list(json.loads(call.body)) == ["events"]
            assert call.headers["content-type"] == "application/json"
        assert all(set(event) == {"id", "type", "at", "data"} for event in world.network.events)
