"""Saying something once a minute."""

from hubd_webhooks.told import Told


def test_once_a_minute_with_all_that_happened_since() -> None:
    told = Told()
    assert told.note(3, 100.0) == 3
    assert told.note(1, 100.1) == 0
    assert told.note(5, 159.9) == 0
    assert told.note(2, 160.0) == 8
    assert told.note(1, 161.0) == 0
    assert told.note(1, 1000.0) == 2
