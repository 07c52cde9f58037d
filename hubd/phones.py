"""Made-up phones for `hubd serve --dev --phones`: push services that stand in for the real ones, and who has what.

They run in a thread with a loop of its own, and the hub reaches them as it would reach the real ones, over sockets.
Whatever arrives at a phone is said in one line. Nobody needs an account, a key or a phone.
"""

import asyncio
import sys
import tempfile
import threading
from collections.abc import Mapping
from contextlib import AsyncExitStack
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple, Self

import aiohttp

from hubd.tasks import Tasks
from hubd.testing.apns_checks import Request
from hubd.testing.apns_service import Answer, ApnsPush, ApnsService, Mishap
from hubd.testing.fcm_service import FcmPush, FcmService
from hubd.testing.webpush_service import ArrivedPush, WebPushService
from hubd.trying import webpush_table

USERS = ("ada", "bob")
BROWSER, IPHONE, ANDROID = "browser (Web Push)", "iPhone (APNs)", "Android phone (FCM)"
LOOPBACK = "127.0.0.1"
START_S = 30.0
CALL_S = 10.0
TEXT_CHARS = 200
_CURL = (
    '{"to": "user:ada", "priority": "critical",'
    ' "notification": {"type": "alert", "title": "It works", "body": "Hello from curl"}}'
)


class Shown(NamedTuple):
    """What a phone shows."""

    title: str
    body: str

    def __str__(self) -> str:
        text = f"{self.title}: {self.body}" if self.body else self.title
        return "".join(letter if letter.isprintable() else " " for letter in text)[:TEXT_CHARS]


class Phones:
    """A context in which the stand-ins run. ``tables`` are the plugins' tables of the config that lead to them."""

    def __init__(self) -> None:
        self.tables: dict[str, dict[str, Any]] = {}
        self.has_android = find_spec("firebase_admin") is not None
        self._owners: dict[str, str] = {}
        self._thread = threading.Thread(target=lambda: asyncio.run(self._live()), name="phones", daemon=True)
        self._is_up = threading.Event()
        self._failure: Exception | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._tasks = Tasks()

    def __enter__(self) -> Self:
        self._thread.start()
        if not self._is_up.wait(START_S):
            raise TimeoutError("the made-up push services didn't start")
        if self._failure is not None:
            raise self._failure
        return self

    def __exit__(self, *_: object) -> None:
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._end.set)
            self._thread.join(START_S)

    async def _live(self) -> None:
        self._loop, self._end = asyncio.get_running_loop(), asyncio.Event()
        async with AsyncExitStack() as stack:
            try:
                await self._open(stack)
            except Exception as failure:  # it is raised where somebody waits for the start
                self._failure = failure
                return
            finally:
                self._is_up.set()
            await self._end.wait()
            await self._tasks.close()

    async def _open(self, stack: AsyncExitStack) -> None:
        self._webpush = await stack.enter_async_context(WebPushService())
        self._webpush.on_push = self._on_webpush
        self._apns = await stack.enter_async_context(_Apns(self))
        self.tables = {
            "webpush": webpush_table() | {"allow_hosts": [LOOPBACK]},
            "apns": {"apps": [self._apns.app()]},
        }
        if self.has_android:
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="hubd-phones-"))
            fcm = await stack.enter_async_context(FcmService())
            fcm.on_push = self._on_fcm
            self.tables["fcm"] = fcm.options(Path(folder))

    # Who has which

    def register(self, url: str, key: str) -> None:
        """The hub is there: say how to try it, and register the devices of all users, as they would by themselves."""
        print(self._help(url, key), file=sys.stderr, flush=True)
        assert self._loop is not None
        self._loop.call_soon_threadsafe(self._tasks.start, self._register(url), "register phones")

    def _help(self, url: str, key: str) -> str:
        kinds = [BROWSER, IPHONE, *([ANDROID] if self.has_android else [])]
        missing = "" if self.has_android else "\n  For Android phones, too: pip install 'firebase-admin>=7.7,<8'"
        return f"""  PHONES: {" and ".join(USERS)} have made-up ones: {", ".join(kinds)}.
  What rings is said here. They are gone with this process, and no account is needed.{missing}

  Let ada's ring:
    curl {url}/api/notifications -H 'Authorization: Bearer {key}' -d '{_CURL}'
"""

    async def _register(self, url: str) -> None:
        timeout = aiohttp.ClientTimeout(total=CALL_S)
        try:
            async with aiohttp.ClientSession(url, timeout=timeout) as hub:
                async with hub.get("/api/push/vapid-public-key") as answer:
                    public = (await answer.json())["key"]
                for user in USERS:
                    await self._register_all_of(hub, user, public)
        except (aiohttp.ClientError, TimeoutError, KeyError, ValueError) as error:
            print(f"  The phones couldn't be registered: {type(error).__name__}", file=sys.stderr, flush=True)
        else:
            print(f"  {len(self._owners)} phones are registered.\n", file=sys.stderr, flush=True)

    async def _register_all_of(self, hub: aiohttp.ClientSession, user: str, public: str) -> None:
        subscription = self._webpush.subscribe(public)
        await self._put(hub, user, "/api/push-subscriptions", subscription, subscription["endpoint"], BROWSER)
        token = user.encode().hex().ljust(64, "0")
        await self._put(hub, user, "/api/devices", {"platform": "apns", "token": token}, token, IPHONE)
        if self.has_android:
            token = f"made-up-phone-of-{user}"
            await self._put(hub, user, "/api/devices", {"platform": "fcm", "token": token}, token, ANDROID)

    async def _put(
        self, hub: aiohttp.ClientSession, user: str, path: str, body: Mapping[str, Any], key: str, kind: str
    ) -> None:
        async with hub.post(path, params={"user": user}, json=body) as answer:
            answer.raise_for_status()
        self._owners[key] = f"{user}'s {kind}"

    # What rings

    def rang(self, key: str, shown: Shown) -> None:
        """Say that something arrived at this device."""
        print(f"{self._owners.get(key, 'a phone')} rang: {shown}", file=sys.stderr, flush=True)

    def _on_webpush(self, push: ArrivedPush) -> None:
        self.rang(push.endpoint, _shown(push.data))

    def _on_fcm(self, push: FcmPush) -> None:
        own = {name: push.data[name] for name in ("title", "body") if name in push.data}
        self.rang(push.token, _shown(push.notification | own))


class _Apns(ApnsService):
    """Says what it takes."""

    def __init__(self, phones: Phones) -> None:
        super().__init__()
        self._phones = phones

    def answer(self, request: Request) -> Answer | Mishap:
        before = len(self.pushes)
        answer = super().answer(request)
        if isinstance(answer, Answer) and answer.code == 200 and before < len(self.pushes):
            self._on_push(self.pushes[-1])
        return answer

    def _on_push(self, push: ApnsPush) -> None:
        aps = push.payload.get("aps")
        alert = aps.get("alert") if isinstance(aps, dict) else None
        self._phones.rang(push.token, _shown(alert if isinstance(alert, dict) else push.payload))


def _shown(said: Any) -> Shown:
    """What a service worker or an app would show of this."""
    fields: Mapping[str, Any] = said if isinstance(said, dict) else {}
    title = fields.get("title") or fields.get("type") or "something"
    return Shown(str(title), str(fields.get("body") or ""))
