"""A random history: what happens, and when, follows from its seed."""

from collections.abc import Callable
from random import Random
from typing import Any

from tests.simulation import inside
from tests.simulation.clients import Tab
from tests.simulation.observer import Publication
from tests.simulation.phones import Phone
from tests.simulation.push_services import HOSTS
from tests.simulation.world import TOPICS, World

LASTS_S = 30.0
"""For how long things happen; then all is well again, and everything has to come to its end."""
SETTLES_S = 25.0
LONGEST_S = 200.0
"""A push service that was down may have been left in peace so long."""
LEAVES_S = 32.0
"""And for so long the last poll may wait for something to bring."""

_KINDS = (
    # priority, persistence, how often
    (("critical", "persistent"), 3),
    (("critical", "bufferable"), 2),
    (("important", "persistent"), 5),
    (("important", "bufferable"), 6),
    (("important", "ephemeral"), 2),
    (("informational", "bufferable"), 3),
    (("informational", "persistent"), 1),
    (("informational", "ephemeral"), 1),
)


class History:
    """``trouble``: which kinds of it there are; by default the seed says so."""

    def __init__(self, seed: int, trouble: frozenset[str] | None = None) -> None:
        self.seed = seed
        self.random = random = Random(seed)
        kinds = ("disk", "crash", "stop", "clock", "gate", "network", "services")
        if trouble is None:
            trouble = frozenset(kind for kind in kinds if random.random() < (0.75 if kind == "services" else 0.35))
        self.trouble = trouble
        settings = {
            "delivery": {"push_delay_s": random.choice((5.0, 7.0)), "grace_s": random.choice((2.0, 5.0))},
            "limits": {"ping_s": random.choice((4.0, 8.0, 25.0)), "pong_s": random.choice((3.0, 10.0))},
            "replay": {"per_channel": random.choice((100, 100, 5)), "ttl_s": 300},
            "push": {"retry_first_s": random.choice((0.3, 2.0)), "retry_longest_s": random.choice((2.0, 8.0))},
        }
        self.world = World(
            seed, settings, with_gate="gate" in self.trouble, with_bad_services="services" in self.trouble
        )
        self.world.users += [f"u{number}" for number in range(random.randint(2, 4))]
        self._published: list[Publication] = []
        self._stalled: list[Tab] = []

    def run(self) -> World:
        """All of it, with its checks; ``Broken`` when a promise was."""
        world = self.world
        try:
            world.start()
            self._come()
            for _ in range(self.random.randint(12, 24)):
                at = self.random.uniform(0.3, LASTS_S)
                world.loop.call_later(at, self._happen)
            world.run(LASTS_S)
            self._end_trouble()
            world.run(SETTLES_S)
            world.settle(LONGEST_S)
            world.check()
            if self.seed % 4 == 0:
                self._leave()
        except AssertionError as error:
            error.add_note(f"the history of seed {self.seed}: python -m tests.simulation {self.seed}")
            raise
        finally:
            world.close()
        return world

    def _topics(self) -> tuple[str, ...]:
        return tuple(topic for topic in TOPICS if self.random.random() < 0.5)

    def _come(self) -> None:
        """Those who are there from the beginning, or soon."""
        random, world = self.random, self.world
        for user in world.users:
            for _ in range(random.choice((0, 1, 1, 2))):
                is_plain = random.random() < 0.3
                chance = random.choice((0.0, 0.5, 1.0))
                tab = world.add_tab(
                    user,
                    topics=self._topics(),
                    is_plain=is_plain,
                    acks=random.random() < 0.3,
                    ack_chance=chance,
                    pong_s=random.choice((0.1, 0.1, 6.0)),
                )
                world.loop.call_later(random.uniform(0.05, 3.0), tab.open)
            if random.random() < 0.15:
                wait_s, pause_s = random.choice(((0, 4.0), (5, 1.0), (20, 0.1), (20, 3.0)))
                poller = world.add_poller(user, topics=self._topics(), wait_s=wait_s, pause_s=pause_s)
                world.loop.call_later(random.uniform(0.05, 3.0), poller.open)
            for _ in range(random.choice((0, 1, 1, 1, 2, 2, 3))):
                world.loop.call_later(random.choice((0.05, 3.0)) * random.random(), self._buy_phone, user)

    def _leave(self) -> None:
        """Everybody goes, and leaves nothing behind."""
        world = self.world
        for tab in world.tabs:
            tab.shut()
        for poller in world.pollers:
            poller.shut()
        world.run(LEAVES_S)
        assert world.process is not None
        inside.check_empty(world.process.hub)

    # What happens

    def _happen(self) -> None:
        choices: list[tuple[Callable[[], Any], int]] = [
            (self._publish, 50),
            (self._flap, 12),
            (self._change_visibility, 6),
            (self._change_topic, 6),
            (self._subscribe_durably, 5),
            (self._retract, 5),
            (self._revoke, 1),
            (self._somebody_buys_phone, 3),
            (self._hand_on, 5),
            (self._throw_away, 2),
            (self._lose, 2),
        ]
        more = {
            "disk": [(self._disk_fails, 5), (self._disk_slow, 3)],
            "crash": [(self._crash, 6)],
            "stop": [(self.world.stop, 3)],
            "clock": [(self._jump, 5)],
            "gate": [(self._hold, 6), (self._drop, 2), (self._release, 6)],
            "services": [(self._lose, 2)],
            "network": [(self._cut, 8), (self._half_open, 4), (self._stall, 2), (self._cut_publisher, 4)],
        }
        for kind in sorted(self.trouble):
            choices += more[kind]
        acts, weights = zip(*choices, strict=True)
        self.random.choices(acts, weights)[0]()

    def _publish(self) -> None:
        random, world = self.random, self.world
        kinds, weights = zip(*_KINDS, strict=True)
        priority, persistence = random.choices(kinds, weights)[0]
        where = [f"user:{user}" for user in world.users] * 2 + [*TOPICS, "notifications"]
        to = tuple(dict.fromkeys(random.choices(where, k=random.choice((1, 1, 1, 2)))))
        publication = Publication(
            f"n{len(self._published)}",
            to,
            priority,
            persistence,
            random.choice((None, None, None, None, 3, 12, 60)),
            random.choice((None, None, None, None, None, "same", "same", "other", "third")),
            None,
        )
        self._published.append(publication)
        world.observer.note(f"publish {publication.id} {priority} {persistence} {to}")
        random.choice(world.publishers).publish(publication, world.clock.now())

    def _tab(self) -> Tab | None:
        return self.random.choice(self.world.tabs) if self.world.tabs else None

    def _flap(self) -> None:
        """A tab goes, and comes back soon, or late."""
        if (tab := self._tab()) is not None:
            if tab.is_wanted:
                tab.shut()
            away_s = self.random.choice((0.2, 1.5, 4.0, 9.0))
            self.world.loop.call_later(away_s, self._reopen, tab)

    def _reopen(self, tab: Tab) -> None:
        if tab.user not in self.world.observer.revoked:
            tab.open()

    def _change_visibility(self) -> None:
        if (tab := self._tab()) is not None and not tab.is_plain:
            if tab.is_visible:
                tab.hide()
            else:
                tab.show()

    def _change_topic(self) -> None:
        if (tab := self._tab()) is not None:
            topic = self.random.choice(TOPICS)
            if topic in tab.topics:
                tab.unsubscribe(topic)
            else:
                tab.subscribe(topic)

    def _subscribe_durably(self) -> None:
        user, topic = self.random.choice(self.world.users), self.random.choice(TOPICS)
        self.world.publishers[0].subscribe(user, topic, wanted=self.random.random() < 0.7)

    def _retract(self) -> None:
        if self._published:
            self.random.choice(self.world.publishers).retract(self.random.choice(self._published[-3:]))

    def _revoke(self) -> None:
        self.world.publishers[0].revoke(self.random.choice(self.world.users))

    # Phones

    def _buy_phone(self, user: str) -> None:
        if user not in self.world.observer.revoked:
            self.world.add_phone(user, self.random.choice(HOSTS), self.random.choice((0.0, 0.0, 0.5)))

    def _somebody_buys_phone(self) -> None:
        self._buy_phone(self.random.choice(self.world.users))

    def _phone(self) -> Phone | None:
        return self.random.choice(self.world.phones) if self.world.phones else None

    def _hand_on(self) -> None:
        """Somebody signs in on a phone, which may have been another one's until then."""
        if (phone := self._phone()) is not None:
            phone.register(self.random.choice(self.world.users))

    def _throw_away(self) -> None:
        if (phone := self._phone()) is not None:
            phone.unregister()

    def _lose(self) -> None:
        """The app is taken off it: its push service knows, and the hub doesn't."""
        if (phone := self._phone()) is not None:
            self.world.observer.note(f"{phone.token} is dead")
            phone.is_dead = True

    # Trouble

    def _disk_fails(self) -> None:
        self.world.observer.note("the disk fails")
        self.world.disk.was_in_trouble = True
        self.world.disk.fails_until = self.world.loop.now + self.random.choice((0.1, 2.0, 6.0))

    def _disk_slow(self) -> None:
        self.world.observer.note("the disk is slow")
        self.world.disk.was_in_trouble = True
        self.world.disk.slow_until = self.world.loop.now + self.random.choice((1.0, 4.0))

    def _crash(self) -> None:
        self.world.kill()
        self.world.loop.call_later(self.random.choice((0.1, 1.0, 4.0, 9.0)), self.world.start)

    def _jump(self) -> None:
        seconds = self.random.choice((-3600.0, -5.0, 3.0, 30.0))
        self.world.observer.note(f"the wall clock jumps by {seconds}")
        self.world.clock.jump(seconds)

    def _hold(self) -> None:
        assert self.world.plan is not None
        self.world.plan.holding[self.random.choice(self.world.users)] = None

    def _drop(self) -> None:
        assert self.world.plan is not None
        self.world.plan.dropping[self.random.choice(self.world.users)] = None

    def _release(self) -> None:
        plan = self.world.plan
        assert plan is not None
        if plan.holding and self.world.process is not None and self.world.process.is_up:
            plan.release(self.random.choice(list(plan.holding)))

    def _cut(self) -> None:
        if (tab := self._tab()) is not None and tab.link is not None:
            self.world.observer.note(f"cut {tab.name}")
            tab.link.cut()

    def _half_open(self) -> None:
        tab = self._tab()
        if tab is None or tab.link is None or tab.seen is None:
            return
        self.world.observer.note(f"{tab.name} is half-open")
        tab.seen.dead_at = self.world.loop.now
        tab.link.die()
        self.world.loop.call_later(self.random.choice((1.0, 20.0)), tab.link.client.reset)

    def _stall(self) -> None:
        """Somebody stops reading, for good or for a while."""
        tab = self._tab()
        if tab is not None and tab.link is not None and tab.seen is not None:
            tab.seen.stalled_at = self.world.loop.now
            tab.link.client.pause_reading()
            self.world.loop.call_later(self.random.choice((1.0, 8.0)), tab.link.client.resume_reading)

    def _cut_publisher(self) -> None:
        publisher = self.random.choice(self.world.publishers)
        if publisher.caller.link is not None:
            self.world.observer.note(f"cut {publisher.name}")
            publisher.caller.link.cut()

    def _end_trouble(self) -> None:
        """All is well again."""
        world = self.world
        world.disk.fails_until = world.disk.slow_until = 0.0
        world.services.calm()
        world.start()
        if world.plan is not None:
            for user in list(world.plan.holding):
                world.loop.call_later(2.0, world.plan.release, user)
        for tab in world.tabs:
            if tab.user not in world.observer.revoked:
                tab.open()


def run_history(seed: int, trouble: frozenset[str] | None = None) -> World:
    """One history; what was seen of it."""
    return History(seed, trouble).run()
