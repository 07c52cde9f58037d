"""A publish call: its body, checked field by field, becomes a draft that the hub can publish."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from hashlib import blake2b
from typing import Annotated, Any, NamedTuple

import orjson
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic_core import PydanticCustomError

from hubd.core.channel import Channel, parse_channel
from hubd.core.document import check_size
from hubd.core.errors import FieldError, Problem, invalid
from hubd.core.notification import HUB_FIELDS, PRIORITY_OF, Persistence, Priority, is_notification_id
from hubd.core.overrides import Check, check_known, packed, unpacked, wrong_overrides

CHANNELS = 10_000
TTL_S = 366 * 86400
SEGMENT_BYTES = 4096
_WORD = r"^[^\x00-\x1f\x7f]{1,128}$"
_PERSISTENCE_OF = {persistence.value: persistence for persistence in Persistence}
_OWN_PREFIXES = ("hub", "_")


class TypeDefaults(NamedTuple):
    """What a notification's type decides when the publish call doesn't."""

    priority: Priority
    persistence: Persistence
    ttl_s: float


class Bounds(NamedTuple):
    """How large a notification may be: bytes as JSON, nesting, keys.

    ``check_overrides`` says what is wrong with what it says about a platform.
    """

    message_bytes: int
    json_depth: int
    json_keys: int
    check_overrides: Check = check_known


@dataclass(frozen=True, slots=True)
class Draft:
    """A publish call that is in order. ``ttl_s`` is in seconds; ``id`` None leaves the choice to the hub."""

    channels: tuple[Channel, ...]
    payload: dict[str, Any]
    id: str | None
    priority: Priority
    persistence: Persistence
    ttl_s: float
    collapse_key: str | None
    group: str | None
    type: str
    data: bytes
    """The payload as JSON, as it was when it was checked: what is published, whatever happens to ``payload``."""
    segment: Any = None
    """What stands in ``to`` instead of channels, for a plugin that knows who that is; None: there are channels."""
    deliver_at: int | None = None
    """When it is to go out (Unix ms); None: now."""
    push: bytes | None = None
    """What it says about single platforms, as a JSON object of one object for each; None: nothing."""

    @property
    def is_durable(self) -> bool:
        """Whether it is accepted only when it is stored, where there is a store."""
        return self.persistence is Persistence.PERSISTENT or self.priority is Priority.CRITICAL

    def fingerprint(self) -> bytes:
        """The same for equal calls, however they were written; another for others."""
        said = (
            [channel.name for channel in self.channels],
            self.payload,
            self.priority,
            self.persistence,
            self.ttl_s,
            self.collapse_key,
            self.group,
            *([] if self.segment is None else [self.segment]),  # there are no channels then
            *([] if self.deliver_at is None else [["deliver_at", self.deliver_at]]),
            *([] if self.push is None else [["push", self.push.decode()]]),
        )
        return blake2b(orjson.dumps(said, option=orjson.OPT_SORT_KEYS), digest_size=16).digest()


def _channel(text: str) -> Channel:
    try:
        return parse_channel(text)
    except Problem as problem:
        raise PydanticCustomError("channel", "{rule}", {"rule": problem.message}) from None


def _as_list(value: Any) -> Any:
    if isinstance(value, dict) and "segment" in value:
        raise PydanticCustomError("segment", "segments are not supported by this hub: name channels")
    return [value] if isinstance(value, str) else value


def _id(text: str) -> str:
    if not is_notification_id(text):
        raise PydanticCustomError("id", "an id is 1 to 128 of A-Z a-z 0-9 . _ : -")
    return text


def _priority(word: str) -> Priority:
    if word not in PRIORITY_OF:
        raise PydanticCustomError("priority", "must be one of critical, important, informational")
    return PRIORITY_OF[word]


def _persistence(word: str) -> Persistence:
    if word not in _PERSISTENCE_OF:
        raise PydanticCustomError("persistence", "must be one of ephemeral, bufferable, persistent")
    return _PERSISTENCE_OF[word]


class PublishBody(BaseModel):
    """The body of a publish call as it came in."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, hide_input_in_errors=True)

    to: Annotated[
        list[Annotated[str, AfterValidator(_channel)]],
        BeforeValidator(_as_list),
        Field(min_length=1, max_length=CHANNELS),
    ]
    notification: dict[str, Any]
    id: Annotated[str, AfterValidator(_id)] | None = None
    priority: Annotated[str, AfterValidator(_priority)] | None = None
    persistence: Annotated[str, AfterValidator(_persistence)] | None = None
    ttl: Annotated[float, Field(ge=0, le=TTL_S, allow_inf_nan=False)] | None = None
    collapse_key: Annotated[str, Field(pattern=_WORD)] | None = None
    group: Annotated[str, Field(pattern=_WORD)] | None = None
    deliver_at: Any = None
    """Checked by itself: how far ahead it may be depends on the time."""
    push: Any = None
    """Checked by itself: plugins have a say."""


_MESSAGE_OF = {
    "missing": "is required",
    "extra_forbidden": "there is no such field",
    "string_pattern_mismatch": "must be 1 to 128 characters, none of them a control character",
}


def field_errors(error: ValidationError, prefix: str = "", raw: Any = None) -> list[FieldError]:
    """A pydantic error as a list of wrong fields."""
    found = []
    for one in error.errors(include_url=False, include_context=False, include_input=False):
        location = one["loc"]
        if location[:1] == ("to",) and isinstance(raw, Mapping) and isinstance(raw.get("to"), str):
            location = ("to",)  # a single channel was never a list for whoever sent it
        path = prefix + ".".join(str(part) for part in location)
        found.append(FieldError(path, _MESSAGE_OF.get(one["type"], one["msg"])))
    return found


CHANGEABLE = ("notification", "priority", "persistence", "ttl", "collapse_key", "group", "push")
"""The fields of a publish call that a plugin may change."""


def changed_draft(
    draft: Draft, change: Mapping[str, Any], defaults: Callable[[str], TypeDefaults], bounds: Bounds
) -> Draft:
    """The draft with other values in some of its ``CHANGEABLE`` fields; a ``Problem`` names all that is wrong.

    ``TypeError`` for a change that is no mapping.
    """
    if not isinstance(change, Mapping):
        raise TypeError
    if unknown := [name for name in change if name not in CHANGEABLE]:
        raise invalid([FieldError(str(name), f"can't be changed: {', '.join(CHANGEABLE)} can") for name in unknown])
    body = {
        "to": "notifications",  # who it goes to stays as it is
        "notification": draft.payload,
        "priority": draft.priority.word,
        "persistence": draft.persistence.value,
        "ttl": draft.ttl_s,
        "collapse_key": draft.collapse_key,
        "group": draft.group,
        "push": unpacked(draft.push) or None,
    }
    made = read_draft(body | dict(change), defaults, bounds)
    return replace(made, id=draft.id, channels=draft.channels, segment=draft.segment, deliver_at=draft.deliver_at)


def read_draft(
    body: Any,
    defaults: Callable[[str], TypeDefaults],
    bounds: Bounds,
    *,
    segments: bool = False,
    now: Callable[[], float] | None = None,
) -> Draft:
    """Check a publish body and fill in what its type decides; a ``Problem`` names everything that is wrong.

    ``segments``: whether ``to`` may be a segment, because a plugin knows what to make of it; ``now`` (Unix s) is there
    where something can be scheduled.
    """
    if not isinstance(body, dict):
        raise invalid([FieldError("", "a publish body is an object with `to` and `notification`")])
    to = body.get("to")
    if segments and isinstance(to, dict) and [*to] == ["segment"]:
        return _read_segment(body, to["segment"], defaults, bounds, now)
    if (usual := _read_usual(body, defaults, bounds)) is not None:
        return usual
    errors: list[FieldError] = []
    read = None
    try:
        read = PublishBody.model_validate(body)
    except ValidationError as error:
        errors += field_errors(error, raw=body)
    payload = body.get("notification")
    if isinstance(payload, dict):
        errors += _payload_errors(payload, bounds)
    priority, persistence = _treated(body, payload, defaults)
    if priority == Priority.CRITICAL.word and persistence == Persistence.EPHEMERAL:
        errors.append(FieldError("persistence", "a critical notification can't be ephemeral: it must not get lost"))
    if (wrong := _wrong_time(body.get("deliver_at"), persistence, now)) is not None:
        errors.append(FieldError("deliver_at", wrong))
    errors += wrong_overrides(body.get("push"), bounds.json_depth, bounds.json_keys, bounds.check_overrides)
    if errors or read is None:
        raise invalid(errors)
    return _draft(read, _data(read.notification, bounds), defaults(read.notification["type"]))


_FIELDS = frozenset(PublishBody.model_fields)
_UNUSUAL = _FIELDS - {"to", "notification", "id", "priority", "persistence", "ttl"}


def _read_usual(body: dict[str, Any], defaults: Callable[[str], TypeDefaults], bounds: Bounds) -> Draft | None:
    """What the model would make of a body to one channel, in a fifth of the time; None: see what the model says.

    It has to be None wherever anything is wrong: only the model can say what.
    """
    to, payload = body.get("to"), body.get("notification")
    if type(to) is not str or type(payload) is not dict or not body.keys() <= _FIELDS:
        return None
    id, priority, persistence, ttl = None, None, None, None
    if len(body) > 2:
        if any(body.get(name) is not None for name in _UNUSUAL):
            return None
        id, ttl = body.get("id"), body.get("ttl")
        try:
            priority = PRIORITY_OF[word] if (word := body.get("priority")) is not None else None
            persistence = _PERSISTENCE_OF[word] if (word := body.get("persistence")) is not None else None
        except (KeyError, TypeError):
            return None
        if id is not None and not (type(id) is str and is_notification_id(id)):
            return None
        if ttl is not None and not (type(ttl) in (int, float) and 0 <= ttl <= TTL_S):
            return None
    if _payload_errors(payload, bounds):
        return None
    type_ = payload["type"]
    decided = defaults(type_)
    priority = decided.priority if priority is None else priority
    persistence = decided.persistence if persistence is None else persistence
    if priority is Priority.CRITICAL and persistence is Persistence.EPHEMERAL:
        return None
    try:
        channel = parse_channel(to)
    except Problem:
        return None
    ttl_s = decided.ttl_s if ttl is None else float(ttl)
    data = _data(payload, bounds)
    return Draft((channel,), dict(payload), id, priority, persistence, ttl_s, None, None, type_, data)


def _data(payload: dict[str, Any], bounds: Bounds) -> bytes:
    """The payload as JSON, unless that is too large."""
    data = orjson.dumps(payload)
    if len(data) > bounds.message_bytes:
        raise Problem("too_large", f"`notification` has more than {bounds.message_bytes} bytes as JSON")
    return data


def _read_segment(
    body: dict[str, Any],
    segment: Any,
    defaults: Callable[[str], TypeDefaults],
    bounds: Bounds,
    now: Callable[[], float] | None,
) -> Draft:
    draft = read_draft(body | {"to": "notifications"}, defaults, bounds, now=now)
    trouble = "is missing" if segment is None else check_size(segment, bounds.json_depth, bounds.json_keys)
    if trouble is None and len(orjson.dumps(segment)) > SEGMENT_BYTES:
        trouble = f"has more than {SEGMENT_BYTES} bytes as JSON"
    if trouble is not None:
        raise invalid([FieldError("to.segment", trouble)])
    return replace(draft, channels=(), segment=segment)


def _treated(body: dict[str, Any], payload: Any, defaults: Callable[[str], TypeDefaults]) -> tuple[Any, Any]:
    """Its priority and persistence, by what the body says or else by its type."""
    type_ = payload.get("type") if isinstance(payload, dict) else None
    decided = defaults(type_) if isinstance(type_, str) else None
    priority, persistence = body.get("priority"), body.get("persistence")
    if decided is not None:
        priority = decided.priority.word if priority is None else priority
        persistence = decided.persistence if persistence is None else persistence
    return priority, persistence


def _wrong_time(value: Any, persistence: Any, now: Callable[[], float] | None) -> str | None:
    """What is wrong with a ``deliver_at``; None: nothing."""
    if value is None:
        return None
    if now is None:
        return "scheduling needs a store, which this hub does not have"
    if type(value) is not int:
        return "must be a whole number: Unix milliseconds"
    if value > (now() + TTL_S) * 1000:
        return f"must be within {TTL_S // 86400} days"
    if persistence == Persistence.EPHEMERAL:
        return "an ephemeral notification can't be scheduled: it is for those who are here now"
    return None


def _payload_errors(payload: dict[str, Any], bounds: Bounds) -> list[FieldError]:
    errors = []
    type_ = payload.get("type")
    if not isinstance(type_, str):
        errors.append(FieldError("notification.type", "must be a string" if "type" in payload else "is required"))
    elif not 1 <= len(type_) <= 128:
        errors.append(FieldError("notification.type", "must have 1 to 128 characters"))
    for key in payload:
        if key in HUB_FIELDS or key.startswith(_OWN_PREFIXES):
            errors.append(FieldError(f"notification.{key}", "is the hub's own; choose another name"))
    if (trouble := check_size(payload, bounds.json_depth, bounds.json_keys)) is not None:
        errors.append(FieldError("notification", trouble))
    return errors


def _draft(read: PublishBody, data: bytes, defaults: TypeDefaults) -> Draft:
    # The validators turned words into the enums; pydantic's annotations still say str.
    priority: Any = read.priority
    persistence: Any = read.persistence
    channels: Any = read.to
    if priority is None:
        priority = defaults.priority
    if persistence is None:
        persistence = defaults.persistence
    return Draft(
        channels=tuple(dict.fromkeys(channels)),
        payload=read.notification,
        id=read.id,
        priority=priority,
        persistence=persistence,
        ttl_s=defaults.ttl_s if read.ttl is None else read.ttl,
        collapse_key=read.collapse_key,
        group=read.group,
        type=read.notification["type"],
        data=data,
        deliver_at=read.deliver_at,
        push=packed(read.push),
    )
