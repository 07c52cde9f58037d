"""The options in ``[plugins.proxy_auth]``."""

import re
from typing import Annotated, Self

from pydantic import AfterValidator, model_validator

from hubd.plugin import Field, PluginConfig, SecretStr, allowed_host, check_url

_HEADER = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,128}")


def _header(text: str) -> str:
    if not _HEADER.fullmatch(text):
        raise ValueError(f"{text[:128]!r} is no header's name")
    return text.lower()


class Options(PluginConfig):
    """What stands in ``[plugins.proxy_auth]``; lengths of time are in seconds."""

    url: str = Field(description="Where the application answers who somebody is.")
    secret: SecretStr | None = Field(
        None, description="Sent to the application as 'Authorization: Bearer ...', so that it knows that the hub asks."
    )
    forward_headers: tuple[Annotated[str, AfterValidator(_header)], ...] = Field(
        ("authorization", "cookie"), strict=False, description="Which headers of a client's request are passed on."
    )
    forward_query: tuple[str, ...] = Field(
        (), strict=False, description="Which parameters of its address are passed on."
    )
    timeout_s: float = Field(2.0, gt=0, le=4, description="How long an answer may take, waiting for its turn included.")
    cache_s: float = Field(60.0, ge=0, le=3600, description="How long it counts who somebody is.")
    denied_cache_s: float = Field(5.0, ge=0, le=3600, description="How long it counts that somebody isn't let in.")
    cache_entries: int = Field(10_000, ge=1, le=1_000_000, description="How many answers are kept of each kind.")
    concurrency: int = Field(32, ge=1, le=500, description="How many calls are under way at once; more wait.")
    allow_hosts: tuple[Annotated[str, AfterValidator(allowed_host)], ...] = Field(
        (), strict=False, description="Hosts and networks that may be called by http, and at private addresses."
    )
    fallback: bool = Field(True, description="Whether the hub's own tokens count too.")
    report_not_ready: bool = Field(
        False, description="Whether the hub isn't ready (/health/ready) while the application doesn't answer."
    )

    @model_validator(mode="after")
    def _usable(self) -> Self:
        try:
            check_url(self.url, self.allow_hosts)
        except ValueError as error:
            raise ValueError(f"url: {error}") from None
        if self.secret is not None:
            secret = self.secret.get_secret_value()
            if not secret or not secret.isascii() or not secret.isprintable() or " " in secret:
                raise ValueError("secret: has to be printable ASCII without spaces")
        if not self.forward_headers and not self.forward_query:
            raise ValueError("forward_headers and forward_query are both empty: nothing would be asked about")
        return self
