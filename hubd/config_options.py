"""Every option of hubd, declared once: its default, its check and the comment it has in ``config.toml``."""

from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, PrivateAttr, SecretStr, ValidationInfo, field_validator, model_validator

from hubd import config_checks as checks
from hubd.config_base import (
    NOT_YET,
    RESTART,
    ChannelPattern,
    Host,
    ListOf,
    Network,
    Origin,
    PluginName,
    Seconds,
    Section,
    Table,
    TopicPattern,
    raise_at,
)
from hubd.jwt_keys import JwtKeys, others_can_read, prepare_keys, read_key_file


class Server(Section):
    """Where the hub listens."""

    host: Host = Field(
        "127.0.0.1",
        description="Address or name to listen on; 0.0.0.0 for every interface of IPv4, :: of IPv6.",
        json_schema_extra=RESTART,
    )
    port: int = Field(
        8080,
        ge=0,
        le=65535,
        description="Port; 0 takes a free one, which the ready line then tells.",
        json_schema_extra=RESTART,
    )
    public_url: Annotated[str, AfterValidator(checks.optional_origin)] = Field(
        "",
        description="The address that browsers know the hub by, such as https://hub.example.com."
        " Pages from there may connect and call the API.",
    )
    drain_s: Seconds = Field(30, ge=0, le=3600, description="How long a stop may take, in seconds.")
    trusted_proxies: Annotated[tuple[Network, ...], ListOf] = Field(
        (),
        description="Addresses or networks of the proxies in front, whose X-Forwarded-For is believed.",
    )
    admin_port: int = Field(
        0,
        ge=0,
        le=65535,
        description="A port of its own for health, metrics and the calls that need the right `admin`; 0: all of it is"
        " on the one listener, where metrics need a key with that right.",
        json_schema_extra=RESTART,
    )
    admin_host: Host = Field(
        "127.0.0.1",
        description="Address or name that admin_port is on. Health and metrics are open to whoever can reach it.",
        json_schema_extra=RESTART,
    )

    @model_validator(mode="after")
    def _two_listeners(self) -> Self:
        if self.admin_port and (self.admin_host, self.admin_port) == (self.host, self.port):
            raise_at([(("admin_port",), "is server.port already: give it one of its own, or 0 for the same listener")])
        return self


class JwtKey(Section):
    """A key that users' tokens are signed with. Give exactly one of key, key_file and jwks_url.

    The algorithm belongs to the key; what a token says about it is never believed. Several tables: any of the keys
    may have signed. `hubd gen-key jwt` makes one.
    """

    algorithm: Literal["HS256", "HS384", "HS512", "RS256", "ES256", "EdDSA"] = Field(
        description="HS256, HS384, HS512, RS256, ES256 or EdDSA.", examples=["HS256"]
    )
    key: SecretStr = Field(
        SecretStr(""),
        description="The shared secret (HS...: at least 32, 48 or 64 bytes), or a PEM key; the public one suffices.",
        examples=["..."],
    )
    key_file: str = Field(
        "",
        description="The same in a file; a relative path starts at this file's folder. White space at the ends of a"
        " shared secret doesn't count.",
        examples=["jwt.key"],
    )
    jwks_url: Annotated[str, AfterValidator(checks.jwks_url)] = Field(
        "",
        description="Where an identity provider publishes its public keys.",
        examples=["https://id.example.com/.well-known/jwks.json"],
    )
    issuer: str = Field(
        "", description="If given, a token's `iss` has to be this.", examples=["https://id.example.com"]
    )
    audience: str = Field("", description="If given, a token's `aud` has to contain this.", examples=["hubd"])

    _keys: JwtKeys | None = PrivateAttr(default=None)
    _is_readable: bool = PrivateAttr(default=False)

    @model_validator(mode="after")
    def _prepare(self, info: ValidationInfo) -> Self:
        given = [name for name in ("key", "key_file", "jwks_url") if getattr(self, name)]
        if len(given) != 1:
            has = " and ".join(given) or "none"
            raise ValueError(f"give exactly one of key, key_file and jwks_url (there is {has})")
        if self.jwks_url and self.algorithm.startswith("HS"):
            raise ValueError("a jwks_url publishes public keys: its algorithm is RS256, ES256 or EdDSA")
        if not self.jwks_url:
            folder = (info.context or {}).get("folder", ".")
            text = read_key_file(folder, self.key_file) if self.key_file else self.key.get_secret_value()
            self._is_readable = others_can_read(folder, self.key_file or (info.context or {}).get("file", ""))
            self._keys = prepare_keys(self.algorithm, text)
        return self

    @property
    def is_readable(self) -> bool:
        """Whether others on this machine can read the file with a key that signs."""
        return self._is_readable and self._keys is not None and self._keys.signing is not None

    @property
    def keys(self) -> JwtKeys | None:
        """What verifies and, where it can, signs; None with a ``jwks_url``, whose keys come over the network."""
        return self._keys


class ApiKeyEntry(Section):
    """An API key of an application's server. `hubd gen-key api --id NAME` makes one and prints its table."""

    id: str = Field(
        pattern="^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$",
        description="Its name, the second part of the key: hub_NAME_SECRET.",
        examples=["backend"],
    )
    sha256: Annotated[str, AfterValidator(checks.sha256)] = Field(
        repr=False, description="SHA-256 of the whole key, in hex; the key itself is kept nowhere.", examples=["..."]
    )
    rights: Annotated[tuple[Literal["publish", "admin"], ...], ListOf, AfterValidator(checks.not_empty)] = Field(
        ("publish",), description="What it may do: publish, admin.", examples=[["publish", "admin"]]
    )
    channels: Annotated[tuple[ChannelPattern, ...], ListOf] = Field(
        ("**",), description="The channels it may do that to: * is one segment, ** the rest.", examples=[["**"]]
    )


class Auth(Section):
    """Who may connect and publish."""

    origins: Annotated[tuple[Origin, ...], ListOf] = Field(
        (),
        description="Other web origins whose pages may connect and call the API (CORS), each exactly as"
        " https://app.example.com.",
    )
    query_token: bool = Field(
        False, description="Accept ?token= in the address. Addresses end up in logs: prefer cookie or ticket."
    )
    default_topics: Annotated[tuple[TopicPattern, ...], ListOf] = Field(
        (), description='Topics that a token without `topics` may subscribe to, as patterns such as "news:*".'
    )
    durable_grant_s: Seconds = Field(
        2592000,
        gt=0,
        description="How long a durable subscription that a user made counts after its permission was last checked.",
    )
    jwt: Annotated[tuple[JwtKey, ...], ListOf] = ()
    api_keys: Annotated[tuple[ApiKeyEntry, ...], ListOf] = ()

    @field_validator("api_keys")
    @classmethod
    def _distinct(cls, entries: tuple[ApiKeyEntry, ...]) -> tuple[ApiKeyEntry, ...]:
        ids = [entry.id for entry in entries]
        again = [place for place, id_ in enumerate(ids) if id_ in ids[:place]]
        raise_at(((place, "id"), f"{ids[place]!r} is there twice; give each key its own id") for place in again)
        return entries


class Limits(Section):
    """What one publisher, one user or one connection may ask of the hub. Where 0 is allowed, it means no limit."""

    message_bytes: int = Field(32768, ge=64, le=16777216, description="Size of one `notification`.")
    body_bytes: int = Field(4194304, ge=64, le=268435456, description="Size of the body of an HTTP request.")
    frame_bytes: int = Field(65536, ge=64, le=16777216, description="Size of a WebSocket message from a client.")
    frames_per_s: int = Field(100, ge=0, description="WebSocket messages a second from one connection; 0: any number.")
    json_depth: int = Field(16, ge=2, le=100, description="How deep a notification may nest.")
    json_keys: int = Field(256, ge=1, le=100000, description="How many keys a notification may have, over all levels.")
    connections: int = Field(0, ge=0, description="Connections in all; 0: what the limit of open files allows.")
    per_user: int = Field(20, ge=0, description="Connections of one user; 0: any number.")
    per_ip: int = Field(1000, ge=0, description="Connections from one address; 0: any number.")
    unauthenticated: int = Field(500, ge=0, description="Connections that haven't said who they are; 0: any number.")
    subscriptions: int = Field(100, ge=0, description="Topics of one connection; 0: any number.")
    queue_bytes: int = Field(
        262144, ge=1024, description="What may wait for one connection before it counts as too slow and is dropped."
    )
    auth_s: Seconds = Field(5, gt=0, le=300, description="Seconds that a connection has for its `auth`.")
    ping_s: Seconds = Field(25, gt=0, le=3600, description="Seconds between two pings to a quiet connection.")
    pong_s: Seconds = Field(10, gt=0, le=3600, description="Seconds to answer a ping before the connection ends.")
    publish_per_s: int = Field(0, ge=0, description="Notifications a second from one API key; 0: any number.")
    id_window_s: Seconds = Field(86400, gt=0, description="Seconds that a publisher's id is remembered for repeats.")
    id_entries: int = Field(1000000, ge=1, description="How many such ids are remembered at most, for each API key.")
    scheduled: int = Field(100000, ge=0, description="How many notifications may be scheduled (`deliver_at`).")
    scheduled_bytes: int = Field(268435456, ge=0, description="Bytes of memory that those may take.")


class Replay(Section):
    """What a client that was away gets on its return. It lives in memory, and a clean stop saves it."""

    per_channel: int = Field(100, ge=1, le=1000000, description="Notifications kept per channel, the latest ones.")
    ttl_s: Seconds = Field(300, gt=0, description="How long they are kept, in seconds.")
    max_bytes: int = Field(268435456, ge=1, description="Bytes kept over all channels; the oldest go first.")
    saved_file: Annotated[str, AfterValidator(checks.saved_file)] = Field(
        "",
        description="Where a clean stop leaves them for the next start, a name in .rings; empty: beside the store's"
        ' SQLite file, else hubd.rings; "off": nowhere.',
        json_schema_extra=RESTART,
    )


class Delivery(Section):
    """When a notification that nobody saw goes on to a device, and who counts as being there."""

    push_delay_s: Seconds = Field(
        7,
        ge=0,
        le=3600,
        description="Seconds that an important notification waits for an ack before it is pushed; 5 to 10 make sense.",
    )
    grace_s: Seconds = Field(
        5, ge=0, le=3600, description="Seconds after the last connection went in which a user may still come back."
    )
    attention_ttl_s: Seconds = Field(
        1800, gt=0, description="Seconds after the last input in which a visible tab counts as looked at."
    )
    plain_ack: Literal["alive", "written", "never"] = Field(
        "alive",
        description='What settles an important notification for a client that doesn\'t ack: "alive" (a sign of life'
        ' after it was written), "written" or "never".',
    )

    open_entries: int = Field(
        100000,
        ge=100,
        description="How many notifications may wait for an ack or a push at once; more important ones are pushed at"
        " once, and more critical or persistent ones refused (503).",
    )
    open_bytes: int = Field(268435456, ge=0, description="Bytes of memory that those may take.")
    explain_s: Seconds = Field(
        86400, gt=0, description="For how long the hub can explain what became of a notification."
    )
    explain_bytes: int = Field(
        67108864, ge=0, description="Bytes of memory for that; the oldest explanations go first."
    )


class Push(Section):
    """Notifications for those who aren't here: their devices, and how push services are called."""

    devices: int = Field(
        1000000, ge=0, description="How many devices may be registered (0: any number); of more, new ones are refused."
    )
    devices_per_user: int = Field(
        20, ge=1, le=1000, description="Of one user; one more takes the place of the one that registered longest ago."
    )
    retry_first_s: Seconds = Field(
        2,
        gt=0,
        le=3600,
        description="A push that failed is tried again after a random pause: the first is at most so long, each next at"
        " most twice as long as the one before, until the notification's ttl is over.",
    )
    retry_longest_s: Seconds = Field(600, gt=0, le=86400, description="No pause is longer, whatever was before.")
    gone_percent: int = Field(
        10,
        ge=0,
        le=100,
        description="When more of an app's devices than this would be deleted because their service doesn't know them,"
        " none are: something else must be wrong.",
    )


class TypeOptions(Section):
    """How notifications of one `type` are treated, where the publisher doesn't say."""

    priority: Literal["critical", "important", "informational"] = Field(
        "important", description="critical, important or informational."
    )
    persistence: Literal["ephemeral", "bufferable", "persistent"] = Field(
        "bufferable", description="ephemeral (live only), bufferable (also replayed) or persistent (also in the inbox)."
    )
    ttl_s: int = Field(86400, ge=0, description="Seconds after which it is of no use any more; 0: now or never.")
    batch_s: Seconds = Field(
        0,
        ge=0,
        description="Seconds in which those of one group become one; 0: each by itself.",
        json_schema_extra=NOT_YET,
    )
    toast: bool = Field(
        True,
        description="Whether it interrupts people, so that do-not-disturb holds it back; badges and feeds don't.",
        json_schema_extra=NOT_YET,
    )


class Store(Section):
    """Where the hub keeps what has to survive a restart."""

    url: Annotated[str, AfterValidator(checks.store_url)] = Field(
        "sqlite:///hubd.db",
        repr=False,
        description='A SQLite file, or postgresql://user:password@host/database; "off": nothing survives a crash.',
        json_schema_extra=RESTART,
    )


class Log(Section):
    """What the hub writes to standard error: one line an event."""

    format: Literal["plain", "json"] = Field(
        "plain", description='"plain" for people, "json" for programs that collect logs: one object a line.'
    )
    level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description='From which level on: "debug" (lines for each connection), "info", "warning" or "error".'
    )


class Hubd(Section):
    """The hub itself."""

    plugins: Annotated[tuple[PluginName, ...], ListOf] = Field(
        (),
        description="Plugins to load, in the order in which they are asked; a [plugins.NAME] table also loads one.",
        json_schema_extra=RESTART,
    )
    plugin_dirs: Annotated[tuple[str, ...], ListOf] = Field(
        (),
        description="Folders with plugins of one file each, NAME.py; a relative path starts at this file's folder.",
        json_schema_extra=RESTART,
    )


class Config(Section):
    """All of it. ``Config()`` is the defaults; ``types`` always has a ``default``."""

    server: Server = Server()
    auth: Auth = Auth()
    limits: Limits = Limits()
    replay: Replay = Replay()
    delivery: Delivery = Delivery()
    push: Push = Push()
    types: dict[str, TypeOptions] = Field({"default": TypeOptions()})
    store: Store = Store()
    log: Log = Log()
    hubd: Hubd = Hubd()
    plugins: dict[PluginName, Table] = Field({}, repr=False)
    """The plugins that are turned on, in the order in which they are called, each with its options.

    Those are what its own class made of its table; a plain dict is a table that nobody has checked.
    """

    @field_validator("types")
    @classmethod
    def _inherit(cls, types: dict[str, TypeOptions]) -> dict[str, TypeOptions]:
        """Give each type what it doesn't say itself from ``types.default``."""
        default = types.get("default", TypeOptions())
        full = {"default": default}
        for name, options in types.items():
            values = default.model_dump() | options.model_dump(exclude_unset=True)
            # The set of given fields stays what the file gave: unused() asks for it.
            full[name] = TypeOptions.model_construct(options.model_fields_set, **values)
        raise_at(
            ((name, "persistence"), '"ephemeral" is live only, so its priority can\'t be "critical"')
            for name, options in full.items()
            if options.priority == "critical" and options.persistence == "ephemeral"
        )
        return full

    def type_options(self, name: str) -> TypeOptions:
        """How notifications of this type are treated; ``types.default`` for one that has no table."""
        return self.types.get(name) or self.types["default"]

    def unused_settings(self) -> list[str]:
        """The settings that were changed, and that this version of hubd doesn't act upon."""
        found: list[str] = []
        for name in type(self).model_fields:
            section = getattr(self, name)
            if isinstance(section, Section):
                found += section.unused(name)
        for name, options in self.types.items():
            found += options.unused(f"types.{name}")
        return found + [f"plugins.{name}" for name, options in self.plugins.items() if isinstance(options, dict)]

    def readable_secrets(self) -> list[str]:
        """The options whose secret stands in a file, this one or its own, that others on this machine can read."""
        readable = [(place, entry) for place, entry in enumerate(self.auth.jwt) if entry.is_readable]
        return [f"auth.jwt[{place}].{'key_file' if entry.key_file else 'key'}" for place, entry in readable]
