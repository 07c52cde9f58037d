"""Users are looked up in slices, each device goes to its destination once, and who has none is told."""

from hubd.core.users import UserSet
from hubd.counts import PushCounts
from hubd.hooks.push import Device
from hubd.push.destination import Destination, Destinations
from hubd.push.jobs import Job
from hubd.push.routing import Routing
from hubd.push.unserved import UNCHECKED
from tests.push.pushing_world import Service
from tests.push.test_retrying import job


class Known:
    """Devices: of each user (by number) those with these numbers; the host is by the number's last digit."""

    def __init__(self, devices: dict[int, list[int]], **odd: dict[int, str]) -> None:
        self.devices = devices
        self.odd = odd
        self.users = UserSet(devices)

    def numbers_of(self, user_number: int) -> list[int]:
        return self.devices.get(user_number, [])

    def get(self, device_number: int) -> Device | None:
        if device_number in self.odd.get("missing", {}):
            return None
        platform = self.odd.get("platform", {}).get(device_number, "fake")
        app = self.odd.get("app", {}).get(device_number, "")
        return Device(f"dev_{device_number}", "", platform, {"host": f"h{device_number % 10}"}, app)

    def owner_of(self, device_number: int) -> int | None:
        return next((user for user, numbers in self.devices.items() if device_number in numbers), None)

    def answered(self, device_number: int) -> None: ...

    def gone(self, device_number: int, reason: str, since: float | None) -> bool:
        return True


class World:
    def __init__(self, known: Known) -> None:
        self.service = Service()
        self.ready: list[Destination] = []
        self.nowhere: list[int] = []
        self.faults: list[str] = []
        self.destinations = Destinations(PushCounts())
        self.routing = Routing(
            known,
            {"fake": self.service},
            self.destinations,
            self.ready.append,
            lambda job, user: self.nowhere.append(user),
            lambda platform, error: self.faults.append(type(error).__name__),
        )

    def waiting(self) -> dict[str, list[int]]:
        found: dict[str, list[int]] = {}
        for one in self.destinations:
            for priority in (2, 1):
                for part in one.lanes._lanes[priority].values():  # type: ignore[index]
                    found.setdefault(one.name, []).extend(part.devices)
        return found


def made(number: int, users: int) -> Job:
    one = job(number)
    one.users = UserSet(range(1, users + 1))
    return one


def test_each_device_goes_to_its_destination_once() -> None:
    world = World(Known({1: [11, 12], 2: [21], 3: []}))
    one = made(1, 3)
    world.routing.add(one, one.users)
    assert world.routing and world.routing.turn(0.0) == [one]
    assert world.waiting() == {"h1": [11, 21], "h2": [12]}
    assert (world.nowhere, list(one.open), not world.routing) == ([3], [11, 12, 21], True)
    one.is_through_with(12)
    world.routing.add(one, one.users)
    world.routing.turn(0.0)
    assert world.waiting() == {"h1": [11, 21], "h2": [12]}
    assert sum(destination.waiting for destination in world.destinations) == 3
    assert list(one.open) == [11, 21]


def test_a_new_device_joins_those_that_wait() -> None:
    known = Known({1: [11]})
    world, one = World(known), made(1, 1)
    for _ in range(2):
        world.routing.add(one, one.users)
        world.routing.turn(0.0)
        known.devices[1] = [11, 21]
    assert world.waiting() == {"h1": [11, 21]}
    assert len(one.parts) == 1


def test_devices_that_nobody_can_push_to() -> None:
    known = Known(
        {1: [11], 2: [21], 3: [31], 4: [41, 42]}, missing={11: ""}, platform={21: "other", 41: "other"},
        app={31: UNCHECKED},
    )  # fmt: skip
    world, one = World(known), made(1, 4)
    world.routing.add(one, one.users)
    world.routing.turn(0.0)
    assert (world.nowhere, world.waiting()) == ([1, 2, 3], {"h2": [42]})


def test_many_are_looked_up_in_slices_and_jobs_take_turns() -> None:
    world = World(Known({user: [user * 10] for user in range(1, 1001)}))
    many, few = made(1, 1000), made(2, 2)
    world.routing.add(many, many.users)
    world.routing.add(few, few.users)
    turns = []
    while world.routing:
        turns.append([one.number for one in world.routing.turn(0.0, most=100)])
    assert turns[0] == [1] and 2 in turns[1]
    assert len(turns) == 11
    assert (len(many.open), len(few.open)) == (1000, 2)


def test_who_does_not_want_it_any_more_is_passed_over() -> None:
    world = World(Known({1: [11], 2: [21]}))
    one = made(1, 2)
    world.routing.add(one, one.users)
    one.users = UserSet((2,))
    world.routing.turn(0.0)
    assert (world.waiting(), world.nowhere) == ({"h1": [21]}, [])
    dropped = made(2, 2)
    world.routing.add(dropped, dropped.users)
    world.routing.drop(dropped)
    assert not world.routing


def test_a_backend_that_fails_at_it_is_told_of_and_they_wait_all_the_same() -> None:
    world = World(Known({1: [11]}))
    world.service.destination = lambda device: 1 // 0  # type: ignore[assignment,return-value]
    one = made(1, 1)
    world.routing.add(one, one.users)
    world.routing.turn(0.0)
    assert (world.faults, world.waiting()) == (["ZeroDivisionError"], {"": [11]})
