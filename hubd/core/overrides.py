"""What a publish call says about single platforms (``push``): checked, and packed to be kept."""

from collections.abc import Callable, Mapping
from typing import Any

import orjson

from hubd.core.document import check_size
from hubd.core.errors import FieldError

PLATFORMS = ("webpush", "apns", "fcm")
"""The platforms that a publish call may name, and devices may be of, where no plugin serves them."""
OVERRIDES_BYTES = 4096

Check = Callable[[str, Mapping[str, Any]], list[FieldError] | None]
"""``check(platform, overrides)`` gives what is wrong with them, with paths inside; None: there is no such platform."""


def check_known(platform: str, overrides: Mapping[str, Any]) -> list[FieldError] | None:
    """Where no plugin has a say: nothing is wrong with those of a known platform."""
    return [] if platform in PLATFORMS else None


def wrong_overrides(push: Any, depth: int, keys: int, check: Check) -> list[FieldError]:
    """All that is wrong with a publish call's ``push``; ``depth`` and ``keys`` limit what is said of one platform."""
    if push is None:
        return []
    if not isinstance(push, dict):
        return [FieldError("push", "must be an object with an object for each platform")]
    errors = []
    for platform, overrides in push.items():
        path = f"push.{platform}"
        if not isinstance(overrides, dict):
            errors.append(FieldError(path, "must be an object"))
        elif (trouble := check_size(overrides, depth, keys)) is not None:
            errors.append(FieldError(path, trouble))
        elif len(orjson.dumps(overrides)) > OVERRIDES_BYTES:
            errors.append(FieldError(path, f"has more than {OVERRIDES_BYTES} bytes as JSON"))
        elif (wrong := check(platform, overrides)) is None:
            errors.append(FieldError(path, "there is no such platform"))
        else:
            errors += [FieldError(f"{path}.{one.path}" if one.path else path, one.message) for one in wrong]
    return errors


def packed(push: Mapping[str, Any] | None) -> bytes | None:
    """A ``push`` as JSON: the same bytes for what is equal; None where it says nothing."""
    return orjson.dumps(push, option=orjson.OPT_SORT_KEYS) if push else None


def unpacked(push: bytes | None) -> dict[str, Any]:
    """The same again, as an object."""
    return {} if push is None else orjson.loads(push)
