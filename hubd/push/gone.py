"""Whether devices may be deleted because their service doesn't know them: not when it would be too many of an app's.

Services say "unknown" of each device also when the hub asks the wrong one, or with the wrong key. So what goes within
ten minutes is looked at together with what was answered at all, app by app.
"""

from collections import deque
from collections.abc import Hashable

from hubd.core.users import UserSet, union_of

WINDOW_S = 600.0
"""Within this time too many must not go; and so long what went can come back."""
LEAST = 50
"""Of fewer devices nothing can be told by a share."""
APPS = 1000
"""So many apps are watched by themselves; those beyond share one watch."""
_BUCKET_S = 60.0
_OTHERS = ("", "")


class _Bucket:
    """A minute: which devices a service answered for, and which of them it doesn't know."""

    __slots__ = ("answered", "gone", "since")

    def __init__(self, since: float) -> None:
        self.since = since
        self.answered = UserSet()
        self.gone = UserSet()


class _App:
    """One app's last minutes. ``trusted`` is False from the moment on in which too many would go."""

    __slots__ = ("buckets", "trusted")

    def __init__(self) -> None:
        self.buckets: deque[_Bucket] = deque()
        self.trusted = True

    def bucket(self, now: float) -> _Bucket:
        buckets = self.buckets
        while buckets and buckets[0].since <= now - WINDOW_S - _BUCKET_S and self.trusted:
            buckets.popleft()
        if not buckets or (buckets[-1].since <= now - _BUCKET_S and self.trusted):
            buckets.append(_Bucket(now))
        return buckets[-1]

    def is_too_many(self, percent: int) -> bool | None:
        """Whether more than this share doesn't exist; None: there are too few to tell."""
        gone = union_of([bucket.gone for bucket in self.buckets])
        answered = union_of([bucket.answered for bucket in self.buckets])
        return len(gone) * 100 > percent * len(answered) if len(answered) >= LEAST else None


class GoneWatch:
    """Judges app by app. Devices are given by number, times in seconds of the monotonic clock."""

    def __init__(self, percent: int) -> None:
        self.percent = percent
        self._apps: dict[Hashable, _App] = {}

    @property
    def distrusted(self) -> int:
        """Of how many apps nothing is deleted at the moment."""
        return sum(not app.trusted for app in self._apps.values())

    def answered(self, name: Hashable, device: int, now: float) -> bool:
        """A service took a push for a device; True: with this its app is trusted again."""
        app = self._app(name)
        app.bucket(now).answered.add(device)
        return not app.trusted and self._trusts_again(app)

    def gone(self, name: Hashable, device: int, now: float) -> UserSet | None:
        """A service doesn't know a device. None: it may go.

        Else too many would: the set has the devices that went lately and have to come back, and this one.
        """
        app = self._app(name)
        bucket = app.bucket(now)
        bucket.answered.add(device)
        bucket.gone.add(device)
        if not app.trusted:
            self._trusts_again(app)
            return UserSet((device,))
        if not app.is_too_many(self.percent):
            return None
        back = union_of([bucket.gone for bucket in app.buckets])
        app.trusted = False
        app.buckets.clear()  # from now on it has to show that it is well
        return back

    def _app(self, name: Hashable) -> _App:
        app = self._apps.get(name)
        if app is None:
            name = name if len(self._apps) < APPS else _OTHERS
            app = self._apps.setdefault(name, _App())
        return app

    def _trusts_again(self, app: _App) -> bool:
        """Trust it when enough answers came since, and few enough of them were 'unknown'; else count anew."""
        is_bad = app.is_too_many(self.percent)
        if is_bad is None:
            return False
        app.trusted = not is_bad
        app.buckets.clear()
        return app.trusted
