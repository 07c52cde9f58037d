"""The two ways of calling FCM: hubd's own calls, or those of firebase-admin."""

import asyncio
from typing import Any, Protocol

from hubd.plugin import Clock, Device, Egress, EgressFailed, EgressRefused, Outcome, Push, PushResult
from hubd_fcm.answers import judge
from hubd_fcm.credential import Credential, NoToken
from hubd_fcm.messages import Shared

CALL_S = 12.0
"""How long one call may take."""
ANSWER_BYTES = 64 * 1024
_JSON = "application/json; charset=utf-8"


class Sender(Protocol):
    """Calls FCM."""

    async def send(self, shared: Shared, device: Device, push: Push) -> PushResult:
        """Bring a message to one device."""
        ...

    async def close(self) -> None:
        """Close the connections."""
        ...


class HttpSender:
    """By the HTTP v1 API, over connections that are kept."""

    def __init__(self, url: str, credential: Credential, egress: Egress, clock: Clock) -> None:
        self._url = url
        self._credential = credential
        self._egress = egress
        self._clock = clock

    async def send(self, shared: Shared, device: Device, push: Push) -> PushResult:
        """One call, or two, when the access token is no good any more."""
        body = shared.encoded(push, device.address["token"])
        for _ in range(2):
            try:
                token = await self._credential.get()
            except NoToken as error:
                return PushResult(Outcome.LATER, error.reason, for_all=True)
            result = await self._call(token, body)
            if result.reason != "401 UNAUTHENTICATED":
                break
            self._credential.refuse(token)
        return result

    async def _call(self, token: str, body: bytes) -> PushResult:
        headers = {"Authorization": f"Bearer {token}", "Content-Type": _JSON}
        try:
            answer = await self._egress.send(
                "POST", self._url, headers=headers, body=body, timeout_s=CALL_S, answer_bytes=ANSWER_BYTES
            )
        except EgressFailed as error:
            return PushResult(Outcome.LATER, error.reason, for_all=True)
        except EgressRefused:
            return PushResult(Outcome.LATER, "address refused", for_all=True)
        return judge(answer.status, answer.headers, answer.body, self._clock.now())

    async def close(self) -> None:
        """Close the connections; calls under way fail."""
        await self._egress.close()


class SdkSender:
    """By `firebase_admin.messaging.send_each_async`, as it is: it tries 500 and 503 again by itself, for a while."""

    def __init__(self, messaging: Any, app: Any, credential: Credential, clock: Clock) -> None:
        self._messaging = messaging
        self._app = app
        self._credential = credential
        self._clock = clock

    async def send(self, shared: Shared, device: Device, push: Push) -> PushResult:
        """One message."""
        try:
            await self._credential.get()  # so that it needn't fetch one itself, for which everything would stand still
        except NoToken as error:
            return PushResult(Outcome.LATER, error.reason, for_all=True)
        message = shared.complete(self._messaging, push, device.address["token"])
        batch = await self._messaging.send_each_async([message], app=self._app)
        failure = batch.responses[0].exception
        if failure is None:
            return PushResult(Outcome.ACCEPTED, "200")
        response = failure.http_response
        if response is None:
            return PushResult(Outcome.LATER, "unreachable", for_all=True)
        return judge(response.status_code, response.headers, response.content, self._clock.now())

    async def close(self) -> None:
        """Let go of the app, in a thread: firebase-admin closes its connections in a loop of its own."""
        from firebase_admin import delete_app

        await asyncio.wait_for(asyncio.to_thread(delete_app, self._app), CALL_S)
