"""The options in ``[plugins.fcm]``, and what has to be true of them."""

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, PrivateAttr, ValidationInfo, model_validator

from hubd.plugin import Field, ListOf, PluginConfig, allowed_host, check_url, raise_at
from hubd_fcm.account import Account, read_account

GOOGLE = "https://fcm.googleapis.com"
HOSTS = 100


class FcmConfig(PluginConfig):
    """By whose account to send, and how."""

    service_account_file: str = Field(
        min_length=1,
        description="The service account's JSON file from the Firebase console; a relative path starts at this file's"
        " folder.",
    )
    message: Literal["data", "notification"] = Field(
        "data",
        description="What Android phones get: data, which the app shows; or a notification, which the system shows, but"
        " a phone that was off gets only the last of them, and at most one every three minutes.",
    )
    android_channel_id: str = Field(
        "", max_length=100, description="In which channel Android shows it; empty: the app's default one."
    )
    sender: Literal["http", "sdk"] = Field(
        "http", description="http: hubd's own calls. sdk: those of firebase-admin, which cost many times the CPU time."
    )
    endpoint: str = Field(GOOGLE, description="Where FCM is, for tests; only with sender = 'http'.")
    allow_hosts: Annotated[tuple[Annotated[str, AfterValidator(allowed_host)], ...], ListOf] = Field(
        (),
        max_length=HOSTS,
        description="Hosts and networks for which http:// and private addresses are fine, for tests.",
    )
    _account: Account = PrivateAttr()

    @property
    def account(self) -> Account:
        """What stands in the file."""
        return self._account

    @property
    def url(self) -> str:
        """Where messages are sent to."""
        return f"{self.endpoint.rstrip('/')}/v1/projects/{self._account.project}/messages:send"

    @model_validator(mode="after")
    def _check(self, info: ValidationInfo) -> Self:
        folder = Path((info.context or {}).get("folder", "."))
        wrong: list[tuple[tuple[str | int, ...], str]] = []
        try:
            self._account = read_account(folder / self.service_account_file, self.allow_hosts)
        except ValueError as error:
            wrong.append((("service_account_file",), f"{self.service_account_file!r} {error}"))
        try:
            check_url(self.endpoint, self.allow_hosts)
        except ValueError as error:
            wrong.append((("endpoint",), str(error)))
        if self.sender == "sdk" and self.endpoint != GOOGLE:
            wrong.append((("endpoint",), "firebase-admin knows the real one alone: leave it out, or sender = 'sdk'"))
        raise_at(wrong)
        return self
