"""The options in ``[plugins.apns]``, and what has to be true of them."""

import re
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import AfterValidator, PrivateAttr, ValidationInfo, model_validator

from hubd.plugin import Field, ListOf, PluginConfig, Seconds, raise_at

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey

APPS = 100
_LIST = "apps are a list: what belongs to one stands under [[plugins.apns.apps]], with two brackets"
KEY_BYTES = 64 * 1024
Environment = Literal["production", "sandbox"]


def _apple_id(text: str) -> str:
    if re.fullmatch("[A-Z0-9]{10}", text) is None:
        raise ValueError("has to be the ten capital letters and digits that Apple shows, such as ABCDE12345")
    return text


def _bundle_id(text: str) -> str:
    if re.fullmatch("[A-Za-z0-9][A-Za-z0-9.-]{0,254}", text) is None:
        raise ValueError("has to be the app's bundle id, such as com.example.app")
    return text


class AppConfig(PluginConfig):
    """One app, with the key that signs for it."""

    topic: Annotated[str, AfterValidator(_bundle_id)] = Field(
        description="The app's bundle id.", examples=["com.example.app"]
    )
    team_id: Annotated[str, AfterValidator(_apple_id)] = Field(
        description="The ten characters of the team at Apple.", examples=["ABCDE12345"]
    )
    key_id: Annotated[str, AfterValidator(_apple_id)] = Field(
        description="The ten characters of the key at Apple.", examples=["KEY1234567"]
    )
    key_file: str = Field(
        description="The key itself, AuthKey_....p8; a relative path starts at the config file's folder.",
        examples=["AuthKey_KEY1234567.p8"],
    )
    name: str = Field(
        "",
        pattern="^[A-Za-z0-9._-]{0,64}$",
        description="What devices, logs and metrics call it; empty: its topic.",
    )
    environment: Environment = Field(
        "production", description="Where the tokens of devices are good that don't say it: builds of Xcode are sandbox."
    )
    host: str = Field(
        "", pattern="^[A-Za-z0-9.:-]{0,255}$", description="Another server than Apple's, for both environments: a test."
    )
    port: int = Field(443, ge=1, le=65535, description="The port: Apple has 443, and 2197 where a firewall wants that.")
    ca_file: str = Field("", description="Certificates to trust instead of the machine's, as PEM: for a test.")

    _key: "EllipticCurvePrivateKey | None" = PrivateAttr(default=None)
    _public_bytes: bytes = PrivateAttr(default=b"")
    _is_readable: bool = PrivateAttr(default=False)
    _ca_path: str = PrivateAttr(default="")

    @model_validator(mode="after")
    def _read_files(self, info: ValidationInfo) -> Self:
        folder = Path((info.context or {}).get("folder", "."))
        try:
            self._key, self._public_bytes = _key_of(_content(folder, self.key_file))
            self._is_readable = bool((folder / self.key_file).stat().st_mode & stat.S_IROTH)
        except (ValueError, OSError) as error:
            raise_at([(("key_file",), f"{self.key_file!r} {error}")])
        if self.ca_file:
            try:
                _check_certificates(_content(folder, self.ca_file))
            except ValueError as error:
                raise_at([(("ca_file",), f"{self.ca_file!r} {error}")])
            self._ca_path = str(folder / self.ca_file)
        return self

    @property
    def key(self) -> "EllipticCurvePrivateKey":
        """What tokens are signed with."""
        assert self._key is not None
        return self._key

    @property
    def is_readable(self) -> bool:
        """Whether others on this machine can read the key."""
        return self._is_readable

    @property
    def public_bytes(self) -> bytes:
        """By what one key is told from another."""
        return self._public_bytes

    @property
    def ca_path(self) -> str:
        """Where the certificates are that are trusted; empty: the machine's."""
        return self._ca_path

    @property
    def label(self) -> str:
        """Its name."""
        return self.name or self.topic


class ApnsConfig(PluginConfig):
    """Pushes to iPhones, iPads, Macs and watches, by Apple's push service. Each app needs a key of its team."""

    apps: Annotated[tuple[AppConfig, ...], ListOf] = Field(
        (), max_length=APPS, description="The apps; a device that names none belongs to the first."
    )
    timeout_s: Seconds = Field(
        12, gt=0, le=14, description="How long one push may take before it is tried again, a new connection included."
    )
    connect_timeout_s: Seconds = Field(8, gt=0, le=14, description="How long connecting may take.")

    @model_validator(mode="before")
    @classmethod
    def _name_the_list(cls, values: Any) -> Any:
        if isinstance(values, dict):
            in_here = [name for name in values if name in AppConfig.model_fields]
            if in_here or isinstance(values.get("apps"), dict):
                raise_at([((name,), _LIST) for name in in_here or ["apps"]])
        return values

    @model_validator(mode="after")
    def _check_apps(self) -> Self:
        raise_at(_wrong_apps(self))
        return self


def _wrong_apps(config: ApnsConfig) -> Iterator[tuple[tuple[str | int, ...], str]]:
    labels: set[str] = set()
    for place, app in enumerate(config.apps):
        if app.label in labels:
            yield ("apps", place, "name"), f"{app.label!r} is there twice: give each app its own name"
        labels.add(app.label)


def _content(folder: Path, name: str) -> bytes:
    """A small file; ``ValueError`` says why it can't be had, to follow its name."""
    try:
        with (folder / name).open("rb") as file:
            content = file.read(KEY_BYTES * 16 + 1)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else "not a path"
        raise ValueError(f"can't be read: {reason}") from None
    if len(content) > KEY_BYTES * 16:
        raise ValueError("is too large")
    return content


def _key_of(pem: bytes) -> tuple["EllipticCurvePrivateKey", bytes]:
    """The key in a .p8 file, and its public half; ``ValueError`` says what is wrong with it, and nothing of it."""
    from cryptography.exceptions import UnsupportedAlgorithm  # late: only who has an app needs it
    from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePrivateKey
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

    try:
        key = load_pem_private_key(pem, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise ValueError("is no private key: it has to be Apple's .p8 file, as it was downloaded") from None
    if not isinstance(key, EllipticCurvePrivateKey) or not isinstance(key.curve, SECP256R1):
        raise ValueError("is a key of another kind: APNs wants ES256, so a private key on the curve P-256")
    return key, key.public_key().public_bytes(Encoding.X962, PublicFormat.CompressedPoint)


def _check_certificates(pem: bytes) -> None:
    from cryptography.x509 import load_pem_x509_certificates

    try:
        load_pem_x509_certificates(pem)
    except ValueError:
        raise ValueError("has no certificates in PEM") from None
