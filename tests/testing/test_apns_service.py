"""The stand-in for APNs, talked to by h2 itself: it refuses what APNs refuses, for the reason that Apple documents."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import uuid4
from weakref import WeakKeyDictionary

import h2.config
import h2.connection
import h2.events
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key

from hubd.testing import FakeClock
from hubd.testing.apns_checks import STATUS_OF
from hubd.testing.apns_service import Answer, ApnsService, Mishap

TOKEN = "b2" * 32
NOW = 1_800_000_000
WAIT_S = 20.0
Reply = tuple[dict[str, str], bytes]


class Client:
    """One connection of raw HTTP/2. ``events`` has all that came."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self.http = h2.connection.H2Connection(
            h2.config.H2Configuration(header_encoding="utf-8", validate_outbound_headers=False)
        )
        self.http.initiate_connection()
        self.events: list[Any] = []
        self.flush()

    def flush(self) -> None:
        self.writer.write(self.http.data_to_send())

    async def read(self) -> bool:
        data = await self.reader.read(65_536)
        if data:
            self.events += self.http.receive_data(data)
            self.flush()
        return bool(data)

    async def until(self, kind: type[Any], stream: int | None = None) -> Any:
        async with asyncio.timeout(WAIT_S):
            while True:
                for event in self.events:
                    if isinstance(event, kind) and (stream is None or event.stream_id == stream):
                        return event
                assert await self.read(), "the connection has ended"

    def send(self, headers: list[tuple[str, str]], body: bytes) -> int:
        stream = self.http.get_next_available_stream_id()
        self.http.send_headers(stream, headers)
        for start in range(0, len(body), 16_000):
            self.http.send_data(stream, body[start : start + 16_000])
        self.http.end_stream(stream)
        self.flush()
        return stream

    async def ask(self, headers: list[tuple[str, str]], body: bytes) -> Reply:
        stream = self.send(headers, body)
        await self.until(h2.events.StreamEnded, stream)
        response = await self.until(h2.events.ResponseReceived, stream)
        data = [one.data for one in self.events if isinstance(one, h2.events.DataReceived) and one.stream_id == stream]
        return dict(response.headers), b"".join(data)


@asynccontextmanager
async def connected(service: ApnsService) -> AsyncIterator[Client]:
    context = service.authority.client_context()
    context.set_alpn_protocols(["h2"])
    reader, writer = await asyncio.open_connection("127.0.0.1", service.port, ssl=context)
    assert writer.get_extra_info("ssl_object").selected_alpn_protocol() == "h2"
    try:
        yield Client(reader, writer)
    finally:
        writer.transport.abort()
        await asyncio.sleep(0)


def bearer(service: ApnsService, key: Any = None, **changed: Any) -> str:
    claims = {"iss": service.team_id, "iat": NOW, **changed}
    head = {"kid": claims.pop("kid", service.key_id)}
    return "bearer " + jwt.encode(claims, key or service._key, algorithm=claims.pop("alg", "ES256"), headers=head)


def usual_bearer(service: ApnsService) -> str:
    """One token for all requests of a test: no two signatures are the same."""
    return _BEARERS.setdefault(service, bearer(service))


_BEARERS: WeakKeyDictionary[ApnsService, str] = WeakKeyDictionary()


def headers(service: ApnsService, **changed: str | None) -> list[tuple[str, str]]:
    usual: dict[str, str | None] = {
        ":method": "POST",
        ":scheme": "https",
        ":authority": "localhost",
        ":path": f"/3/device/{TOKEN}",
        "authorization": usual_bearer(service),
        "apns-topic": "com.example.app",
        **{name.replace("_", "-"): value for name, value in changed.items()},
    }
    return [(name, value) for name, value in usual.items() if value is not None]


BODY = b'{"aps":{"alert":"hi"}}'


@asynccontextmanager
async def service_for(**options: Any) -> AsyncIterator[ApnsService]:
    async with ApnsService(clock=FakeClock(NOW), **options) as service:
        yield service


async def reason_of(service: ApnsService, asked: list[tuple[str, str]], body: bytes = BODY) -> str:
    async with connected(service) as client:
        head, content = await client.ask(asked, body)
    if head[":status"] == "200":
        assert content == b""
        return ""
    reason: str = json.loads(content)["reason"]
    assert head[":status"] == str(STATUS_OF[reason])
    return reason


async def test_what_is_right_is_taken_and_kept() -> None:
    async with service_for() as service:
        id = str(uuid4())
        more = {"apns_id": id, "apns_expiration": "0", "apns_priority": "5", "apns_collapse_id": "c"}
        assert await reason_of(service, headers(service, **more)) == ""
        (got,) = service.pushes
        assert (got.token, got.topic, got.id, got.priority, got.push_type) == (TOKEN, "com.example.app", id, 5, "alert")
        assert (got.expiration, got.collapse_id, got.payload, got.at) == (0, "c", {"aps": {"alert": "hi"}}, NOW)


WRONG: list[tuple[dict[str, str | None], bytes, str]] = [
    ({"authorization": None}, BODY, "MissingProviderToken"),
    ({"authorization": "basic x"}, BODY, "MissingProviderToken"),
    ({"authorization": "bearer x.y"}, BODY, "InvalidProviderToken"),
    ({":method": "PUT"}, BODY, "MethodNotAllowed"),
    ({":path": "/3/devices/x"}, BODY, "BadPath"),
    ({":path": "/3/device/"}, BODY, "MissingDeviceToken"),
    ({":path": "/3/device/xyz"}, BODY, "BadDeviceToken"),
    ({"apns_id": "1"}, BODY, "BadMessageId"),
    ({"apns_expiration": "soon"}, BODY, "BadExpirationDate"),
    ({"apns_expiration": "-1"}, BODY, "BadExpirationDate"),
    ({"apns_push_type": "shout"}, BODY, "InvalidPushType"),
    ({"apns_priority": "7"}, BODY, "BadPriority"),
    ({"apns_priority": "10", "apns_push_type": "background"}, BODY, "BadPriority"),
    ({"apns_collapse_id": "c" * 65}, BODY, "BadCollapseId"),
    ({"apns_topic": None}, BODY, "MissingTopic"),
    ({"apns_topic": "a b"}, BODY, "BadTopic"),
    ({"apns_topic": "com.example.other"}, BODY, "TopicDisallowed"),
    ({}, b"", "PayloadEmpty"),
    ({}, b"{}", "PayloadEmpty"),
    ({}, b"[1]", "PayloadEmpty"),
    ({}, b'{"aps":{},"pad":"%b"}' % (b"x" * 4078), "PayloadTooLarge"),
    ({}, b"x" * 30_000, "PayloadTooLarge"),
]


@pytest.mark.parametrize(("changed", "body", "expected"), WRONG, ids=[f"{one[2]}-{n}" for n, one in enumerate(WRONG)])
async def test_what_is_wrong_is_refused(changed: dict[str, str | None], body: bytes, expected: str) -> None:
    async with service_for() as service:
        assert await reason_of(service, headers(service, **changed), body) == expected
        assert not service.pushes and service.refused[0][1] == expected


async def test_a_header_that_is_there_twice() -> None:
    async with service_for() as service:
        assert await reason_of(service, [*headers(service), ("apns-topic", "x")]) == "DuplicateHeaders"


async def test_the_largest_payload_is_taken() -> None:
    async with service_for() as service:
        body = b'{"aps":{},"pad":"%b"}' % (b"x" * 4078)
        assert len(body) == 4096 + 1 and await reason_of(service, headers(service), body) == "PayloadTooLarge"
        assert await reason_of(service, headers(service), body.replace(b"xx", b"x", 1)) == ""


async def test_devices_are_checked() -> None:
    async with service_for() as service:
        service.environment_of[TOKEN] = "sandbox"
        assert await reason_of(service, headers(service)) == "BadDeviceToken"
        service.environment_of[TOKEN] = "production"
        service.topic_of[TOKEN] = "com.example.other"
        assert await reason_of(service, headers(service)) == "DeviceTokenNotForTopic"
        service.topic_of.clear()
        service.unregistered[TOKEN] = 5.0
        async with connected(service) as client:
            _, content = await client.ask(headers(service), BODY)
        assert json.loads(content) == {"reason": "Unregistered", "timestamp": 5000}


@pytest.mark.parametrize(
    ("claims", "expected"),
    [
        ({"iss": "OTHER12345"}, "InvalidProviderToken"),
        ({"kid": "OTHER12345"}, "InvalidProviderToken"),
        ({"key": generate_private_key(SECP256R1())}, "InvalidProviderToken"),
        ({"iat": NOW + 400}, "InvalidProviderToken"),
        ({"iat": "now"}, "InvalidProviderToken"),
        ({"iat": NOW - 3601}, "ExpiredProviderToken"),
        ({"iat": NOW - 3599}, ""),
    ],
)
async def test_provider_tokens_are_checked(claims: dict[str, Any], expected: str) -> None:
    async with service_for() as service:
        try:
            token = bearer(service, **claims)
        except TypeError:  # PyJWT wouldn't sign that
            head = jwt.PyJWS().encode(b'{"iat":"now"}', service._key, "ES256", {"kid": service.key_id})
            token = f"bearer {head}"
        assert await reason_of(service, headers(service, authorization=token)) == expected


async def test_a_new_provider_token_every_20_minutes_and_no_more() -> None:
    async with service_for() as service:
        clock: Any = service.clock
        assert await reason_of(service, headers(service)) == ""
        second = bearer(service, iat=NOW + 1)
        assert await reason_of(service, headers(service, authorization=second)) == "TooManyProviderTokenUpdates"
        clock.advance(1200)
        assert await reason_of(service, headers(service, authorization=second)) == ""
        clock.advance(2402)
        assert await reason_of(service, headers(service, authorization=second)) == "ExpiredProviderToken"


async def test_a_connection_opens_up_with_the_first_good_token() -> None:
    async with service_for(max_streams=50) as service, connected(service) as client:
        await client.until(h2.events.RemoteSettingsChanged)
        assert client.http.remote_settings.max_concurrent_streams == 1
        await client.ask(headers(service, authorization="bearer x"), BODY)
        assert client.http.remote_settings.max_concurrent_streams == 1
        await client.ask(headers(service), BODY)
        client.events.clear()
        if client.http.remote_settings.max_concurrent_streams == 1:
            await client.until(h2.events.RemoteSettingsChanged)
        assert client.http.remote_settings.max_concurrent_streams == 50


async def test_every_reason_can_be_asked_for() -> None:
    async with service_for() as service:
        for reason in STATUS_OF:
            service.script = lambda push, reason=reason: Answer(reason, retry_after="3")  # type: ignore[misc]
            assert await reason_of(service, headers(service)) == reason
        assert [reason for _, reason in service.refused] == list(STATUS_OF)


async def test_mishaps() -> None:
    async with service_for(first_streams=100) as service:
        scripted = {1: Mishap.SILENCE, 2: Mishap.RESET, 3: Mishap.REFUSED, 4: Answer("Shutdown", body=b"")}
        service.script = lambda push: scripted.get(int(push.token, 16))

        def asked(number: int) -> list[tuple[str, str]]:
            return headers(service, **{":path": f"/3/device/{number:064x}", "authorization": token})

        token = bearer(service)
        async with connected(service) as client:
            silent = client.send(asked(1), BODY)
            assert (await client.until(h2.events.StreamReset, client.send(asked(2), BODY))).error_code == 2
            assert (await client.until(h2.events.StreamReset, client.send(asked(3), BODY))).error_code == 7
            assert await client.ask(asked(4), BODY) == ({":status": "503", "apns-id": ""}, b"")
            assert service.open_streams == 1
            client.http.reset_stream(silent)
            client.flush()
            await client.ask(asked(5), BODY)
            assert service.open_streams == 0
            scripted[6] = Mishap.HANG_UP
            client.send(asked(6), BODY)
            async with asyncio.timeout(WAIT_S):
                while await client.read():
                    pass


async def test_a_goaway_answers_what_came_before_and_nothing_after() -> None:
    async with service_for(first_streams=100) as service, connected(service) as client:
        service.script = lambda push: Answer(delay_s=0.1)
        token = bearer(service)
        stream = client.send(headers(service, authorization=token), BODY)
        while not service.pushes:
            await asyncio.sleep(0.01)
        service.goaway()
        data = b""
        async with asyncio.timeout(WAIT_S):
            while part := await client.reader.read(65_536):
                data += part
        frames = []
        while data:
            length, kind = int.from_bytes(data[:3], "big"), data[3]
            frames.append((kind, int.from_bytes(data[5:9], "big"), data[9 : 9 + length]))
            data = data[9 + length :]
        goaway = [body for kind, _, body in frames if kind == 7]
        assert int.from_bytes(goaway[0][:4], "big") == stream and b"Shutdown" in goaway[0]
        assert any(kind == 1 and number == stream for kind, number, _ in frames)  # its HEADERS: the answer


async def test_it_asks_for_a_body_piece_by_piece() -> None:
    async with service_for(window=100, first_streams=10) as service, connected(service) as client:
        await client.until(h2.events.RemoteSettingsChanged)
        stream = client.http.get_next_available_stream_id()
        client.http.send_headers(stream, headers(service))
        assert client.http.local_flow_control_window(stream) == 100
        left = b'{"aps":{},"pad":"%b"}' % (b"x" * 400)
        async with asyncio.timeout(WAIT_S):
            while left:
                room = client.http.local_flow_control_window(stream)
                if room:
                    client.http.send_data(stream, left[:room], end_stream=len(left) <= room)
                    left = left[room:]
                    client.flush()
                else:
                    await client.read()
        await client.until(h2.events.StreamEnded, stream)
        assert len(service.pushes[0].payload["pad"]) == 400


async def test_garbage_ends_its_connection_alone() -> None:
    async with service_for() as service, connected(service) as client, connected(service) as other:
        client.writer.write(bytes.fromhex("00000408000000000000000000"))
        async with asyncio.timeout(WAIT_S):
            try:
                while await client.reader.read(65_536):
                    pass
            except ConnectionError:
                pass
        assert (await other.ask(headers(service), BODY))[0][":status"] == "200"


async def test_it_comes_back_on_the_same_port() -> None:
    async with service_for() as service:
        port = service.port
        await service.stop()
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", port)
        await service.start()
        assert service.port == port and await reason_of(service, headers(service)) == ""


async def test_the_key_file_is_for_its_owner_alone() -> None:
    async with service_for() as service:
        assert service.key_file.stat().st_mode & 0o777 == 0o600
        folder = service.key_file.parent
    assert not folder.exists()
