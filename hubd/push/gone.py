"""Whether devices may be deleted because their service doesn't know them: not when it would be too many of an app's.

Services say "unknown" of each device also when the hub asks the wrong one, or with the wrong key. So what goes within
ten minutes is looked at together with what was answered at all, app by app.
"""

from collections import OrderedDict, deque

from hubd.core.users import UserSet, union_of
from hubd.push.device_table import App

WINDOW_S = 600.0
"""Within this time too many must not go; and so long what went can come back."""
LEAST = 50
"""Of fewer devices nothing can be told by a share."""
OF_ONE = 3
"""So many devices of one user count, however many of his go."""
OWNERS = 10_000
"""Of so many users it is known how many went."""
APPS = 1000
"""So many apps are watched by themselves; those beyond share one watch."""
BUCKET_S = 60.0
_OTHERS = ("", "")


class _Minute:
    """Which devices a service answered for, and which of them it didn't know; ``before``: those that went before the
    hub started, when it isn't known any more what else was answered."""

    __slots__ = ("answered", "before", "gone", "since")

    def __init__(self, since: float) -> None:
        self.since = since
        self.answered = UserSet()
        self.gone = UserSet()
        self.before = UserSet()


class _Watch:
    """One app's last minutes. While it isn't ``trusted``, what was answered since it was judged the last time."""

    __slots__ = ("_all", "_minutes", "trusted")

    def __init__(self) -> None:
        self.trusted = True
        self._minutes: deque[_Minute] = deque()
        self._all = _Minute(0)

    def note(self, device: int, now: float, *, is_gone: bool) -> None:
        self.forget_before(now - WINDOW_S)
        if self.trusted and (not self._minutes or self._minutes[-1].since <= now - BUCKET_S):
            self._minutes.append(_Minute(now))
        for minute in (self._minutes[-1], self._all) if self.trusted else (self._all,):
            minute.answered.add(device)
            if is_gone:
                minute.gone.add(device)

    def note_before(self, device: int, at: float) -> None:
        if not self._minutes or self._minutes[-1].since <= at - BUCKET_S:
            self._minutes.append(_Minute(at))
        for minute in (self._minutes[-1], self._all):
            minute.before.add(device)

    def forget_before(self, until: float) -> None:
        """What nobody trusts is judged by what is answered from then on, however long that takes."""
        is_less = False
        while self.trusted and self._minutes and self._minutes[0].since <= until - BUCKET_S:
            self._minutes.popleft()
            is_less = True
        if is_less:
            self._all = _Minute(0)
            self._all.answered = union_of([UserSet(), *(minute.answered for minute in self._minutes)])
            self._all.gone = union_of([UserSet(), *(minute.gone for minute in self._minutes)])
            self._all.before = union_of([UserSet(), *(minute.before for minute in self._minutes)])

    @property
    def is_empty(self) -> bool:
        return self.trusted and not self._minutes

    def clear(self) -> None:
        self._minutes.clear()
        self._all = _Minute(0)

    def went(self) -> UserSet:
        return self._all.gone | self._all.before

    def answered(self) -> int:
        return len(self._all.answered | self._all.before)

    def is_too_many(self, percent: int) -> bool | None:
        """Whether more than this share doesn't exist; None: there are too few to tell.

        Those from before the start make up the number, not the share: it held when they went.
        """
        if self.answered() < LEAST:
            return None
        return len(self._all.gone) * 100 > percent * len(self._all.answered)


class Distrust:
    """Too many of an app's devices would go. ``back`` are those that went lately, and this one, of so many that were
    ``answered``, where that is seen just now; ``is_over``: with this one its app is trusted again."""

    __slots__ = ("answered", "back", "is_over")

    def __init__(self, back: UserSet | None = None, answered: int = 0, *, is_over: bool = False) -> None:
        self.back = back
        self.answered = answered
        self.is_over = is_over


class GoneWatch:
    """Judges app by app. Devices are given by number, times in seconds of the monotonic clock."""

    def __init__(self, percent: int) -> None:
        self.percent = percent
        self._apps: dict[App, _Watch] = {}
        self._owners: OrderedDict[tuple[App, int], tuple[float, int]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._apps)

    @property
    def distrusted(self) -> int:
        """Of how many apps nothing is deleted at the moment."""
        return sum(not watch.trusted for watch in self._apps.values())

    def _has_many(self, app: App, owner: int, now: float) -> bool:
        since, count = self._owners.pop((app, owner), (now, 0))
        if now - since > WINDOW_S:
            since, count = now, 0
        self._owners[app, owner] = since, count + 1
        if len(self._owners) > OWNERS:
            self._owners.popitem(last=False)
        return count >= OF_ONE

    def answered(self, app: App, device: int, now: float) -> bool:
        """A service took a push for a device; True: with this its app is trusted again."""
        watch = self._watch(app)
        watch.note(device, now, is_gone=False)
        return not watch.trusted and self._trusts_again(watch)

    def gone(self, app: App, device: int, now: float, owner: int | None = None) -> Distrust | None:
        """A service doesn't know a device. None: it may go. Else it stays, and who went lately has to come back.

        Of one ``owner`` (by number) only a few count: nobody shall make a whole app distrusted by dead devices of his.
        """
        watch = self._watch(app)
        if owner is not None and watch.trusted and self._has_many(app, owner, now):
            watch.note_before(device, now)  # it makes up no share, but comes back with the others
            return None
        watch.note(device, now, is_gone=True)
        if not watch.trusted:
            return Distrust(is_over=self._trusts_again(watch))
        if not watch.is_too_many(self.percent):
            return None
        found = Distrust(watch.went(), watch.answered())
        watch.trusted = False
        watch.clear()  # from now on it has to show that it is well
        return found

    def went_before(self, app: App, device: int, at: float) -> None:
        """A device went at this time, before the hub started; these come in the order of their times."""
        self._watch(app).note_before(device, at)

    def tidy(self, now: float) -> None:
        """Let go of what is over."""
        for app, watch in list(self._apps.items()):
            watch.forget_before(now - WINDOW_S)
            if watch.is_empty:
                del self._apps[app]

    def _watch(self, app: App) -> _Watch:
        watch = self._apps.get(app)
        if watch is None:
            app = app if len(self._apps) < APPS else _OTHERS
            watch = self._apps.setdefault(app, _Watch())
        return watch

    def _trusts_again(self, watch: _Watch) -> bool:
        """Trust it when enough answers came since, and few enough of them were 'unknown'; else count anew."""
        is_bad = watch.is_too_many(self.percent)
        if is_bad is None:
            return False
        watch.trusted = not is_bad
        watch.clear()
        return watch.trusted
