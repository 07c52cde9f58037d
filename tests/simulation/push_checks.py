"""What was promised about devices, checked against what push services saw. Each check raises ``Broken``."""

from collections import defaultdict
from itertools import groupby, pairwise
from math import inf

from hubd.plugin import Limits, Rate
from tests.simulation.observer import Broken, Observer, Publication, Push
from tests.simulation.phones import Phone
from tests.simulation.sends import NOBODY, Send

EXACT_S = 1e-5
SOON_S = 0.05
"""A host that is well is called so soon, if nothing limits how many it takes."""
WITHIN_S = 12.0
"""And where something does, within so much."""


def check_sends(observer: Observer, limits: Limits, is_well: set[str]) -> None:
    """``is_well``: the hosts that were never in trouble."""
    for (id, user), sends in observer.sends.items():
        _check_wanted(observer, observer.publications[id], user, sends)
        _check_stops(observer, sends)
        by_phone = defaultdict(list)
        for send in sends:
            by_phone[send.phone, send.life].append(send)
        for again in by_phone.values():
            _check_again(observer, again)
    for send in observer.all_sends:
        _check_isolation(send)
        if send.ended_at > send.at + limits.timeout_s + EXACT_S and observer.now > send.at + limits.timeout_s:
            raise Broken(f"bounds: a push of {send.id} at {send.at:.3f} went on until {send.ended_at:.3f}")
    for _, of_life in groupby(observer.all_sends, key=lambda send: send.life):
        _check_pace(list(of_life), limits)
    for (id, user), pushes in observer.pushes.items():
        for push in pushes:
            _check_ended(observer, id, user, push)
            if push.life == observer.life_at(push.at):
                _check_soon(observer, id, user, push, limits, is_well)


def _check_wanted(observer: Observer, publication: Publication, user: str, sends: list[Send]) -> None:
    """It was to be pushed, and wasn't settled when it was."""
    id = publication.id
    pushes = observer.pushes.get((id, user), [])
    acks = observer.acks_of(publication, user)
    retracted_life = observer.life_at(publication.retracted_at) if publication.retracted_at < inf else -1
    for send in sends:
        if not any(push.life == send.life and push.at <= send.at + EXACT_S for push in pushes):
            raise Broken(f"push: {id} was sent to {user} at {send.at:.6f}, and wasn't to be pushed")
        for ack in acks:
            if ack.answered_at < send.at - EXACT_S or (ack.life == send.life and ack.at < send.at - EXACT_S):
                raise Broken(f"once: {id} was sent to {user} at {send.at:.6f}, acked at {ack.at:.6f}")
        is_known = publication.is_durable or send.life == retracted_life
        if publication.retracted_at < send.at - EXACT_S and is_known:
            raise Broken(f"push: {id} was sent to {user} at {send.at:.6f}, retracted at {publication.retracted_at:.6f}")
        begun = publication.accepted_at
        is_its_life = (id, user) not in observer.held and begun < inf and observer.life_at(begun) == send.life
        if is_its_life and send.at > begun + publication.ttl + EXACT_S:
            raise Broken(f"push: {id} was sent to {user} at {send.at:.6f}, {send.at - begun:.3f} s after it began")


def _check_again(observer: Observer, sends: list[Send]) -> None:
    """One phone, one notification, one life: not twice at a time, and not again when it has it or won't take it."""
    for before, send in pairwise(sends):
        where = f"{send.id} was sent to {send.phone.token} of {send.user} at {send.at:.6f}"
        if send.at < before.ended_at - EXACT_S:
            raise Broken(f"once: {where}, while it was on its way")
        if any(other.how == "accepted" for other in sends[: sends.index(send)]):
            raise Broken(f"once: {where}, which had it already")
        pushes = observer.pushes[send.id, send.user]
        is_anew = any(before.ended_at - EXACT_S <= push.at <= send.at + EXACT_S for push in pushes)
        if before.how == "refused" and not is_anew:
            raise Broken(f"push: {where}, which was refused at {before.ended_at:.6f}")
        asked_s = None if before.result is None else before.result.retry_after_s
        if asked_s is not None and not is_anew and send.at < before.ended_at + asked_s - EXACT_S:
            raise Broken(f"pace: {where}, asked to wait {asked_s} s at {before.ended_at:.6f}")


def _check_stops(observer: Observer, sends: list[Send]) -> None:
    """What a service has taken before a stop in good order isn't sent by the next life."""
    if observer.disk.was_in_trouble:
        return
    for taken in sends:
        if taken.how == "accepted" and observer.lives[taken.life].how == "stopped":
            for send in sends:
                if send.life > taken.life:
                    raise Broken(f"once: {send.id} was sent to {send.user} again at {send.at:.6f}, after a stop")


def _check_isolation(send: Send) -> None:
    """Never to the wrong phone."""
    owners = send.phone.may_be_of(send.at - EXACT_S) | send.phone.may_be_of(send.at + EXACT_S)
    if owners == {NOBODY}:
        raise Broken(f"gone: {send.id} was sent to {send.phone.token} at {send.at:.6f}, which is nobody's")
    if send.user not in owners:
        raise Broken(f"isolation: {send.id} of {send.user} was sent to {send.phone.token} of {sorted(owners)}")


# --- Pace


def _check_pace(sends: list[Send], limits: Limits) -> None:
    """What services bear, within one life of the hub."""
    by_host: dict[str, list[Send]] = defaultdict(list)
    by_phone: dict[tuple[Phone, str], list[Send]] = defaultdict(list)
    for send in sends:
        by_host[send.phone.host].append(send)
        by_phone[send.phone, send.user].append(send)  # what another owner got counts anew
    for host, its in by_host.items():
        _check_pauses(host, its)
        _check_at_once(host, its, limits.at_once)
        for rate in limits.per_destination:
            _check_rate(host, its, rate)
    for (phone, _), its in by_phone.items():
        for rate in limits.per_device:
            _check_rate(phone.token, its, rate)
        _check_collapsible(phone, [send for send in its if send.push.collapse_key is not None], limits)


def _check_pauses(host: str, sends: list[Send]) -> None:
    for asked in sends:
        result = asked.result
        if result is None or not result.for_all or result.retry_after_s is None:
            continue
        until = asked.ended_at + result.retry_after_s - EXACT_S
        for send in sends:
            if asked.ended_at + EXACT_S < send.at < until:
                raise Broken(
                    f"pace: {send.id} was sent to {host} at {send.at:.3f}, which asked for peace until {until:.3f}"
                )


def _check_at_once(host: str, sends: list[Send], most: int) -> None:
    for send in sends:
        under_way = sum(other.at <= send.at < other.ended_at for other in sends)
        if under_way > most:
            raise Broken(f"pace: {under_way} pushes to {host} were under way at {send.at:.3f}")


def _check_rate(whom: str, sends: list[Send], rate: Rate) -> None:
    for first, last in zip(sends, sends[rate.most :], strict=False):
        if last.at - first.at < rate.per_s - EXACT_S:
            raise Broken(f"pace: {rate.most + 1} pushes to {whom} within {last.at - first.at:.3f} s, at {last.at:.3f}")


def _check_collapsible(phone: Phone, sends: list[Send], limits: Limits) -> None:
    for place, first in enumerate(sends):
        keys: dict[str, None] = {}
        for count, send in enumerate(sends[place:], 1):
            most = limits.collapsible_burst + (send.at - first.at + EXACT_S) / (limits.collapsible_every_s or inf)
            if limits.collapsible_burst and count > most:
                raise Broken(f"pace: {count} collapsible pushes to {phone.token} until {send.at:.3f}")
            if send.push.expires_at - send.push.ttl_s + 1000 < send.push.expires_at:  # it is kept long enough to count
                keys[str(send.push.collapse_key)] = None
        if limits.collapse_keys and len(keys) > limits.collapse_keys:
            raise Broken(f"pace: {len(keys)} collapse keys for {phone.token}")


# --- Nothing is lost, and nobody waits for nothing


def _check_ended(observer: Observer, id: str, user: str, push: Push) -> None:
    """What was to be pushed came to some end, or is taken up by the next life."""
    if push.life == observer.life and not push.how:
        raise Broken(f"conservation: what became of the push of {id} to {user} at {push.at:.3f}?")
    if push.how == "accepted" and not any(send.how == "accepted" for send in observer.sends.get((id, user), [])):
        raise Broken(f"push: {id} counts as pushed to {user}, and no service took it")


def _check_soon(observer: Observer, id: str, user: str, push: Push, limits: Limits, is_well: set[str]) -> None:
    """Whoever can be reached is, whatever becomes of others."""
    is_free = not limits.per_destination and not limits.per_device and not limits.collapsible_burst
    within_s = SOON_S if is_free and limits.at_once >= 32 else WITHIN_S
    latest = push.at + within_s
    publication = observer.publications[id]
    life = observer.lives[push.life]
    over = min(publication.retract_asked_at, publication.accepted_at + publication.ttl, life.end, life.stopping)
    if over < latest or publication.collapse_key is not None or (push.how == "cancelled" and push.ended_at < latest):
        return
    for token in push.phones:
        phone = observer.phones[token]
        if phone.host not in is_well:
            continue
        if any(send.phone is phone and push.at - EXACT_S <= send.at <= latest for send in observer.sends[id, user]):
            continue
        if any(push.at <= since <= latest for since, _ in phone.owners):  # it may have got another owner meanwhile
            continue
        if any(push.at - EXACT_S <= ack.at <= latest for ack in observer.acks.get((id, user), [])):
            continue
        if any(
            send.phone is phone and send.life == push.life and send.at < push.at for send in observer.sends[id, user]
        ):
            continue
        raise Broken(f"push: {id} was to be pushed to {token} of {user} at {push.at:.3f}, and wasn't by {latest:.3f}")
