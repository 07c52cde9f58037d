"""The options in ``[plugins.webpush]``, and what has to be true of them."""

from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Annotated, Self

from pydantic import AfterValidator, PrivateAttr, ValidationInfo, model_validator

from hubd.plugin import Field, ListOf, PluginConfig, Seconds, SecretStr, allowed_host, raise_at
from hubd_webpush.keys import VapidKey, read_key, read_key_file
from hubd_webpush.services import SERVICES

OLD_KEYS = 5
HOSTS = 100
DATA_BYTES = 3990
"""What is left of the 4,096 bytes that every service takes (RFC 8030 section 7.2): encrypted it is 103 more."""


def _subject(text: str) -> str:
    rest = text.removeprefix("mailto:") if text.startswith("mailto:") else text.removeprefix("https://")
    if (
        rest == text
        or not rest
        or not text.isascii()
        or not rest.isprintable()
        or " " in rest
        or (text[0] == "m" and "@" not in rest)
    ):
        raise ValueError("is no contact: write mailto:ops@example.com or https://example.com/contact")
    return text


def _service(text: str) -> str:
    host = allowed_host(text)
    if "/" in host or ":" in host or "." not in host or host.replace(".", "").isdigit():
        raise ValueError(f"{text!r} is no host name such as push.example.com")
    return host


class WebPushConfig(PluginConfig):
    """Pushes to browsers. Keys are made by `hubd gen-key vapid --out vapid.pem`."""

    vapid_private_key_file: str = Field(
        "", description="The file with the private key in PEM form; a relative path starts at this file's folder."
    )
    vapid_private_key: SecretStr = Field(SecretStr(""), description="The key itself, instead of a file with it.")
    old_vapid_private_key_files: Annotated[tuple[str, ...], ListOf] = Field(
        (),
        max_length=OLD_KEYS,
        description="Keys from before, which browsers that subscribed with them are still reached by.",
    )
    subject: Annotated[str, AfterValidator(_subject)] = Field(
        description="Whom push services write to when something is wrong: mailto: or https:."
    )
    services: Annotated[tuple[Annotated[str, AfterValidator(_service)], ...], ListOf] = Field(
        (),
        max_length=HOSTS,
        description=f"Hosts of more push services, besides {', '.join(SERVICES)} and what is under them.",
    )
    allow_hosts: Annotated[tuple[Annotated[str, AfterValidator(allowed_host)], ...], ListOf] = Field(
        (),
        max_length=HOSTS,
        description="Push services of your own that may be called by any port, by http, and at addresses that aren't"
        " public: names, addresses or networks.",
    )
    data_bytes: int = Field(
        3000,
        ge=1000,
        le=DATA_BYTES,
        description="How long a payload may be before a browser gets a light one to fetch by.",
    )
    topic_for_fcm: bool = Field(
        False,
        description="Whether Chrome's service gets a Topic as well: of many with one it delays what comes next.",
    )
    timeout_s: Seconds = Field(10, gt=0, le=60, description="How long a push service may take to answer.")

    _key: VapidKey | None = PrivateAttr(None)
    _old: tuple[VapidKey, ...] = PrivateAttr(())
    _readable: tuple[str, ...] = PrivateAttr(())

    @model_validator(mode="after")
    def _read_keys(self, info: ValidationInfo) -> Self:
        raise_at(self._wrong(Path((info.context or {}).get("folder", "."))))
        return self

    def _wrong(self, folder: Path) -> Iterator[tuple[tuple[str | int, ...], str]]:
        text = self.vapid_private_key.get_secret_value()
        if self.vapid_private_key_file and text:
            yield ("vapid_private_key",), "the key is given twice: leave this or vapid_private_key_file out"
        elif not self.vapid_private_key_file and not text:
            yield ("vapid_private_key_file",), "is required: `hubd gen-key vapid --out vapid.pem` makes one"
        elif text:
            try:
                self._key = read_key(text.encode())
            except ValueError as error:
                yield ("vapid_private_key",), str(error)
        else:
            self._key = yield from self._key_in(folder, self.vapid_private_key_file, ("vapid_private_key_file",))
        for place, file in enumerate(self.old_vapid_private_key_files):
            if (old := (yield from self._key_in(folder, file, ("old_vapid_private_key_files", place)))) is not None:
                self._old += (old,)

    def _key_in(
        self, folder: Path, file: str, option: tuple[str | int, ...]
    ) -> Generator[tuple[tuple[str | int, ...], str], None, VapidKey | None]:
        try:
            key, is_readable = read_key_file(folder / file)
        except ValueError as error:
            yield option, str(error)
            return None
        if is_readable:
            self._readable += (file,)
        return key

    @property
    def key(self) -> VapidKey:
        """The key that browsers subscribe with now."""
        assert self._key is not None  # it was read when the options were checked
        return self._key

    @property
    def keys(self) -> dict[str, VapidKey]:
        """All keys, by their ids."""
        return {key.id: key for key in (*self._old, self.key)}

    @property
    def readable(self) -> tuple[str, ...]:
        """The files with keys that everybody on this machine can read."""
        return self._readable
