"""The measurement of Web Push: both sides really send, and the service took everything that they sent."""

from bench.webpush import Figures, measure


async def test_both_sides_arrive() -> None:
    figures = await measure(rounds=2, pushes=10, payload_bytes=500, at_once=4)
    assert len(figures.plugin) == len(figures.plain) == 2
    assert all(microseconds > 0 for microseconds in (*figures.plugin, *figures.plain))


def test_the_ratio_is_that_of_neighbours() -> None:
    assert Figures([100.0, 200.0, 300.0], [150.0, 260.0, 900.0]).ratio == 1.5
