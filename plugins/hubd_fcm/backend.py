"""FCM as the hub sees it."""

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from hubd.plugin import (
    Address,
    Device,
    FieldError,
    Limits,
    Outcome,
    PluginLog,
    Push,
    PushResult,
    Rate,
    invalid,
)
from hubd_fcm.answers import OF_THE_ACCOUNT
from hubd_fcm.messages import Messages
from hubd_fcm.overrides import wrong_in
from hubd_fcm.senders import Sender

TOKEN_CHARS = 4096
AT_ONCE = 64


def limits_of(*, all_collapsible: bool) -> Limits:
    """What Google allows (Firebase: "Throttling and quotas", "Non-collapsible and collapsible messages")."""
    return Limits(
        at_once=AT_ONCE,
        per_destination=(Rate(600_000, 60),),
        per_device=(Rate(240, 60), Rate(5_000, 3600)),
        collapsible_burst=20,
        collapsible_every_s=180,
        all_collapsible=all_collapsible,
        collapse_keys=4,
    )


class FcmBackend:
    """One project's FCM. Before ``begin`` and after ``end`` everything is for later."""

    platform = "fcm"

    def __init__(self, project: str, *, all_collapsible: bool) -> None:
        self._messages: Messages | None = None
        self._sender: Sender | None = None
        self.project = project
        self.limits = limits_of(all_collapsible=all_collapsible)

    def begin(self, messages: Messages, sender: Sender, log: PluginLog) -> None:
        """Send by these from now on."""
        self._messages, self._sender, self._log = messages, sender, log
        self._is_told = False

    def end(self) -> None:
        """Send no more."""
        self._messages = self._sender = None

    def check(self, fields: Mapping[str, Any]) -> Address:
        """A registration token, as the Firebase SDK on the device gives it."""
        wrong = [FieldError(name, "there is no such field") for name in fields if name != "token"]
        token = fields.get("token")
        if not isinstance(token, str) or not token.isascii() or not token.isprintable() or " " in token or not token:
            wrong.append(FieldError("token", "has to be the registration token that the Firebase SDK gives"))
        elif len(token) > TOKEN_CHARS:
            wrong.append(FieldError("token", f"is longer than {TOKEN_CHARS} characters"))
        if wrong:
            raise invalid(wrong)
        return Address(str(token), {"token": token}, self.project)

    def check_overrides(self, overrides: Mapping[str, Any]) -> list[FieldError]:
        """What is wrong with ``push.fcm``."""
        return wrong_in(overrides)

    def destination(self, device: Device) -> str:
        """The project."""
        return f"fcm:{self.project}"

    async def send(self, device: Device, push: Push) -> PushResult:
        """Bring it to one device."""
        if self._messages is None or self._sender is None:
            return PushResult(Outcome.LATER, "not started", for_all=True)
        try:
            shared = self._messages.shared(push)
        except (ValueError, ValidationError):
            return PushResult(Outcome.REFUSED, "message invalid")
        result = await self._sender.send(shared, device, push)
        self._tell(result)
        return result

    def _tell(self, result: PushResult) -> None:
        """Say once that the account is refused, and when it isn't any more."""
        if result.reason in OF_THE_ACCOUNT and not self._is_told:
            self._is_told = True
            self._log.error(
                "FCM takes nothing from this account: has it the right, and is the API on?", answer=result.reason
            )
        elif self._is_told and result.outcome is Outcome.ACCEPTED:
            self._is_told = False
            self._log.info("FCM takes messages from this account again")
