"""What is looked at in the hub itself, once a history is over: that the numbers add up, and that nothing has grown."""

from collections import Counter

from hubd.core.milestones import LIVE_SENT, PENDING
from hubd.core.notification import Priority
from hubd.hub import Hub
from tests.simulation.disk import WAITING
from tests.simulation.observer import Broken, Observer


def check_conservation(hub: Hub, observer: Observer, users: list[str]) -> None:
    """Each (notification, user) is at exactly one milestone, and the counts say so."""
    ledger, tally = hub.delivering.ledger, hub.delivering.delivery.tally
    counted: Counter[str] = Counter()
    for publication in observer.publications.values():
        meant: dict[str, None] = {}
        for record in ledger.find_all(publication.id):
            counted.update(dict(record.milestones))
            meant.update({str(hub.numbers.id_of(number)): None for number in record.everybody})
        if publication.accepted_at >= observer.lives[-1].begin and publication.accepted_at < 1e9:
            for user in users:
                if observer.is_meant(publication, user, publication.accepted_at) and user not in meant:
                    raise Broken(f"conservation: {publication.id} is counted nowhere for {user}")
    if +counted != +tally:
        raise Broken(f"conservation: the milestones are {dict(+tally)}, and they should be {dict(+counted)}")
    if sum(tally.values()) != tally.accepted:
        raise Broken(f"conservation: {sum(tally.values())} milestones, {tally.accepted} accepted")
    if min(tally.values(), default=0) < 0:
        raise Broken(f"conservation: negative: {tally}")


def check_bounds(hub: Hub, most_waiting: int) -> None:
    """Nothing is larger than its limit."""
    limits, per_channel = hub.config.limits, hub.config.replay.per_channel
    if most_waiting > WAITING:
        raise Broken(f"bounds: {most_waiting} writes wait for the store")
    sizes = Counter(name for _, names in hub.rings.kept() for name in names)
    for name, size in sizes.items():
        if size > per_channel:
            raise Broken(f"bounds: the ring of {name} has {size} entries")
    for connection in hub.registry.connections:
        waiting = sum(map(len, connection.outbox)) + connection.unsent()
        if waiting > limits.queue_bytes + limits.message_bytes:
            raise Broken(f"bounds: {waiting} bytes wait for a connection")
    if len(hub.delivering.delivery.open) > hub.config.delivery.open_entries:
        raise Broken("bounds: too much is open")


def is_pushing(hub: Hub) -> bool:
    """Whether anything is still on its way to a phone."""
    dispatcher = hub.pushing.dispatcher
    assert dispatcher is not None
    return bool(len(dispatcher))


def check_pushing_is_over(hub: Hub) -> None:
    """Nothing is on its way any more, and nothing of it is left."""
    dispatcher = hub.pushing.dispatcher
    assert dispatcher is not None
    if len(dispatcher) or any(dispatcher.waiting().values()):
        raise Broken(f"bounds: {len(dispatcher)} jobs are left over, {dispatcher.waiting()} wait")


def check_devices(hub: Hub, observer: Observer, users: list[str]) -> None:
    """The hub knows those phones that it said it does, each as one of the user who registered it last."""
    for user in users:
        listed = {device.address["token"] for device, _ in hub.devices.listed(user)}
        for phone in observer.phones.values():
            owners = phone.may_be_of(observer.now)
            if phone.token in listed and user not in owners:
                raise Broken(f"isolation: {phone.token} counts as one of {user}, and is one of {sorted(owners)}")
            if phone.token not in listed and owners == {user}:
                raise Broken(f"durable: {phone.token} of {user} is forgotten")


def check_liveness(hub: Hub) -> None:
    """An open critical one has a timer, an attempt, or no way, or it is held, for each who hasn't got it."""
    for record in list(hub.delivering.delivery.open.by_key.values()):
        is_over = record.expires_at <= hub.clock.monotonic()
        if record.priority is not Priority.CRITICAL or not record.sequence or is_over:
            continue
        missing = record.may_push & (record.milestones.at(PENDING) | record.milestones.at(LIVE_SENT))
        missing = missing - record.waiting - record.pushing - record.no_route
        if missing:
            raise Broken(
                f"critical: nothing will happen to {record.id} for {[hub.numbers.id_of(one) for one in missing]}"
            )


def check_empty(hub: Hub) -> None:
    """Everybody has gone: nothing remembers that they were here."""
    if hub.registry.connections or hub.registry.users or hub.registry.topics:
        raise Broken(f"bounds: left over: {list(hub.registry.users)}, {list(hub.registry.topics)}")
