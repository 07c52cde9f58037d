"""What a client may say on a connection, as typed actions, and what the hub answers."""

from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import PydanticCustomError

from hubd.core.connection import Visibility
from hubd.core.document import check_size
from hubd.core.errors import Disconnect, FieldError, Problem, invalid
from hubd.core.publish import field_errors

IDS = 1000
"""How many ids one ack may name."""
TOPICS = 1000
"""How many topics one action may name; the limit of subscriptions is the hub's."""
TOKEN_CHARS = 8192
REF_CHARS = 256

Ref = str | int | float | None
_Topic = Annotated[str, Field(min_length=1, max_length=256)]
_Id = Annotated[str, Field(min_length=1, max_length=256)]


class Action(BaseModel):
    """One message of a client. A ``ref``, if it has one, asks for a reply."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, hide_input_in_errors=True)

    action: str
    ref: Any = None


class Auth(Action):
    """Who I am: first of all, or later with a fresh token of the same user."""

    token: Annotated[str, Field(min_length=1, max_length=TOKEN_CHARS)]


class _Topical(Action):
    """One topic or several."""

    topic: _Topic | None = None
    topics: Annotated[list[_Topic], Field(min_length=1, max_length=TOPICS)] | None = None
    durable: bool = False

    @model_validator(mode="after")
    def _one_of_both(self) -> "_Topical":
        if (self.topic is None) == (self.topics is None):
            raise PydanticCustomError("topic", "give either `topic` or `topics`")
        return self

    def named(self) -> str | list[str]:
        """The topic or the topics that it names, as written."""
        return self.topic if self.topic is not None else self.topics or []


class Subscribe(_Topical):
    """Join topics; with a cursor, from there on."""

    cursor: str | None = None


class Unsubscribe(_Topical):
    """Leave topics."""


class Ack(Action):
    """These notifications were shown to a person."""

    id: _Id | None = None
    ids: Annotated[list[_Id], Field(max_length=IDS)] | None = None

    @model_validator(mode="after")
    def _one_of_both(self) -> "Ack":
        if (self.id is None) == (self.ids is None):
            raise PydanticCustomError("id", "give either `id` or `ids`")
        return self

    def named(self) -> list[str]:
        """The ids it names."""
        return [self.id] if self.id is not None else list(self.ids or ())


class Visible(Action):
    """Whether the tab can be seen; ``visible`` also says that there was input."""

    state: Literal["visible", "hidden"]

    def visibility(self) -> Visibility:
        """The state as the core knows it."""
        return Visibility(self.state)


class Present(Action):
    """Who is in a topic; with ``watch``, also who comes and goes from now on."""

    topic: _Topic
    watch: bool | None = None


class Publish(Action):
    """Publish one notification, as by HTTP; ``body`` is everything but ``action`` and ``ref``."""

    model_config: ClassVar[ConfigDict] = ConfigDict(extra="allow", strict=True, frozen=True, hide_input_in_errors=True)

    def body(self) -> dict[str, Any]:
        """The publish body."""
        return dict(self.model_extra or {})


class Ping(Action):
    """Are you there?"""


class Pong(Action):
    """I am here: the answer to the hub's ping."""


_ACTIONS: dict[str, type[Action]] = {
    "auth": Auth,
    "subscribe": Subscribe,
    "unsubscribe": Unsubscribe,
    "ack": Ack,
    "visibility": Visible,
    "presence": Present,
    "publish": Publish,
    "ping": Ping,
    "pong": Pong,
}


def ref_of(message: Any) -> Ref:
    """The message's ``ref``, or None where it has none that can be used."""
    ref = message.get("ref") if isinstance(message, dict) else None
    if isinstance(ref, str):
        return ref if len(ref) <= REF_CHARS else None
    return ref if isinstance(ref, int | float) and not isinstance(ref, bool) else None


def read_action(message: Any, depth: int, keys: int) -> Action:
    """The typed action of a decoded message; a ``Problem`` says what is wrong with it."""
    if not isinstance(message, dict):
        raise invalid([FieldError("", "a message is an object with an `action`")])
    if message.get("ref") is not None and ref_of(message) is None:
        raise invalid([FieldError("ref", f"must be a number or a string of at most {REF_CHARS} characters")])
    word = message.get("action")
    if not isinstance(word, str):
        raise invalid([FieldError("action", "must be a string" if "action" in message else "is required")])
    kind = _ACTIONS.get(word)
    if kind is None:
        raise Problem("unknown_action", f"there is no action {word[:64]!r}; there are {', '.join(_ACTIONS)}")
    if kind is not Publish and (trouble := check_size(message, depth, keys)) is not None:
        raise invalid([FieldError("", trouble)])
    try:
        return kind.model_validate(message)
    except ValidationError as error:
        raise invalid(field_errors(error)) from None


def reply(ref: Ref, **fields: Any) -> dict[str, Any]:
    """The reply to an action that was done."""
    return {"hub": "reply", "ref": ref, "ok": True, **fields}


def refusal(ref: Ref, problem: Problem) -> dict[str, Any]:
    """The reply to an action that was not done; without a ``ref``, the error frame."""
    error: dict[str, Any] = {"code": problem.code, "message": problem.message}
    if problem.errors:
        error["errors"] = [one._asdict() for one in problem.errors]
    if problem.retry_after is not None:
        error["retry_after_s"] = problem.retry_after
    if ref is None:
        return {"hub": "error", **error}
    return {"hub": "reply", "ref": ref, "ok": False, "error": error}


def farewell(why: Disconnect, retry_after: float) -> dict[str, Any]:
    """The control frame before a close."""
    return {
        "hub": "disconnect",
        "code": why.code,
        "reason": why.reason,
        "reconnect": why.reconnect,
        "retry_after_s": retry_after,
    }
