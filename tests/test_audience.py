"""Whom a notification is meant for, and whom it reaches now, by the channels it goes to."""

import pytest

from hubd.audience import Audiences
from hubd.core.channel import parse_channel
from hubd.core.users import Snapshot, UserSet
from hubd.testing import connect, make_hub
from tests.core.made import published


class World:
    """Ada is in a topic with one connection and Bob with two; Eve is subscribed to it for good, and away."""

    async def begin(self) -> "World":
        self.hub, _, _ = make_hub()
        self.audiences = Audiences(self.hub.registry, self.hub.durables, self.hub.numbers)
        await self.hub.make_durable("eve", ["t"], None)
        for user in ("ada", "bob", "bob", "cyd"):
            connect(self.hub, user, ("t",) if user != "cyd" else ())
        return self

    def names(self, users: UserSet) -> list[str]:
        return sorted(self.hub.numbers.id_of(number) or "?" for number in users)

    def meant(self, *to: str) -> tuple[list[str], bool]:
        users, is_broadcast = self.audiences.meant([parse_channel(name) for name in to])
        return self.names(users), is_broadcast

    def reached(self, *to: str, without: str = "") -> list[str]:
        made = published(*to)
        if without:
            made.excluded = Snapshot(UserSet((self.hub.numbers.number_of(without),)))
        return self.names(self.audiences.reached(made, [parse_channel(name) for name in to]))


@pytest.mark.parametrize(
    ("to", "meant", "is_broadcast", "reached"),
    [
        (["t"], ["ada", "bob", "eve"], False, ["ada", "bob"]),
        (["user:ada"], ["ada"], False, ["ada"]),
        (["user:zoe"], ["zoe"], False, []),
        (["user:eve"], ["eve"], False, []),
        (["t", "user:ada", "user:zoe"], ["ada", "bob", "eve", "zoe"], False, ["ada", "bob"]),
        (["notifications"], [], True, ["ada", "bob", "cyd"]),
        (["notifications", "user:zoe"], ["zoe"], True, ["ada", "bob", "cyd"]),
        (["empty"], [], False, []),
    ],
)
async def test_by_channels(to: list[str], meant: list[str], is_broadcast: bool, reached: list[str]) -> None:
    world = await World().begin()
    assert (world.meant(*to), world.reached(*to)) == ((meant, is_broadcast), reached)


async def test_from_whom_it_is_kept_is_not_reached() -> None:
    world = await World().begin()
    assert world.reached("t", without="bob") == ["ada"]


async def test_a_user_who_wavers_is_meant_and_not_reached() -> None:
    world = await World().begin()
    for connection in world.hub.registry.connections_of("bob"):
        world.hub.lost(connection)
    assert (world.meant("user:bob"), world.reached("user:bob")) == ((["bob"], False), [])


async def test_what_is_given_does_not_change_when_others_come() -> None:
    world = await World().begin()
    channels = [parse_channel(name) for name in ("t", "notifications")]
    meant, reached = world.audiences.meant(channels)[0], world.audiences.reached(published("t"), channels)
    before = list(meant), list(reached)
    connect(world.hub, "zoe", ("t",))
    assert (list(meant), list(reached)) == before
