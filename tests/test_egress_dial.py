"""What names lead to is judged when it is dialled, whatever was known before."""

import asyncio
import socket
import threading
from typing import Any

import pytest
from yarl import URL

from hubd import egress as egress_module
from hubd import egress_guard
from hubd.egress import EgressRefused
from tests.egress_servers import ALLOWED, LOOPBACK, OK, Names, answering, call, client, listening, reason_of


async def test_a_name_that_nobody_knows() -> None:
    async with client(*ALLOWED, resolver=Names(none_example=[[]])) as egress:
        assert await reason_of(egress, "https://nobody.example/") == "name not found"
        assert await reason_of(egress, "https://none.example/") == "name not found"


async def test_a_lookup_that_never_ends_is_a_timeout_and_holds_nobody_up(monkeypatch: pytest.MonkeyPatch) -> None:
    gate = threading.Event()
    real = socket.getaddrinfo

    def slow(host: Any, *args: Any, **options: Any) -> Any:
        if not host.startswith(b"slow"):
            return real(host, *args, **options)
        gate.wait(30)
        raise socket.gaierror

    monkeypatch.setattr(socket, "getaddrinfo", slow)
    try:
        async with listening(answering(OK)) as door, client(*ALLOWED) as egress:
            calls = [reason_of(egress, f"https://slow{number}.example/", timeout_s=0.2) for number in range(40)]
            assert set(await asyncio.gather(*calls)) == {"timeout"}
            # The hub's own threads are free: this would not come to its turn behind the slow ones.
            assert await asyncio.wait_for(asyncio.to_thread(lambda: "free"), 5) == "free"
            gate.set()
            assert (await call(egress, f"http://localhost:{door.port}/")).body == b"ok"
    finally:
        gate.set()


async def test_a_lookup_has_a_limit_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """It goes on when the call that needed it has given up, so the call's limit is not enough."""
    gate = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: gate.wait(30) and [])
    monkeypatch.setattr(egress_module, "LOOKUP_S", 0.2)
    try:
        async with client() as egress:
            assert await reason_of(egress, "https://slow.example/", timeout_s=20) == "timeout"
    finally:
        gate.set()


async def test_a_resolver_that_changes_its_answer_gains_nothing() -> None:
    """First a public address, as for a check; then this machine's, as for the dial."""
    names = Names(turn_example=[["8.8.8.8"], ["127.0.0.1"]])
    async with listening(answering(OK), LOOPBACK) as door, client("::1", resolver=names) as egress:
        first = await names.resolve("turn.example")
        assert egress_guard.is_public(first[0]["host"])
        for _ in range(3):
            with pytest.raises(EgressRefused, match="leads to an address that is not public"):
                await call(egress, f"https://turn.example:{door.port}/")
        assert len(names.asked) > 1
        assert door.connections == 0


async def test_the_socket_has_the_last_word_when_the_answer_was_not_judged(monkeypatch: pytest.MonkeyPatch) -> None:
    names = Names(lo_example=[["127.0.0.1"]], both_example=[["127.0.0.1", "::1"]])
    monkeypatch.setattr(egress_module._Judging, "resolve", lambda _, host, port, family: names.resolve(host, port))
    async with listening(answering(OK), LOOPBACK) as door, client("8.8.8.8") as egress:
        for host in ("lo.example", "both.example"):
            with pytest.raises(EgressRefused, match="leads to an address that is not public"):
                await call(egress, f"https://{host}:{door.port}/")
        assert len(names.asked) == 2
        assert door.connections == 0


async def test_the_socket_has_the_last_word_when_the_text_was_not_judged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(egress_module, "judged", lambda text, _: (URL(text), False))
    async with listening(answering(OK), LOOPBACK) as door, client("8.8.8.8") as egress:
        for host in ("127.0.0.1", "127.0.0.2", "[::1]", "[::ffff:127.0.0.1]", "0.0.0.0", "localhost"):
            with pytest.raises(EgressRefused, match="leads to an address that is not public"):
                await call(egress, f"http://{host}:{door.port}/")
        assert door.connections == 0


@pytest.mark.parametrize(
    "answer",
    [
        ["127.0.0.1", "::1", "127.0.0.2"],
        ["127.0.0.2", "127.0.0.1", "::1"],
        ["::1", "127.0.0.2", "127.0.0.1"],
        ["127.0.0.1"] * egress_module.ADDRESSES + ["127.0.0.2"],
    ],
    ids=["last", "first", "between", "after-many"],
)
async def test_of_mixed_answers_only_the_allowed_are_dialled(answer: list[str]) -> None:
    """Whatever their order: nobody listens where it is allowed, and that is what is told."""
    names = Names(mixed_example=[answer])
    async with listening(answering(OK), ["127.0.0.1", "::1"]) as inner, client("127.0.0.2", resolver=names) as egress:
        assert await reason_of(egress, f"https://mixed.example:{inner.port}/") == "connection refused"
        assert inner.connections == 0


async def test_few_of_many_addresses_are_tried() -> None:
    many = [f"127.0.1.{number}" for number in range(1, 200)]
    dialled: list[str] = []
    async with client("many.example", resolver=Names(many_example=[many])) as egress:
        loop = asyncio.get_running_loop()
        real = loop.sock_connect

        async def counted(sock: socket.socket, address: Any) -> None:
            dialled.append(address[0])
            await real(sock, address)

        loop.sock_connect = counted  # type: ignore[method-assign]  # the loop ends with the test
        with socket.socket() as taken:
            taken.bind(("0.0.0.0", 0))
            assert await reason_of(egress, f"http://many.example:{taken.getsockname()[1]}/") == "connection refused"
    assert set(dialled) == set(many[: egress_module.ADDRESSES])
    assert len(dialled) < 50


async def test_a_listed_names_connection_never_serves_another_host() -> None:
    names = Names(inner_example=[["127.0.0.1"]], outer_example=[["127.0.0.1"]])
    async with listening(answering(OK)) as door, client("inner.example", resolver=names) as egress:
        assert (await call(egress, f"http://inner.example:{door.port}/")).body == b"ok"
        for url in (f"https://outer.example:{door.port}/", f"https://127.0.0.1:{door.port}/"):
            with pytest.raises(EgressRefused):
                await call(egress, url)
        assert door.connections == 1


def test_only_a_listed_name_may_lead_anywhere() -> None:
    """An address that is listed itself goes the guarded way all the same: there it passes as what it is."""
    allowed = egress_guard.AllowedHosts.of(["127.0.0.0/8", "inner.example"])
    verdicts = {
        "http://127.0.0.1/": False,
        "https://8.8.8.8/": False,
        "https://outer.example/": False,
        "http://inner.example/": True,
        "https://INNER.example/": True,
    }
    assert {url: egress_guard.judged(url, allowed)[1] for url in verdicts} == verdicts
