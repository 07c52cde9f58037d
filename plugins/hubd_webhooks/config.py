"""The options in ``[plugins.webhooks]``, and what has to be true of them."""

from collections.abc import Iterator
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, model_validator

from hubd.plugin import (
    ChannelPattern,
    Field,
    ListOf,
    PluginConfig,
    Seconds,
    SecretStr,
    allowed_host,
    check_url,
    raise_at,
)
from hubd_webhooks.signing import secret_bytes

EventType = Literal[
    "published",
    "retracted",
    "dropped",
    "held",
    "digested",
    "presence",
    "connected",
    "disconnected",
    "gone",
    "acked",
    "subscribed",
    "unsubscribed",
]
DEFAULT_EVENTS: tuple[EventType, ...] = (
    "published",
    "retracted",
    "dropped",
    "held",
    "digested",
    "presence",
    "connected",
    "disconnected",
    "gone",
)
"""All but the noisy ones: what every client causes many times a minute."""

ENDPOINTS = 50
PATTERNS = 100
HOSTS = 1000
CONCURRENCY = 16
CALLS = ENDPOINTS * CONCURRENCY
"""How many calls can be under way at most."""


def _secret(value: SecretStr) -> SecretStr:
    secret_bytes(value.get_secret_value())
    return value


def _secret_or_none(value: SecretStr) -> SecretStr:
    return _secret(value) if value.get_secret_value() else value


class EndpointConfig(PluginConfig):
    """One address that is called."""

    url: str = Field(description="What is called, by POST.")
    secret: Annotated[SecretStr, AfterValidator(_secret)] = Field(
        description="What calls are signed with: whsec_ and at least 24 bytes as base64."
    )
    old_secret: Annotated[SecretStr, AfterValidator(_secret_or_none)] = Field(
        SecretStr(""),
        description="While a secret is being replaced: the one before, with which calls are signed as well.",
    )
    name: str = Field(
        "",
        pattern="^[A-Za-z0-9._:-]{0,100}$",
        description="What it is called in logs and metrics; empty: its host. Its queue outlives a reload by this name.",
    )
    events: Annotated[tuple[EventType, ...], ListOf] = Field(DEFAULT_EVENTS, description="What is told to it.")
    channels: Annotated[tuple[ChannelPattern, ...], ListOf] = Field(
        ("**",),
        max_length=PATTERNS,
        description="Of events about channels, only those about one of these: * is one segment, ** the rest.",
    )
    payload: bool = Field(
        False, description="Whether `published` has the notification itself, too: what people get to read."
    )
    timeout_s: Seconds = Field(10, gt=0, le=60, description="How long one call may take.")

    @property
    def label(self) -> str:
        """Its name, for people and metrics. Never more of the URL than the host: the rest may be a secret."""
        return self.name or urlsplit(self.url).hostname or ""

    @property
    def secrets(self) -> list[bytes]:
        """What calls are signed with."""
        texts = [self.secret.get_secret_value(), self.old_secret.get_secret_value()]
        return [secret_bytes(text) for text in texts if text]


class WebhooksConfig(PluginConfig):
    """Whom to tell, and how hard to try."""

    endpoints: Annotated[tuple[EndpointConfig, ...], ListOf] = Field(
        (), max_length=ENDPOINTS, description="The addresses that are called."
    )
    allow_hosts: Annotated[tuple[Annotated[str, AfterValidator(allowed_host)], ...], ListOf] = Field(
        (),
        max_length=HOSTS,
        description="Hosts and networks for which http:// and private addresses are fine.",
    )
    attempts: int = Field(12, ge=1, le=100, description="How often one call is tried at most.")
    retry_for_s: Seconds = Field(
        600,
        ge=0,
        le=86400,
        description="A call whose oldest event is older than that is not tried again.",
    )
    batch: int = Field(50, ge=1, le=1000, description="How many events one call has at most.")
    queue: int = Field(10_000, ge=1, le=1_000_000, description="How many events wait for one endpoint at most.")
    queue_bytes: int = Field(
        16 * 1024 * 1024, ge=1024, le=1024**3, description="How many bytes wait for one endpoint at most."
    )
    concurrency: int = Field(
        4, ge=1, le=CONCURRENCY, description="How many calls to one endpoint are under way at a time."
    )

    @model_validator(mode="after")
    def _check_endpoints(self) -> Self:
        raise_at(_wrong_endpoints(self))
        return self


def _wrong_endpoints(config: WebhooksConfig) -> Iterator[tuple[tuple[str | int, ...], str]]:
    labels: set[str] = set()
    for place, endpoint in enumerate(config.endpoints):
        try:
            check_url(endpoint.url, config.allow_hosts)
        except ValueError as error:
            yield ("endpoints", place, "url"), str(error)
            continue
        if endpoint.label in labels:
            yield ("endpoints", place, "name"), f"{endpoint.label!r} is there twice: give each endpoint its own name"
        labels.add(endpoint.label)
