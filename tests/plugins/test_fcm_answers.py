"""What FCM answers and what follows: each case goes over the wire, and the README's table is made of them."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import orjson
import pytest
from hubd_fcm.answers import CODES, LONGEST_S, judge

from hubd.plugin import Outcome
from hubd.testing.fcm_checks import Violation
from hubd.testing.fcm_service import BAD_TOKEN, ERRORS, FcmAnswer, Mishap, bad_request, error, quota_exceeded
from tests.plugins.fcm_world import FcmWorld, fcm

README = Path(__file__).parents[2] / "plugins/hubd_fcm/README.md"
FCM_ERROR = "type.googleapis.com/google.firebase.fcm.v1.FcmError"
NOW = 1_800_000_000.0
LATER, GONE, REFUSED = Outcome.LATER, Outcome.GONE, Outcome.REFUSED


class Case(NamedTuple):
    """What the service answers, in words and as it is, and what has to become of the push."""

    what: str
    answer: FcmAnswer | Mishap
    outcome: Outcome
    reason: str
    retry_after_s: float | None = None
    for_all: bool = False


def page(status: int) -> FcmAnswer:
    return FcmAnswer(status, b"<html>", {"Content-Type": "text/html"})


BAD_FIELD = bad_request([Violation("message.data", "Invalid value")])
BAD_TOKEN_FIELD = bad_request([Violation("message.token", "Invalid registration token")])
BOTH_BAD = bad_request([Violation("message.token", "Invalid"), Violation("message.android.ttl", "Invalid")])
CASES = (
    Case("200", FcmAnswer(200, b'{"name": "projects/p/messages/1"}'), Outcome.ACCEPTED, "200"),
    Case("404 UNREGISTERED", error("UNREGISTERED"), GONE, "404 UNREGISTERED"),
    Case("400 INVALID_ARGUMENT, about `message.token`", BAD_TOKEN_FIELD, GONE, "400 INVALID_ARGUMENT token"),
    Case(
        "400 INVALID_ARGUMENT, “not a valid FCM registration token”",
        error("INVALID_ARGUMENT", message=BAD_TOKEN),
        GONE,
        "400 INVALID_ARGUMENT token",
    ),
    Case("400 INVALID_ARGUMENT, about another field", BAD_FIELD, REFUSED, "400 INVALID_ARGUMENT"),
    Case("400 INVALID_ARGUMENT, about the token and another field", BOTH_BAD, REFUSED, "400 INVALID_ARGUMENT"),
    Case("400 INVALID_ARGUMENT", error("INVALID_ARGUMENT"), REFUSED, "400 INVALID_ARGUMENT"),
    Case("403 SENDER_ID_MISMATCH", error("SENDER_ID_MISMATCH"), REFUSED, "403 SENDER_ID_MISMATCH"),
    Case("401 THIRD_PARTY_AUTH_ERROR", error("THIRD_PARTY_AUTH_ERROR"), REFUSED, "401 THIRD_PARTY_AUTH_ERROR"),
    Case(
        "403 PERMISSION_DENIED",
        error(status=403, word="PERMISSION_DENIED", message="API has not been used"),
        LATER,
        "403 PERMISSION_DENIED",
        for_all=True,
    ),
    Case(
        "401 UNAUTHENTICATED, also with a new access token",
        error(status=401, word="UNAUTHENTICATED"),
        LATER,
        "401 UNAUTHENTICATED",
        for_all=True,
    ),
    Case(
        "429 QUOTA_EXCEEDED, of a device, `Retry-After: 8`",
        quota_exceeded("device_minute", 7.0, "p"),
        LATER,
        "429 QUOTA_EXCEEDED",
        8.0,
    ),
    Case(
        "429 QUOTA_EXCEEDED, of a device",
        quota_exceeded("device_minute", None, "p"),
        LATER,
        "429 QUOTA_EXCEEDED",
        60.0,
    ),
    Case("429 QUOTA_EXCEEDED", error("QUOTA_EXCEEDED"), LATER, "429 QUOTA_EXCEEDED", 60.0, True),
    Case(
        "429 RESOURCE_EXHAUSTED, of the project, `Retry-After: 31`",
        quota_exceeded("project_minute", 30.0, "p"),
        LATER,
        "429 RESOURCE_EXHAUSTED",
        31.0,
        True,
    ),
    Case(
        "503 UNAVAILABLE, `Retry-After: 5`",
        error("UNAVAILABLE", retry_after="5"),
        LATER,
        "503 UNAVAILABLE",
        5.0,
        True,
    ),
    Case("503 UNAVAILABLE", error("UNAVAILABLE"), LATER, "503 UNAVAILABLE", for_all=True),
    Case("500 INTERNAL", error("INTERNAL"), LATER, "500 INTERNAL"),
    Case("500 UNSPECIFIED_ERROR", error("UNSPECIFIED_ERROR"), LATER, "500 UNSPECIFIED_ERROR"),
    Case("404 without UNREGISTERED", error(status=404, word="NOT_FOUND"), LATER, "404 NOT_FOUND", for_all=True),
    Case("200 with something else than JSON", page(200), LATER, "200 unreadable", for_all=True),
    Case("302", FcmAnswer(302, b"", {"Location": "http://127.0.0.1:1/"}), LATER, "302", for_all=True),
    Case("400 with something else than JSON", page(400), LATER, "400", for_all=True),
    Case("403 with something else than JSON", page(403), LATER, "403", for_all=True),
    Case("404 with something else than JSON", page(404), LATER, "404", for_all=True),
    Case("410 with something else than JSON", page(410), LATER, "410", for_all=True),
    Case("413", page(413), REFUSED, "413"),
    Case("429 with something else than JSON", page(429), LATER, "429", 60.0, True),
    Case("500 with something else than JSON", page(500), LATER, "500"),
    Case("502 with something else than JSON", page(502), LATER, "502", for_all=True),
    Case(
        "an answer of more than 64 KiB",
        FcmAnswer(200, b'{"name": "' + b"x" * 70_000 + b'"}'),
        LATER,
        "answer too large",
        for_all=True,
    ),
    Case("the connection breaks off", Mishap.HANG_UP, LATER, "reset", for_all=True),
)
MEANING = {
    Outcome.ACCEPTED: "has been brought",
    Outcome.LATER: "is tried again",
    Outcome.GONE: "the device is deleted",
    Outcome.REFUSED: "is given up; the device stays",
}


def row(case: Case) -> str:
    meaning = MEANING[case.outcome]
    if case.retry_after_s is not None:
        meaning += f" after {case.retry_after_s:g} s"
    if case.for_all:
        meaning += "; so is everything for the project"
    return f"| {case.what} | {meaning} | {case.reason} |"


@pytest.mark.parametrize("case", CASES, ids=[case.what for case in CASES])
async def test_what_follows(case: Case, tmp_path: Path) -> None:
    async with fcm(tmp_path) as world:
        await accepted(world)
        await world.hub.advance(30)  # so the access token is not a young one
        world.service.script = lambda message: case.answer
        result = await world.send()
        assert result == (case.outcome, case.reason, case.retry_after_s, case.for_all, None)


def test_the_readme_has_what_is_tested_here() -> None:
    rows = "\n".join(row(case) for case in CASES)
    expected = f"<!-- answers -->\n| FCM answers | the push | reason |\n| --- | --- | --- |\n{rows}\n"
    assert expected in README.read_text(), expected


def test_no_code_is_left_out() -> None:
    assert set(CODES) == set(ERRORS)
    assert all(any(code in case.what for case in CASES) for code in CODES)


def judged(answer: FcmAnswer, **headers: str) -> tuple[Outcome, float | None]:
    result = judge(answer.status, {name.replace("_", "-"): text for name, text in headers.items()}, answer.body, NOW)
    return result.outcome, result.retry_after_s


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 0.0),
        (" 120 ", 120.0),
        ("999999", LONGEST_S),
        ("Fri, 15 Jan 2027 08:01:00 GMT", 60.0),
        ("Fri, 15 Jan 2027 07:00:00 GMT", 0.0),
        ("Fri, 15 Jan 2128 07:00:00 GMT", LONGEST_S),
        ("", None),
        ("soon", None),
        ("-1", None),
        ("1e3", None),
        ("١٢", None),
        ("9" * 5000, None),
        ("Fri, 99 Jan 2027 08:01:00 GMT", None),
    ],
)
def test_when_to_try_again(text: str, seconds: float | None) -> None:
    assert judged(error("UNAVAILABLE"), Retry_After=text) == (LATER, seconds)


def changed(change: Callable[[dict[str, object]], None]) -> bytes:
    body = orjson.loads(error("UNREGISTERED").body)
    change(body)
    return orjson.dumps(body)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\xff",
        b"[" * 100_000,
        b"[]",
        b"null",
        b'{"error": null}',
        b'{"error": []}',
        b'{"error": "UNREGISTERED"}',
        b'{"error": {"details": {"errorCode": "UNREGISTERED"}}}',
        b'{"error": {"details": ["UNREGISTERED"]}}',
        b'{"error": {"details": [{"errorCode": "UNREGISTERED"}]}}',
        changed(lambda body: body["error"]["details"][0].update({"errorCode": ["UNREGISTERED"]})),  # type: ignore[index]
        changed(lambda body: body["error"]["details"][0].update({"errorCode": "unregistered"})),  # type: ignore[index]
        changed(lambda body: body["error"]["details"][0].update({"@type": "other"})),  # type: ignore[index]
    ],
)
@pytest.mark.parametrize("status", [400, 401, 403, 404, 410, 429, 500, 503])
def test_nothing_unreadable_deletes_a_device(status: int, body: bytes) -> None:
    result = judge(status, {}, body, NOW)
    assert result.outcome in (LATER, REFUSED)
    assert result.reason.split()[0] == str(status)


def test_reasons_are_words_of_ours() -> None:
    for code in ("<script>", "x" * 5000, "ya29.token", 7, None):
        for body in ({"error": {"status": code}}, {"error": {"details": [{"@type": FCM_ERROR, "errorCode": code}]}}):
            assert judge(400, {}, orjson.dumps(body), NOW).reason == "400"


def test_what_it_was_called_before() -> None:
    body = error("THIRD_PARTY_AUTH_ERROR").body.replace(b"THIRD_PARTY_AUTH_ERROR", b"APNS_AUTH_ERROR")
    assert judge(401, {}, body, NOW).reason == "401 THIRD_PARTY_AUTH_ERROR"


async def test_silence_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hubd_fcm.senders.CALL_S", 0.2)
    async with fcm(tmp_path) as world:
        world.service.script = lambda message: Mishap.SILENCE
        assert await world.send() == (LATER, "timeout", None, True, None)


async def test_nobody_is_there(tmp_path: Path) -> None:
    async with fcm(tmp_path) as world:
        await accepted(world)
        await world.service.__aexit__(None, None, None)
        result = await world.send()
        assert result.outcome is LATER and result.for_all
        assert result.reason in ("connection refused", "reset", "unreachable")


async def accepted(world: FcmWorld) -> None:
    assert (await world.send()).outcome is Outcome.ACCEPTED
