"""Disconnecting races publishing, thousands of times: nothing is lost, and nobody who acked in time is pushed to."""

from math import inf
from random import Random

import pytest

from tests.simulation.clients import Tab
from tests.simulation.observer import Publication
from tests.simulation.push_services import HOSTS
from tests.simulation.world import World

USERS, ROUNDS, WORLDS = 25, 10, 40
ROUND_S = 14.0
CLOSE_S = 0.006
"""The disconnect and the publish arrive within so much of each other, in any order."""


class Race:
    """Rounds in which each user is published to at about the moment in which his tab goes, or his ack arrives."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        settings = {"delivery": {"push_delay_s": 5.0, "grace_s": 3.0}, "limits": {"ping_s": 25, "pong_s": 10}}
        self.world = World(seed, settings)
        self.world.users += [f"u{number}" for number in range(USERS)]
        self.trials = 0

    def run(self) -> int:
        world = self.world
        try:
            world.start()
            for user in world.users:
                world.loop.call_later(0.1, world.add_phone, user, HOSTS[0], self.random.choice((0.0, 0.5)))
                is_plain = self.random.random() < 0.2
                tab = world.add_tab(user, topics=(), is_plain=is_plain, acks=True, ack_chance=0.8)
                world.loop.call_later(0.5, tab.open)
            world.run(2.0)
            self._publish(Publication("warm.up", ("notifications",), "informational", "bufferable", None, None, None))
            world.run(1.0)  # now even plain clients have a cursor to come back with
            for number in range(ROUNDS):
                for tab in world.tabs:
                    self._race(tab, number)
                world.run(ROUND_S)
            world.run(5.0)
            world.check()
            self._check_nothing_is_lost()
        finally:
            world.close()
        return self.trials

    def _race(self, tab: Tab, number: int) -> None:
        """All at about one moment: published, and cut, closed, half-open or come back."""
        random, loop = self.random, self.world.loop
        moment = random.uniform(0.1, 1.0)
        kind = random.choice((("important", "bufferable"), ("important", "persistent"), ("critical", "persistent")))
        publication = Publication(f"{tab.user}.{number}", (f"user:{tab.user}",), *kind, None, None, None)
        loop.call_later(moment + random.uniform(0, CLOSE_S), self._publish, publication)
        loop.call_later(
            moment + random.uniform(0, CLOSE_S), random.choice((self._cut, self._shut, self._half_open)), tab
        )
        loop.call_later(moment + random.choice((0.01, 0.5, 2.9, 3.1, 6.0)), tab.open)
        self.trials += 1

    def _publish(self, publication: Publication) -> None:
        self.random.choice(self.world.publishers).publish(publication, self.world.clock.now())

    def _cut(self, tab: Tab) -> None:
        if tab.link is not None:
            tab.link.cut()

    def _shut(self, tab: Tab) -> None:
        tab.shut()

    def _half_open(self, tab: Tab) -> None:
        if tab.link is not None and tab.seen is not None:
            tab.seen.dead_at = self.world.loop.now
            tab.link.die()
            self.world.loop.call_later(self.random.choice((0.02, 2.0, 8.0)), tab.link.client.reset)

    def _check_nothing_is_lost(self) -> None:
        """Each came to its user: on the connection that he had, or on the next one."""
        observer = self.world.observer
        for publication in observer.publications.values():
            user = publication.id.partition(".")[0]
            if user == "warm":
                continue
            got = any(got.id == publication.id for seen in observer.by_user[user] for got in seen.got)
            assert got, f"{publication.id} is lost"
            assert publication.accepted_at < inf


@pytest.mark.timeout(300)
@pytest.mark.parametrize("part", range(4))
def test_disconnecting_races_publishing(part: int) -> None:
    each = WORLDS // 4
    trials = sum(Race(7_000 + part * each + number).run() for number in range(each))
    assert trials == USERS * ROUNDS * each
