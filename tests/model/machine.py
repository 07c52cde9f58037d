"""The machines: anything may happen, in any order."""

import sys
from typing import ClassVar

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from tests.model import acts
from tests.model.acting import Acting
from tests.model.acts import Arrival, End, Grant, Publish, Subscription, Wait
from tests.model.slow_acting import SlowActing
from tests.model.surroundings import PATTERNS, Limits, Loop

somebody = precondition(lambda self: self.history.members)


class HubMachine(RuleBasedStateMachine):
    """A history of a hub, with the model beside it. What can go wrong in most ways has most rules."""

    acting: ClassVar[type[Acting]] = Acting
    loop: ClassVar[Loop]
    histories: ClassVar[int] = 0

    def __init__(self) -> None:
        super().__init__()
        self.history: Acting | None = None

    @initialize(
        limits=acts.limits,
        sent=st.lists(st.sampled_from(acts.ADDRESSEES), max_size=8),
        came=st.lists(acts.arrivals, max_size=4),
    )
    def begin(self, limits: Limits, sent: list[tuple[str, ...]], came: list[Arrival]) -> None:
        type(self).histories += 1
        self.history = self.acting(limits, self.loop)
        for to in sent:
            self.history.publish(Publish(to, "kept", 1))
        for arrival in came:
            self.history.connect(arrival)

    def teardown(self) -> None:
        if self.history is None:
            return
        try:
            if sys.exc_info()[0] is None:  # what has been found must not be covered by what would follow from it
                self.history.finish()
        finally:
            self.history.close()

    @precondition(lambda self: len(self.history.members) < 9)
    @rule(first=acts.arrivals, more=st.lists(acts.arrivals, max_size=2))
    def connect(self, first: Arrival, more: list[Arrival]) -> None:
        for arrival in (first, *more):
            self.history.connect(arrival)

    @somebody
    @rule(which=acts.which, thrown_out=st.sampled_from([False] * 5 + [True]))
    def leave(self, which: int, thrown_out: bool) -> None:
        if thrown_out:
            self.history.revoke(self.history.pick(which).user)
        else:
            self.history.drop(which)

    @somebody
    @rule(how=acts.subscriptions)
    def subscribe(self, how: Subscription) -> None:
        self.history.subscribe(how)

    @somebody
    @rule(how=acts.subscriptions, then=acts.subscriptions)
    def subscribe_twice(self, how: Subscription, then: Subscription) -> None:
        self.history.subscribe(how)
        if self.history.members:
            self.history.subscribe(then._replace(member=how.member))

    @somebody
    @rule(how=acts.ends)
    def unsubscribe(self, how: End) -> None:
        self.history.unsubscribe(how)

    @somebody
    @rule(which=acts.which, patterns=st.sampled_from(PATTERNS))
    def renew(self, which: int, patterns: tuple[str, ...]) -> None:
        self.history.renew(which, patterns)

    @rule(how=acts.grants)
    def grant(self, how: Grant) -> None:
        self.history.grant(how)

    @rule(what=acts.publishes)
    def publish(self, what: Publish) -> None:
        self.history.publish(what)

    @rule(what=acts.publishes, then=acts.publishes)
    def publish_two(self, what: Publish, then: Publish) -> None:
        self.history.publish(what._replace(count=1))
        self.history.publish(then)

    @precondition(lambda self: self.history.bodies)
    @rule(which=acts.which, other=st.booleans())
    def repeat(self, which: int, other: bool) -> None:
        self.history.repeat(which, other)

    @precondition(lambda self: self.history.world.sent)
    @rule(which=acts.which)
    def retract(self, which: int) -> None:
        self.history.retract(which)

    @rule(how=acts.waits)
    def wait(self, how: Wait) -> None:
        self.history.wait(how)

    @rule(turns=st.sampled_from([1, 1, 2, 50]))
    def turn(self, turns: int) -> None:
        self.history.turn(turns)

    @somebody
    @rule(which=acts.which, room=st.sampled_from([*acts.ROOMS, -1, -1]))
    def read(self, which: int, room: int | None) -> None:
        self.history.read(which, room)

    @somebody
    @rule(which=acts.which)
    def ping(self, which: int) -> None:
        self.history.ping(which)


class SlowBrokerMachine(HubMachine):
    """The same on a broker that takes its time."""

    acting: ClassVar[type[Acting]] = SlowActing

    @rule(times=st.sampled_from([1, 2, 3, 8]))
    def broker_goes_on(self, times: int) -> None:
        self.history.broker_goes_on(times)
