"""Every answer of APNs, and what the hub does about it: the table in the README is written by these tests."""

import asyncio
from pathlib import Path

import pytest
from hubd_apns.results import MEANING, RETRY_AFTER_S, read, retry_after_s

from hubd.plugin import Outcome, PushResult
from hubd.testing.apns_checks import STATUS_OF
from hubd.testing.apns_service import Answer, Mishap
from tests.plugins.apns_world import WAIT_S, apns, token_of

README = Path(__file__).parents[2] / "plugins/hubd_apns/README.md"
NOW = 1_800_000_000.0
SAYS = {
    Outcome.ACCEPTED: "taken",
    Outcome.GONE: "the device is deleted",
    Outcome.REFUSED: "given up for this device, which stays",
}


def shown(result: PushResult) -> str:
    if result.outcome is Outcome.LATER:
        return "tried again later, " + ("everybody waits" if result.for_all else "this device waits")
    return SAYS[result.outcome]


async def test_each_documented_answer_and_each_mishap_has_its_row_in_the_readme() -> None:
    answers: list[tuple[str, Answer | Mishap]] = [("`200`", Answer())]
    answers += [(f"`{status} {reason}`", Answer(reason)) for reason, status in STATUS_OF.items()]
    undocumented = {"another 4xx": 418, "another 429": 429, "another 5xx": 502}
    answers += [(name, Answer("Whatever", status=status)) for name, status in undocumented.items()]
    answers += [("`410` without a reason", Answer(status=410, body=b""))]
    answers += [("the stream is reset", Mishap.RESET), ("no answer in time", Mishap.SILENCE)]
    answers += [("the connection goes away", Mishap.GOAWAY), ("the connection breaks off", Mishap.HANG_UP)]
    rows = []
    async with apns() as world:
        for number, (name, answer) in enumerate(answers):
            world.service.script = lambda push, answer=answer: answer  # type: ignore[misc]
            if answer is Mishap.SILENCE:
                world.pools[0].timeout_s = 0.3
            result = await world.send(token_of(number))
            world.pools[0].timeout_s = WAIT_S
            rows.append(f"| {name} | {result.reason} | {shown(result)} |")
        world.service.script = lambda push: None
        assert (await world.send()).outcome is Outcome.ACCEPTED
        await world.service.stop()
        await asyncio.sleep(0.1)
        result = await world.send()
        rows.append(f"| it can't be reached | {result.reason} | {shown(result)} |")
    table = "\n".join(["| APNs answers | in `explain` | what the hub does |", "| --- | --- | --- |", *rows])
    assert table in README.read_text(), f"put this table into the README:\n{table}"


def test_every_reason_that_is_known_is_documented() -> None:
    assert {f"{status} {reason}" for reason, status in STATUS_OF.items()} == set(MEANING)


def test_a_device_is_gone_since_when_apple_says() -> None:
    body = b'{"reason":"Unregistered","timestamp":1700000000123}'
    assert read("410", body, "", NOW) == PushResult(Outcome.GONE, "410 Unregistered", gone_since=1_700_000_000.123)


@pytest.mark.parametrize("timestamp", [b"true", b'"1"', b"-1", b"1e300", b"null", b"{}", b"0"])
def test_a_time_that_is_none_doesn_t_count(timestamp: bytes) -> None:
    result = read("410", b'{"reason":"Unregistered","timestamp":%b}' % timestamp, "", NOW)
    assert (result.outcome, result.gone_since) == (Outcome.GONE, None)


@pytest.mark.parametrize(
    "body", [b"", b"{}", b"[]", b"\xff", b'"BadDeviceToken"', b'{"reason":5}', b'{"reason":["Unregistered"]}', b"{" * 9]
)
@pytest.mark.parametrize("status", ["400", "403", "410", "413", "404"])
def test_without_a_reason_that_apple_documents_no_device_goes(status: str, body: bytes) -> None:
    assert read(status, body, "", NOW) == PushResult(Outcome.REFUSED, f"{status} other")


def test_a_reason_counts_with_its_own_status_alone() -> None:
    assert read("403", b'{"reason":"BadDeviceToken"}', "", NOW) == PushResult(Outcome.REFUSED, "403 other")
    assert read("500", b'{"reason":"Unregistered"}', "", NOW).outcome is Outcome.LATER


@pytest.mark.parametrize("status", ["", "abc", "999", "10", "²00"])
def test_what_is_no_status_is_tried_again(status: str) -> None:
    result = read(status, b'{"reason":"<script>"}', "", NOW)
    assert (result.outcome, result.reason) == (Outcome.LATER, "other")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", None),
        ("9", 9.0),
        ("0", 0.0),
        ("99999999", RETRY_AFTER_S),
        ("Fri, 15 Jan 2027 08:01:00 GMT", 60.0),
        ("Fri, 15 Jan 2027 07:00:00 GMT", 0.0),
        ("Fri, 15 Jan 2028 07:00:00 GMT", RETRY_AFTER_S),
        ("soon", None),
        ("-5", None),
        ("9" * 200, None),
        ("٣", None),
        ("Fri, 99 Jan 2027 08:01:00 GMT", None),
    ],
)
def test_retry_after(text: str, expected: float | None) -> None:
    assert retry_after_s(text, NOW) == expected


@pytest.mark.parametrize("reason", ["TooManyRequests", "ServiceUnavailable", "InternalServerError"])
async def test_retry_after_is_handed_on(reason: str) -> None:
    async with apns() as world:
        world.service.script = lambda push: Answer(reason, retry_after="17")
        async with asyncio.timeout(WAIT_S):
            assert (await world.send()).retry_after_s == 17.0
