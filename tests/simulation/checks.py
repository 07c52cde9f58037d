"""What was promised, checked against what was seen, once a history is over. Each check raises ``Broken``."""

from math import inf

from tests.simulation.clients import position
from tests.simulation.observer import Broken, Got, Observer, Publication, Push, Seen

EXACT_S = 1e-5
REVOKED_S = 1.2
"""A revocation bites within a second; on its way to who looks it takes a moment more."""


def check_all(observer: Observer, users: tuple[str, ...]) -> None:
    for publication in observer.publications.values():
        check_stored_once(observer, publication)
        for user in users:
            check_pushes(observer, publication, user)
            check_gate(observer, publication, user)
            check_reached(observer, publication, user)
    sent = _sent(observer)
    for seen in observer.connections:
        check_once(observer, seen)
        check_complete(observer, seen, sent)
        check_isolation(observer, seen)


def check_stored_once(observer: Observer, publication: Publication) -> None:
    """Once per id, whatever became of the calls."""
    rows = observer.disk.kept.get(publication.id, [])
    releases = len([1 for id, _ in observer.held if id == publication.id])
    if publication.is_durable and len(rows) > 1 + releases:  # what the hub doesn't know as held is a row of its own
        raise Broken(f"durable: {publication.id} is {len(rows)} times on the disk")
    if publication.is_durable and publication.is_known and publication.deliver_at is None and not rows:
        raise Broken(f"durable: {publication.id} was accepted and never came to the disk")


# --- Pushes


def check_pushes(observer: Observer, publication: Publication, user: str) -> None:
    """A push starts exactly when nobody acked in time."""
    pushes = observer.pushes.get((publication.id, user), [])
    if pushes and not publication.escalates:
        raise Broken(f"push: {publication.id} is {publication.priority}, {publication.persistence}: no push for {user}")
    if (publication.id, user) in observer.dropped and pushes:
        raise Broken(f"quiet: {publication.id} was pushed to {user}, from whom a gate keeps it")
    _check_never_late(observer, publication, user, pushes)
    if publication.escalates and publication.deliver_at is None and publication.collapse_key is None:
        _check_times(observer, publication, user, pushes)
        _check_taken_up(observer, publication, user, pushes)


def _check_never_late(observer: Observer, publication: Publication, user: str, pushes: list[Push]) -> None:
    """No push starts behind an ack that was answered, nor behind a retraction; nor twice when it was taken."""
    done_at = min((ack.answered_at for ack in observer.acks_of(publication, user)), default=inf)
    taken_at = observer.disk.facts_of.get(("pushed", publication.id, user), inf)
    retracted_life = observer.life_at(publication.retracted_at) if publication.retracted_at < inf else -1
    for push in pushes:
        if push.at > done_at:
            raise Broken(f"once: {publication.id} was pushed to {user} at {push.at:.3f}, acked at {done_at:.3f}")
        if push.at > publication.retracted_at and (publication.is_durable or push.life == retracted_life):
            raise Broken(f"push: {publication.id} was pushed to {user} behind its retraction")
        if push.at > taken_at:
            raise Broken(f"once: {publication.id} was pushed to {user} again at {push.at:.3f}, taken at {taken_at:.3f}")
    for life in range(len(observer.lives)):
        begun = [push for push in pushes if push.life == life]
        if any(push.how not in ("not_routed", "given_up") for push in begun[:-1]):
            raise Broken(f"once: {publication.id} was pushed to {user} twice within one life of the hub")


def _check_times(observer: Observer, publication: Publication, user: str, pushes: list[Push]) -> None:
    id, begin = publication.id, publication.accepted_at
    held = observer.held.get((id, user))
    if held is not None:
        if any(held[0] <= push.at < held[1] for push in pushes):
            raise Broken(f"quiet: {id} was pushed to {user} while it was held")
        begin = held[1]
        is_late = held[0] > publication.accepted_at
        if is_late and observer.life_at(held[0]) != observer.life_at(begin):
            return  # what was held only when somebody came to read it is not remembered over a restart
    if begin == inf or (id, user) in observer.dropped or publication.retract_asked_at <= begin:
        return
    life_number = observer.life_at(begin)
    life = observer.lives[life_number]
    meant = observer.is_meant(publication, user, publication.accepted_at)
    if publication.arrivals and observer.is_meant(publication, user, publication.arrivals[-1]) != meant:
        return
    here = observer.is_here(user, begin)
    if meant is None or here is None or observer.doubtful.get((id, user)):
        return
    if not meant:
        if pushes:
            raise Broken(f"push: {id} wasn't meant for {user}, and was pushed to him")
        return
    at_once = publication.priority == "critical" or not here
    due = begin if at_once else begin + observer.push_delay_s
    settled = _settled_at(observer, publication, user, begin)
    if life.end > due:
        _check_in_life(publication, user, [push for push in pushes if push.life == life_number], due, settled)
        if settled <= due and any(push.life > life_number for push in pushes):
            _check_settled_for_good(observer, publication, user, life.end)
    elif publication.is_durable or (life.how == "stopped" and id in observer.disk.keys):
        _check_goes_on(observer, publication, user, pushes, due, life_number)


def _settled_at(observer: Observer, publication: Publication, user: str, begin: float) -> float:
    """From when on nobody needs to be pushed to: acked, proved, taken back or of no use any more."""
    key = publication.id, user
    acked = [ack.at for ack in observer.acks.get(key, []) if ack.at >= begin]
    if publication.priority != "critical":
        acked += [at for at in observer.proofs.get(key, []) if at >= begin]
    over = publication.accepted_at + publication.ttl
    if key in observer.held:  # its ttl stood still
        over += begin - observer.held[key][0]
    return min([*acked, publication.retract_asked_at, over])


def _check_in_life(publication: Publication, user: str, pushes: list[Push], due: float, settled: float) -> None:
    id = publication.id
    if settled <= due:
        if pushes:
            raise Broken(f"push: {id} to {user} at {pushes[0].at:.6f}, though settled at {settled:.6f}, due {due:.6f}")
        return
    if not pushes:
        raise Broken(f"push: {id} to {user} was due at {due:.6f}, and never came")
    if abs(pushes[0].at - due) > EXACT_S:
        raise Broken(f"push: {id} to {user} at {pushes[0].at:.6f}, and was due at {due:.6f}")


def _check_settled_for_good(observer: Observer, publication: Publication, user: str, end: float) -> None:
    """What was settled stays so over a restart, as far as anybody was told that it is."""
    answered = [ack for ack in observer.acks.get((publication.id, user), []) if ack.answered_at < end]
    if answered:
        raise Broken(f"push: {publication.id} was pushed to {user} behind a restart, though acked before")


def _check_goes_on(
    observer: Observer, publication: Publication, user: str, pushes: list[Push], due: float, before: int
) -> None:
    """The hub ended before it was due: the next life goes on with it, so far as it lasts that long."""
    for number in range(before + 1, len(observer.lives)):
        life = observer.lives[number]
        latest = max(due, life.ready) + observer.push_delay_s + 1.0
        if life.end > latest:
            settled = min(
                (ack.at for ack in observer.acks.get((publication.id, user), [])),
                default=inf,
            )
            settled = min(settled, _settled_at(observer, publication, user, publication.accepted_at))
            if settled > latest and not any(push.at <= latest + EXACT_S for push in pushes):
                raise Broken(f"push: {publication.id} to {user} was due at {due:.3f}, before a restart, and never came")
            return


def _check_taken_up(observer: Observer, publication: Publication, user: str, pushes: list[Push]) -> None:
    """What no service had taken when the hub ended is pushed in its next life."""
    if publication.accepted_at == inf or ("pushed", publication.id, user) in observer.disk.facts_of:
        return
    for push in pushes:
        is_kept = observer.lives[push.life].how == "stopped" and publication.id in observer.disk.keys
        if push.life != observer.life and not push.how and (publication.is_durable or is_kept):
            later = [other for other in pushes if other.life > push.life]
            _check_goes_on(observer, publication, user, later, push.at, push.life)


def check_reached(observer: Observer, publication: Publication, user: str) -> None:
    """A critical one isn't lost: it is pushed, or where there is no device it comes as soon as there is a way."""
    id = publication.id
    if publication.priority != "critical" or not publication.is_known or publication.ttl < inf:
        return
    if publication.retract_asked_at < inf or (id, user) in observer.dropped or user in observer.revoked:
        return
    if observer.held.get((id, user), [0.0, 0.0])[1] == inf or not _is_meant_at_all(observer, publication, user):
        return
    got = any(got.id == id for seen in observer.by_user[user] for got in seen.got)
    sends = observer.sends.get((id, user), [])
    if got or any(send.how == "accepted" for send in sends) or observer.acks.get((id, user)):
        return
    refused = [send.phone for send in sends if send.how == "refused"]
    for phone in observer.phones.values():
        if phone.may_be_of(observer.now) == {user} and not phone.is_dead and phone not in refused:
            raise Broken(f"critical: {id} was neither pushed to {phone.token} of {user} nor did it come to him")
    if any(_is_well(seen) and _may_hear(observer, seen) for seen in observer.by_user[user]):
        raise Broken(f"critical: {id} never came to {user}, who is here, and no device took it")


def _may_hear(observer: Observer, seen: Seen) -> bool:
    """What was written to a connection that was dead already isn't lost for who acks; another may never know."""
    was_dead = any(min(other.dead_at, other.stalled_at) < inf for other in observer.by_user[seen.user])
    return seen.acks or not was_dead


def _is_meant_at_all(observer: Observer, publication: Publication, user: str) -> bool:
    if publication.accepted_at < inf and "notifications" not in publication.to:
        return bool(observer.is_meant(publication, user, publication.accepted_at))
    return f"user:{user}" in publication.to


def _is_well(seen: Seen) -> bool:
    """Whether it is there at the end, and takes what comes."""
    is_broken = seen.is_none or seen.is_poll or min(seen.dead_at, seen.stalled_at) < inf
    return seen.closed_at == inf and not is_broken


def check_gate(observer: Observer, publication: Publication, user: str) -> None:
    """What a gate keeps from somebody doesn't reach him; what it holds, not before it is released."""
    key = publication.id, user
    if key not in observer.dropped and key not in observer.held:
        return
    since, until = observer.held.get(key, [observer.dropped.get(key, inf), inf])
    for seen in observer.by_user[user]:
        for got in seen.got:
            if got.id == publication.id and since < got.written_at < until - EXACT_S - 0.5:
                raise Broken(
                    f"quiet: {publication.id} reached {user} at {got.written_at:.3f}, kept from him {since:.3f}"
                )


# --- Connections


def check_once(observer: Observer, seen: Seen) -> None:
    """One connection gets an id once, but for what was released to it."""
    ids: dict[str, Got] = {}
    for got in seen.got:
        if got.id in ids and (got.id, seen.user) not in observer.held:
            raise Broken(f"once: {seen.name} got {got.id} twice on one connection")
        ids[got.id] = got


def _sent(observer: Observer) -> dict[str, list[tuple[int, Publication]]]:
    """By epoch, what was published and under which number, as publishers were told."""
    found: dict[str, list[tuple[int, Publication]]] = {}
    for publication in observer.publications.values():
        if publication.accepted_at < inf and publication.cursor and publication.persistence != "ephemeral":
            epoch, sequence = position(publication.cursor)
            found.setdefault(epoch, []).append((sequence, publication))
    return found


def check_complete(observer: Observer, seen: Seen, sent: dict[str, list[tuple[int, Publication]]]) -> None:
    """Nothing is missing between two notifications; nor behind the last one, if the connection is still there."""
    has = {got.sequence for got in seen.got}
    last = max(has, default=-1)
    is_alive = _is_well(seen)
    for sequence, publication in sent.get(seen.epoch, ()):
        at = publication.accepted_at
        if sequence in has or not (sequence < last or is_alive):
            continue
        if not (sequence > seen.start or at > seen.since) or at >= seen.closed_at:
            continue
        key = publication.id, seen.user
        if key in observer.held or key in observer.dropped or publication.retract_asked_at < inf:
            continue
        if publication.ttl < inf or not _is_for(seen, publication, at):
            continue
        if any(got.id == publication.id for other in observer.by_user[seen.user] for got in other.got):
            continue  # it was brought to him as another publication
        raise Broken(
            f"gap: {seen.name} (from {seen.opened_at:.3f}) never got {publication.id}, {seen.epoch}-{sequence}, "
            f"published {at:.3f}"
        )


def _is_for(seen: Seen, publication: Publication, at: float) -> bool:
    for channel in publication.to:
        if channel in ("notifications", f"user:{seen.user}"):
            return True
        for since, until in seen.topics.get(channel, ()):
            if (since < at or since == seen.opened_at) and until == inf:
                return True
    return False


def check_isolation(observer: Observer, seen: Seen) -> None:
    """Nobody gets what he may not see; nor anything once he was revoked."""
    revoked_at = observer.revoked.get(seen.user, inf)
    if seen.opened_at < revoked_at < seen.closed_at - REVOKED_S and seen.dead_at == inf:
        raise Broken(f"isolation: {seen.name} is connected {seen.closed_at - revoked_at:.1f} s after a revocation")
    for got in seen.got:
        if got.written_at > revoked_at + REVOKED_S and seen.opened_at < revoked_at:
            raise Broken(f"isolation: {seen.name} got {got.id} after a revocation")
        if got.channel == "notifications" or got.channel == f"user:{seen.user}:notifications":
            continue
        if got.channel.startswith("user:"):
            raise Broken(f"isolation: {seen.name} got {got.id}, which is for {got.channel}")
        if any(since <= got.written_at <= until + EXACT_S for since, until in seen.topics.get(got.channel, ())):
            continue
        since, until = seen.leaving.get(got.channel, (inf, inf))
        if since <= got.written_at <= until + EXACT_S:
            continue
        if not any(known is not False for _, known in observer.durables.get((seen.user, got.channel), [])):
            raise Broken(f"isolation: {seen.name} got {got.id} of {got.channel}, without being in it")
