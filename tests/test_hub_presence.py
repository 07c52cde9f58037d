"""The hub and those who are told of presence: whatever they do, connections come and go as they should."""

import logging

import pytest

from hubd.core.errors import EXPIRED
from hubd.core.presence import State
from hubd.testing import connect, make_hub


def test_a_listener_that_fails_harms_neither_connections_nor_other_listeners(caplog: pytest.LogCaptureFixture) -> None:
    def failing(user: str, before: State, after: State) -> None:
        raise ValueError(f"no {user}")

    hub, clock, _ = make_hub()
    edges: list[tuple[str, State, State]] = []
    hub.on_presence += [failing, lambda *edge: edges.append(edge)]
    ada, bob = connect(hub, "ada"), connect(hub, "bob")
    assert [frame["hub"] for frame in ada.frames] == ["welcome"] and ada.live
    hub.end(ada, EXPIRED)
    assert ada.ended is EXPIRED
    bob.drop()
    assert not hub.registry.connections
    clock.advance(hub.config.delivery.grace_s)
    hub.maintain()
    assert not hub.registry.users
    assert [after for user, _, after in edges if user == "ada"] == [State.ATTENTIVE, State.WAVERING, State.AWAY]
    assert [record.levelno for record in caplog.records if record.exc_info] == [logging.ERROR] * len(edges)
    assert "no ada" in caplog.text and "no bob" in caplog.text
