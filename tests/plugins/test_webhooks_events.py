"""The JSON of events, where it isn't a hub that says what happened."""

import json
from random import Random

from hubd_webhooks.config import DEFAULT_EVENTS
from hubd_webhooks.events import EVENT_OF, PAYLOAD_BYTES, body_of, disconnected, encoded, new_id, with_payload

from hubd.plugin import Action, ConnectionInfo, Notification, Persistence, Priority, identity_of


def test_ids_differ_and_come_from_the_randomness_that_was_handed_in() -> None:
    ids = [new_id("evt", random) for random in [Random(1)] for _ in range(1000)]
    assert len(set(ids)) == 1000 and ids[0] == new_id("evt", Random(1))
    assert {len(id) for id in ids} == {len("evt_") + 32}


def test_a_body_is_its_events_in_order() -> None:
    events = [encoded(f"evt_{number}", "published", 5, {"n": number}) for number in range(3)]
    assert json.loads(body_of(events)) == {
        "events": [{"id": f"evt_{n}", "type": "published", "at": 5, "data": {"n": n}} for n in range(3)]
    }


def notification(title: str) -> Notification:
    return Notification(
        id="n1",
        payload={"type": "t", "title": title},
        channels={"news": 0},
        priority=Priority.IMPORTANT,
        persistence=Persistence.BUFFERABLE,
        sent_at=1,
        expires_at=2.0,
    )


def test_a_payload_is_in_it_or_said_to_be_missing() -> None:
    short, long = notification("x"), notification("\u00e9" * (PAYLOAD_BYTES // 2))
    assert with_payload({"id": "n1"}, short) == {"id": "n1", "payload": {"type": "t", "title": "x"}}
    assert with_payload({"id": "n1"}, long) == {"id": "n1", "payload": None, "payload_left_out": True}


def test_every_action_of_a_gate_is_an_event() -> None:
    assert set(EVENT_OF) == set(Action) and set(EVENT_OF.values()) <= set(DEFAULT_EVENTS)


def test_what_is_known_of_a_connection_beyond_its_user_is_not_told() -> None:
    identity = identity_of("ada", topics=["secret:*"], tags=["vip"])
    info = ConnectionInfo("c1", "ada", "sse", "192.0.2.1", identity)
    assert disconnected(info, "x" * 1000) == {
        "user": "ada",
        "connection": "c1",
        "transport": "sse",
        "reason": "x" * 200,
    }
