"""What push services answer, and what follows: each case goes over the wire, and the README's table is made of them."""

from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import pytest
from hubd_webpush.answers import LONGEST_S, result_of, retry_after_s

from hubd.egress import Egress
from hubd.hooks.push import Outcome, PushResult
from hubd.testing.webpush_service import Fault, Scripted
from tests.egress_servers import Names
from tests.plugins.webpush_world import NOW, BackendWorld, backend_world, push

README = Path(__file__).parents[2] / "plugins/hubd_webpush/README.md"
HEAD = ("What happens", "The push", "Who waits", "Reason", "The device")
DATE = "Fri, 15 Jan 2027 08:02:00 GMT"
"""Two minutes after NOW."""
Mishap = Callable[[BackendWorld], Awaitable[PushResult]]


async def refusing(world: BackendWorld) -> PushResult:
    device = world.device()
    await world.service.stop()
    return await world.send(device)


async def no_tls(world: BackendWorld) -> PushResult:
    device = world.device()
    address = {**device.address, "endpoint": device.address["endpoint"].replace("http:", "https:")}
    return await world.send(device._replace(address=address))


async def led_to(world: BackendWorld, host: str, **answers: list[list[str]]) -> PushResult:
    """A push service's host, and what names lead to."""
    names = Names(**answers)
    egress = Egress(resolver=names)
    world.backend.open(egress, world.clock)
    device = world.device()
    try:
        return await world.send(device._replace(address={**device.address, "endpoint": f"https://{host}/1"}))
    finally:
        await egress.close()


async def unknown(world: BackendWorld) -> PushResult:
    return await led_to(world, "fcm.googleapis.com")


async def made_up(world: BackendWorld) -> PushResult:
    return await led_to(world, "nothing.notify.windows.com")


async def inside(world: BackendWorld) -> PushResult:
    return await led_to(world, "fcm.googleapis.com", fcm_googleapis_com=[["127.0.0.1"]])


async def host_no_longer_allowed(world: BackendWorld) -> PushResult:
    device = world.device()
    world.backend.apply(world.config.model_copy(update={"allow_hosts": ()}))
    return await world.send(device)


async def key_gone(world: BackendWorld) -> PushResult:
    device = world.device(says=True)
    return await world.send(device._replace(address={**device.address, "vapid": "0123456789abcdef"}))


async def too_large(world: BackendWorld) -> PushResult:
    world.service.body_bytes = 1000
    return await world.send(world.device(), {"text": "x" * 2500})


async def too_large_at_all(world: BackendWorld) -> PushResult:
    world.service.body_bytes = 1
    return await world.send(world.device(), {"text": "x" * 2500})


def statuses(*numbers: int) -> list[Scripted]:
    return [Scripted(number) for number in numbers]


def asking(status: int, *texts: str) -> list[Scripted]:
    return [Scripted(status, {"Retry-After": text}) for text in texts]


def moved(*numbers: int) -> list[Scripted]:
    return [Scripted(number, {"Location": "http://127.0.0.1:9/elsewhere"}) for number in numbers]


ROWS: list[tuple[str, Sequence[Scripted | Fault | Mishap]]] = [
    ("200, 201, 202, 204, also a slow one", [*statuses(200, 201, 202, 204), Scripted(201, after_s=0.1)]),
    ("404, 410: there is no such subscription any more", statuses(404, 410)),
    ("413, and a smaller payload is taken", [too_large]),
    ("413 for the smaller payload, too", [too_large_at_all]),
    (
        "429 (or 406) without a Retry-After, or with one that can't be read",
        [*statuses(429, 406), *asking(429, "soon", "-5", "1.5")],
    ),
    ("429 with `Retry-After: 120`, or the date of then", asking(429, "120", DATE)),
    ("500, 501, 505, 507 and other 5xx", statuses(500, 501, 505, 507, 599)),
    ("502, 503, 504", statuses(502, 503, 504)),
    ("any 5xx with `Retry-After: 120`, or the date of then", [*asking(500, "120"), *asking(503, "120", DATE)]),
    ("401, 403, such as for another key than the browser subscribed with, or 408", statuses(401, 403, 408)),
    ("400", statuses(400)),
    ("301, 302, 303, 307, 308: never followed", moved(301, 302, 303, 307, 308)),
    ("any other 2xx, 3xx or 4xx", statuses(206, 299, 304, 402, 405, 409, 415, 422, 425, 499)),
    ("no answer within `timeout_s`", [Fault.STALL]),
    ("the connection is cut", [Fault.RESET]),
    ("the answer is no HTTP", [Fault.GARBAGE]),
    ("nobody listens there", [refusing]),
    ("there is no such host", [unknown]),
    ("TLS fails", [no_tls]),
    ("any of these at one of many hosts, such as `*.notify.windows.com`", [made_up]),
    ("the host leads to an address that isn't public", [inside]),
    ("the host is none that is called any more (`services`, `allow_hosts`)", [host_no_longer_allowed]),
    ("the key is gone that the browser said it had subscribed with", [key_gone]),
]
TOLD = {
    Outcome.ACCEPTED: ("taken", "kept"),
    Outcome.GONE: ("given up", "deleted"),
    Outcome.REFUSED: ("given up", "kept"),
    Outcome.LATER: ("tried again", "kept"),
}


async def results_of(answers: Sequence[Scripted | Fault | Mishap]) -> list[PushResult]:
    results = []
    for answer in answers:
        async with backend_world(timeout_s=1 if answer is Fault.STALL else 20) as world:
            if isinstance(answer, Scripted | Fault):
                device = world.device()
                world.service.answer(device.address["endpoint"], answer)
                results.append(await world.send(device))
                assert world.service.requests == 1
            else:
                results.append(await answer(world))
    return results


def row(what: str, results: list[PushResult]) -> str:
    first = results[0]
    for result in results:
        assert result[2:] == first[2:] and result.outcome is first.outcome, what
    told, device = TOLD[first.outcome]
    waits = "all of this service's" if first.for_all else ("this push alone" if first.outcome is Outcome.LATER else "")
    if first.retry_after_s is not None:
        waits += f", {first.retry_after_s:g} s"
    reasons = ", ".join(dict.fromkeys(f"`{result.reason}`" for result in results))
    return f"| {what} | {told} | {waits} | {reasons} | {device} |"


async def test_the_table_in_the_readme_is_what_happens() -> None:
    lines = [f"| {' | '.join(HEAD)} |", "| --- " * len(HEAD) + "|"]
    lines += [row(what, await results_of(answers)) for what, answers in ROWS]
    assert "\n".join(lines) in README.read_text(), "the README should have:\n" + "\n".join(lines)


def test_no_other_status_deletes_a_device_or_has_a_word_of_its_own() -> None:
    results = {status: result_of(status, {"Retry-After": "5"}, NOW) for status in range(200, 1000)}
    assert [status for status, result in results.items() if result.outcome is Outcome.GONE] == [404, 410]
    assert [status for status, result in results.items() if result.outcome is Outcome.ACCEPTED] == [200, 201, 202, 204]
    assert {status for status, result in results.items() if result.outcome is Outcome.LATER} == {
        *(401, 403, 406, 408, 429),
        *range(500, 600),
    }
    assert len({result.reason for result in results.values()}) < 80


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 0), ("120", 120), (" 7 ", 7), (DATE, 120), ("Fri, 15 Jan 2027 07:00:00 GMT", 0), ("9" * 50, LONGEST_S),
        ("Fri, 15 Jan 2038 08:02:00 GMT", LONGEST_S), ("", None), ("soon", None), ("-1", None), ("1.5", None),
        ("١٢", None), ("9" * 101, None), ("Fri, 99 Jan 2027 08:02:00 GMT", None), ("Fri, 15 Jan 99999 08:02:00", None),
    ],
)  # fmt: skip
def test_retry_after(text: str, seconds: float | None) -> None:
    assert retry_after_s(text, NOW) == seconds


async def test_a_413_is_answered_by_a_light_one_at_once() -> None:
    async with backend_world(body_bytes=1000) as world:
        result = await world.send(world.device(), {"text": "x" * 2500})
        assert (result.outcome, world.service.requests) == (Outcome.ACCEPTED, 2)
        assert world.last.data == {"id": "n1", "fetch": True}


async def test_a_small_one_that_is_too_large_is_not_sent_twice() -> None:
    async with backend_world(body_bytes=1) as world:
        assert (await world.send(world.device())).outcome is Outcome.REFUSED
        assert world.service.requests == 1


async def test_before_the_start_it_is_for_later() -> None:
    async with backend_world() as world:
        device = world.device()
        fresh = type(world.backend)(world.config)
        assert await fresh.send(device, push()) == PushResult(Outcome.LATER, "not started", for_all=True)


@pytest.mark.parametrize("status", [406, 429, 503])
def test_one_of_many_hosts_makes_nobody_else_wait(status: int) -> None:
    result = result_of(status, {"Retry-After": "86400"}, NOW, is_shared=True)
    assert (result.outcome, result.retry_after_s, result.for_all) == (Outcome.LATER, 86400, False)
