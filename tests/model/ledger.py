"""What one connection may get and must get, and whether that is what it got."""

from collections.abc import Callable, Iterable
from typing import Any

from tests.model.claims import NEVER, Claim, Frame, Joining, Ref
from tests.model.world import BROADCAST, Broken, Sent, World, user_channel


class Ledger:
    """One connection's account. ``exact``: the model hears of everything in the very step in which it happens.

    Give it everything that is meant for the connection, in order, through ``take``; each broken promise raises
    ``Broken``. Latitude that the protocol leaves: a connection that resumes may turn live at any time until nothing is
    left to be done (``rest``), so until then it may get or miss what is live only; the replay of a ``subscribe`` with
    a cursor goes back in the sequence; a plain connection is told one gap for each cursor that it gave.
    """

    def __init__(
        self, world: World, user: str, *, control: bool, place: Callable[[str], int], exact: bool = True
    ) -> None:
        self._world = world
        self._user = user
        self._control = control
        self._place = place
        self._exact = exact
        self.claims: dict[str, Claim] = {}
        self.given: dict[int, tuple[Claim, ...]] = {}
        self.through = 0
        self.surely_live = False
        self.retracted: set[str] = set()
        self.cursors: list[str] = []
        self.last_cursor: str | None = None
        self._outstanding: dict[int, Sent] = {}
        self._owed_live: set[int] = set()
        self._joinings: list[Joining] = []
        self._due: list[tuple[str, list[Claim]]] = []  # gaps that tell that a cursor was no good, for which claims
        self._replies: dict[Ref, Callable[[Frame], None]] = {}
        self._welcome: Callable[[Frame], None] | None = None
        self._plain_gap = False
        self._story: list[str] = []

    # What the connection does

    def attach(
        self, topics: Iterable[str], position: int | None, reason: str = "", *, earliest: int | None = None
    ) -> None:
        """It connects. ``position``: of its cursor (None: it has none); ``reason``: why that can't be honoured.

        ``earliest``, where there is no cursor: it was attached when this was the last number, or later.
        """
        after = self._world.latest if position is None else position
        low = after if earliest is None or position is not None else earliest
        for name in (BROADCAST, user_channel(self._user), *topics):
            self.claims[name] = Claim(name, low, after)
        self.through = low
        self.surely_live = position is None
        self._due = [(reason, list(self.claims.values()))] if reason else []
        self._owe(self._outstanding, after, self.claims)
        granted = set(topics)
        if self._control:
            self._welcome = lambda frame: self._check_welcome(frame, granted, position, reason)
        self._note(f"attach {sorted(granted)} at {position} {reason}")

    def join(self, topics: Iterable[str], *, low: int | None = None) -> None:
        """It is subscribed to topics from now on (``low``: from some moment after that number on)."""
        for name in topics:
            if name not in self.claims:
                after = self._world.latest if low is None else NEVER
                self.claims[name] = Claim(name, self._world.latest if low is None else low, after)
                self._note(f"join {name} after {after}")

    def joined(self, topics: Iterable[str], cursor: str) -> None:
        """The reply to a subscribe without a cursor has come: by now it is subscribed."""
        after = self._place(cursor) if self.surely_live else self._world.latest
        for name in topics:
            if (claim := self.claims.get(name)) is not None and claim.after == NEVER:
                claim.after = after
        self.told(cursor)

    def leaving(self, topics: Iterable[str]) -> None:
        """It has asked to leave these."""
        for name in topics:
            if (claim := self.claims.get(name)) is not None:
                claim.ending = True

    def join_from(self, ref: Ref, topics: list[str], position: int, reason: str = "") -> None:
        """It subscribed to new topics with a cursor."""
        claims = [Claim(name, position, position, by_cursor=True) for name in topics if name not in self.claims]
        joining = Joining(claims, reason)
        for claim in claims:
            claim.joining = joining
            self.claims[claim.channel] = claim
        self._owe(joining.outstanding, position, {claim.channel: claim for claim in claims})
        self._joinings.append(joining)
        self.surely_live = False
        if reason:
            self._due.append((reason, claims))
        self.expect(ref, lambda frame: self._joined(joining, topics, frame))
        self._note(f"join {topics} from {position} {reason}")

    def leave(self, topics: Iterable[str]) -> None:
        """It is no longer subscribed to these."""
        for name in topics:
            if (claim := self.claims.pop(name, None)) is not None and claim.joining is not None:
                claim.joining.claims.remove(claim)
            self._note(f"leave {name}")
        self._due = [(reason, claims) for reason, claims in self._due if claims]  # of nothing, nothing is missing

    def expect(self, ref: Ref, check: Callable[[Frame], None]) -> None:
        """An action with a ``ref`` will be answered."""
        self._replies[ref] = check

    def waits_for(self, ref: Ref) -> bool:
        """Whether that hasn't been answered yet."""
        return ref in self._replies

    # What happens to it

    def published(self, sent: Sent) -> None:
        """Something was published, and what it got of it in that step has been taken."""
        sure = [claim for claim in self._ways(sent) if claim.after < sent.sequence and not claim.ending]
        if not self._ways(sent) or sent.sequence in self.given:
            return
        self._outstanding[sent.sequence] = sent
        if not (self.surely_live and sure):
            return
        if self._exact:
            self._broken(f"it is live and wasn't given {sent.mark} ({sent.sequence})")
        self._owed_live.add(sent.sequence)

    def sees(self, sent: Sent) -> bool:
        """Whether it is subscribed to one of the channels."""
        return bool(self._ways(sent))

    def rest(self) -> None:
        """Nothing is left to be done for it: it must have everything, and is live."""
        if self._due:
            self._broken(f"it was never told of the gap {self._due}")
        if self._joinings or self._replies:
            self._broken(f"it never got its replies {list(self._replies)}")
        if self._welcome is not None:
            self._broken("it never got its welcome")
        if self.through != self._world.latest:
            self._settle(self._world.latest, "nothing is left to be done")
            self.through = self._world.latest
        self._due.clear()
        self.surely_live = True
        self._plain_gap = False

    def take(self, frame: Frame) -> None:
        """It gets a frame."""
        self._note(str({key: value for key, value in frame.items() if key not in ("body", "sent_at", "priority")}))
        kind = frame.get("hub")
        if self._welcome is not None and kind != "welcome":
            self._broken("the first frame is no welcome")
        if kind is None:
            self._take_notification(frame)
        elif not self._control and kind not in ("reply", "gap"):
            self._broken(f"a plain connection got the control frame {kind}")
        elif kind == "gap":
            self._take_gap(frame["channel"], frame["reason"])
        elif kind == "reply":
            check = self._replies.pop(frame["ref"], None)
            if check is None:
                self._broken("a reply to nothing")
            check(frame)
        elif kind == "welcome":
            if self._welcome is None:
                self._broken("a second welcome")
            self._welcome(frame)
            self._welcome = None
        elif kind == "ping":
            self.told(frame["cursor"])
            if self.surely_live and self._exact and self._place(frame["cursor"]) != self._world.latest:
                self._broken("the cursor of a connection that is live grew old")
        elif kind == "retract":
            self.retracted.update(frame["ids"])

    def told(self, cursor: str) -> None:
        """It was told a cursor: whoever resumes there must miss nothing."""
        place = self._place(cursor)
        if place > self._world.latest:
            self._broken(f"the cursor {cursor} is from the future")
        self.cursors.append(cursor)
        self.last_cursor = cursor
        self._settle(place, f"it was told the cursor {cursor}")

    # Notifications

    def _take_notification(self, frame: Frame) -> None:
        sent = self._world.by_mark.get(frame["title"])
        if sent is None:
            self._broken("a notification that nobody published")
        ways = self._ways(sent)
        if not ways:
            self._broken(f"{sent.mark}, of channels {sent.to} that it may not see")
        self._check_frame(frame, sent, ways)
        self._check_once(sent, ways)
        if self._exact and sent.sequence != self._world.latest:
            if sent.retracted or sent.live_only or sent.expires_at <= self._world.now:
                self._broken(f"{sent.mark} was replayed, and it is live only, expired or retracted")
        elif sent.id in self.retracted:
            self._broken(f"{sent.mark} came behind its retraction")
        self._check_order(sent, ways, self.claims.get(frame["channel"]))
        self.given[sent.sequence] = tuple(claim for claim in ways if claim.channel == frame["channel"])
        self._outstanding.pop(sent.sequence, None)
        self._owed_live.discard(sent.sequence)
        for joining in self._joinings:
            joining.outstanding.pop(sent.sequence, None)
        self.cursors.append(frame["cursor"])
        self.last_cursor = frame["cursor"]

    def _ways(self, sent: Sent) -> list[Claim]:
        """By which claims it may get it, in the order of ``to``."""
        found = []
        for name in sent.to:
            claim = self.claims.get(name)
            if claim is not None and claim.after_low < sent.sequence:
                found.append(claim)
        return found

    def _check_frame(self, frame: Frame, sent: Sent, ways: list[Claim]) -> None:
        if frame["id"] != sent.id or frame["cursor"] != sent.cursor:
            self._broken(f"id or cursor are not those of {sent.mark}: {sent.id}, {sent.cursor}")
        joining = self._joinings[0] if self._joinings else None
        possible = [claim.channel for claim in ways if joining is not None and claim.joining is joining]
        for claim in ways:
            possible.append(claim.channel)
            if claim.after < sent.sequence and not claim.ending and claim.joining is None:
                break
        if frame["channel"] not in possible:
            self._broken(f"{sent.mark} names another channel than the first that reaches it: {possible}")

    def _check_once(self, sent: Sent, ways: list[Claim]) -> None:
        """Never twice; unless it asks for a topic from an older cursor, and has left the channel that it had it by."""
        before = self.given.get(sent.sequence)
        if before is None:
            return
        still = [claim for claim in before if self.claims.get(claim.channel) is claim]
        if still or not any(claim.by_cursor for claim in ways):
            self._broken(f"{sent.mark} came twice")

    def _check_order(self, sent: Sent, ways: list[Claim], named: Claim | None) -> None:
        sequence = sent.sequence
        # What names a topic that is still being joined comes by that, even if another way lost it without a word: only
        # hubd.v1 is told how far a replay without anything in it has come.
        by_joining = named is not None and named.joining is not None and named.joining in self._joinings[:1]
        if sequence > self.through and not by_joining and any(claim.joining is None for claim in ways):
            self._settle(sequence - 1, f"it got {sent.mark} ({sequence})")
            self.through = sequence
            return
        joining = self._joinings[0] if self._joinings else None
        if joining is None or not any(claim.joining is joining for claim in ways):
            self._broken(f"{sent.mark} ({sequence}) came after {self.through}")
        if sequence <= joining.last:
            self._broken(f"{sent.mark} ({sequence}) came after {joining.last}, in the replay of a subscribe")
        self._settle_joining(joining, sequence - 1, f"it got {sent.mark} ({sequence})")
        joining.last = sequence
        joining.count += 1

    # What must have come

    def _owe(self, outstanding: dict[int, Sent], after: int, claims: dict[str, Claim]) -> None:
        for sent in reversed(self._world.sent):
            if sent.sequence <= after:
                break
            if not sent.live_only and sent.sequence not in self.given and any(name in claims for name in sent.to):
                outstanding[sent.sequence] = sent

    def _settle(self, through: int, why: str) -> None:
        """Everything through this number must have been given, or there is an excuse."""
        for sequence in sorted(self._outstanding):
            if sequence > through:
                break
            sent = self._outstanding[sequence]
            claims = [claim for claim in self._ways(sent) if claim.after < sequence and not claim.ending]
            owing = [claim for claim in claims if claim.joining is None]
            if claims and not owing:
                continue  # a matter of the replay that is still to come
            del self._outstanding[sequence]
            if owing and not self._excused(sent, owing):
                self._broken(f"{sent.mark} ({sequence}) never came and no gap was told; now {why}")

    def _settle_joining(self, joining: Joining, through: int, why: str) -> None:
        for sequence in sorted(joining.outstanding):
            if sequence > through:
                break
            sent = joining.outstanding.pop(sequence)
            owing = [claim for claim in self._ways(sent) if claim in joining.claims]
            if owing and not self._excused(sent, owing):
                self._broken(f"{sent.mark} ({sequence}) is missing in the replay of a subscribe; now {why}")

    def _excused(self, sent: Sent, owing: list[Claim]) -> bool:
        if sent.retracted or sent.expires_at <= self._world.now:
            return True
        if sent.live_only:
            return sent.sequence not in self._owed_live
        if not all(claim.channel in sent.lost for claim in owing):
            return False  # it survives in a ring, so no gap excuses it
        return self._plain_gap or any(claim.covered >= sent.sequence for claim in self._ways(sent))

    # Gaps, welcome and replies

    def _take_gap(self, channel: str | None, reason: str) -> None:
        if reason != "evicted":
            due = next((due for due in self._due if due[0] == reason and channel is None), None)
            if due is None:
                self._broken("a gap for a cursor that was good, or not given")
            self._due.remove(due)
            self._cover(due[1], self._world.latest)
            return
        claims = [self.claims[channel]] if channel in self.claims else []
        if channel is None:
            claims = list(self.claims.values())
        elif not claims:
            self._broken("a gap of a channel that it may not see")
        if not any(self._lost(claim) for claim in claims) and not self._forgotten(channel):
            self._broken("a gap, and nothing is missing")
        if channel is not None and not claims[0].by_cursor and self._control and self._exact:
            if self._world.lost_through(channel) <= claims[0].told:
                self._broken("a gap that it was told before")
            claims[0].told = self._world.lost_through(channel)
        self._cover(claims, None)

    def _lost(self, claim: Claim) -> bool:
        """Whether something of the channel that it should have had after its cursor was evicted."""
        for sent in reversed(self._world.lost_of(claim.channel)):
            if sent.sequence <= claim.after_low:
                return False
            if claim.joining is not None or sent.sequence not in self.given:
                return True
        return False

    def _forgotten(self, channel: str | None) -> bool:
        """Whether the hub can't know any more which channels something after the cursor was evicted from."""
        return channel is None and self._world.forgettable > min(claim.after_low for claim in self.claims.values())

    def _cover(self, claims: Iterable[Claim], through: int | None) -> None:
        self._plain_gap = not self._control
        for claim in claims:
            claim.covered = max(claim.covered, self._world.lost_through(claim.channel), through or 0)
            if claim.joining is not None:
                claim.joining.gapped |= claim.joining is self._joinings[0]

    def _check_welcome(self, frame: Frame, topics: set[str], position: int | None, reason: str) -> None:
        if frame["user"] != self._user or set(frame["topics"]) != topics:
            self._broken(f"welcome is not for {self._user} with {sorted(topics)}")
        place = self._place(frame["cursor"])
        if position is not None and not reason and place != position:
            self._broken(f"welcome's cursor is not the position before the replay, {position}")
        if self._exact and position is None and place != self._world.latest:
            self._broken(f"welcome's cursor is not the present one, {self._world.latest}")
        if ("recovered" in frame) is not (position is not None):
            self._broken("`recovered` belongs into the welcome of a connection that resumes, and only there")
        self.told(frame["cursor"])
        if position is None:
            for claim in self.claims.values():
                if claim.joining is None and claim.after != NEVER:
                    claim.after_low = claim.after = place
            self._owe(self._outstanding, place, self.claims)
            return
        is_lost = any(self._lost(claim) for claim in self.claims.values())
        if frame["recovered"] and (reason or (self._exact and self._surely_lost())):
            self._broken("recovered, it says, and that can't be")
        if not frame["recovered"] and not (reason or is_lost or self._forgotten(None)):
            self._broken("not recovered, it says, and nothing is missing")

    def _surely_lost(self) -> bool:
        now = self._world.now
        return any(
            sent.sequence > claim.after and not sent.retracted and sent.expires_at > now
            for claim in self.claims.values()
            for sent in self._world.lost_of(claim.channel)
        )

    def _joined(self, joining: Joining, topics: list[str], frame: Frame) -> None:
        if not frame["ok"] or set(frame["topics"]) != set(topics):
            self._broken(f"that is no reply to subscribe to {topics}")
        self._joinings.remove(joining)
        for claim in joining.claims:
            claim.joining = None
        place = self._place(frame["cursor"])
        self._settle_joining(joining, place, f"the reply's cursor is {frame['cursor']}")
        self._outstanding.update(joining.outstanding)
        self.told(frame["cursor"])
        if frame["replayed"] != joining.count and (self._exact or frame["replayed"] < joining.count):
            self._broken(f"{joining.count} were replayed")
        is_whole = not joining.gapped and not joining.reason
        if frame["recovered"] is not is_whole and joining.claims and (self._exact or is_whole):
            self._broken(f"`recovered` is wrong: gap {joining.gapped}, {joining.reason!r}")

    def _note(self, text: str) -> None:
        self._story.append(text)
        del self._story[:-150]

    def _broken(self, what: str) -> Any:
        story = "\n  ".join(self._story)
        raise Broken(f"{what}\nthe connection of {self._user}, and what it got:\n  {story}")
