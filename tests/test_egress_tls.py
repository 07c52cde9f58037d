"""Calls over TLS: to servers whose certificate is right, and none to those whose isn't."""

import asyncio
import datetime
import ipaddress
import ssl
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from hubd.egress import EgressRefused
from tests.egress_servers import OK, Behaviour, Door, Names, answering, call, client, listening, reason_of

DAY = datetime.timedelta(days=1)


class Authority:
    """A certificate authority that nobody knows but who is told."""

    def __init__(self, folder: Path, name: str) -> None:
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self._own = self._signed(self._name, self._key, x509.BasicConstraints(ca=True, path_length=0), DAY)

    def trusted(self) -> ssl.SSLContext:
        return ssl.create_default_context(cadata=self._own.public_bytes(serialization.Encoding.PEM).decode())

    def server(self, *hosts: str, valid: datetime.timedelta = DAY) -> ssl.SSLContext:
        """What a server of these names and addresses shows."""
        key = ec.generate_private_key(ec.SECP256R1())
        names = [
            x509.IPAddress(ipaddress.ip_address(host)) if host[-1].isdigit() else x509.DNSName(host) for host in hosts
        ]
        certificate = self._signed(x509.Name([]), key, x509.SubjectAlternativeName(names), valid)
        pem = self._folder / f"{hosts[0]}.pem"
        pem.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
            + certificate.public_bytes(serialization.Encoding.PEM)
        )
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(pem)
        return context

    def _signed(
        self, name: x509.Name, key: ec.EllipticCurvePrivateKey, says: x509.ExtensionType, valid: datetime.timedelta
    ) -> x509.Certificate:
        now = datetime.datetime.now(datetime.UTC)
        builder = x509.CertificateBuilder(self._name, name, key.public_key(), x509.random_serial_number())
        builder = builder.not_valid_before(now - 10 * DAY).not_valid_after(now + valid)
        return builder.add_extension(says, critical=True).sign(self._key, hashes.SHA256())


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path, "ours")


async def test_a_right_certificate_by_name_and_by_address(authority: Authority) -> None:
    shown = authority.server("hooks.example", "127.0.0.1")
    async with (
        listening(answering(OK), tls=shown) as door,
        client("127.0.0.1", tls=authority.trusted(), resolver=Names(hooks_example=[["127.0.0.1"]])) as egress,
    ):
        # The name is not listed, but the address that it leads to.
        assert (await call(egress, f"https://hooks.example:{door.port}/a")).body == b"ok"
        assert (await call(egress, f"https://hooks.example:{door.port}/b")).body == b"ok"
        assert (await call(egress, f"https://127.0.0.1:{door.port}/")).body == b"ok"
        assert door.connections == 2
        assert b"Host: hooks.example:" in door.requests[0]


async def test_a_certificate_of_an_unknown_authority(authority: Authority) -> None:
    async with listening(answering(OK), tls=authority.server("127.0.0.1")) as door:
        async with client("127.0.0.1", tls=None) as egress:
            assert await reason_of(egress, f"https://127.0.0.1:{door.port}/") == "tls"
        assert door.requests == []


async def test_another_hosts_certificate(authority: Authority) -> None:
    async with (
        listening(answering(OK), tls=authority.server("other.example")) as door,
        client(
            "hooks.example", "127.0.0.1", tls=authority.trusted(), resolver=Names(hooks_example=[["127.0.0.1"]])
        ) as egress,
    ):
        assert await reason_of(egress, f"https://hooks.example:{door.port}/") == "tls"
        assert await reason_of(egress, f"https://127.0.0.1:{door.port}/") == "tls"
        assert door.requests == []


async def test_a_certificate_that_has_expired(authority: Authority) -> None:
    shown = authority.server("127.0.0.1", valid=-DAY)
    async with listening(answering(OK), tls=shown) as door, client("127.0.0.1", tls=authority.trusted()) as egress:
        assert await reason_of(egress, f"https://127.0.0.1:{door.port}/") == "tls"
        assert door.requests == []


async def test_an_old_tls_is_not_spoken(authority: Authority) -> None:
    shown = authority.server("127.0.0.1")
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        shown.maximum_version = ssl.TLSVersion.TLSv1_1
    shown.set_ciphers("ALL:@SECLEVEL=0")
    async with listening(answering(OK), tls=shown) as door, client("127.0.0.1", tls=authority.trusted()) as egress:
        assert await reason_of(egress, f"https://127.0.0.1:{door.port}/") in {"tls", "reset"}
        assert door.requests == []


async def test_https_to_a_server_that_speaks_http(authority: Authority) -> None:
    async def behave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    def behaviour(_: Door) -> Behaviour:
        return behave

    async with listening(behaviour) as door, client("127.0.0.1", tls=authority.trusted()) as egress:
        assert await reason_of(egress, f"https://127.0.0.1:{door.port}/") == "tls"


async def test_a_handshake_that_stalls_is_a_timeout(authority: Authority) -> None:
    async def behave(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        await reader.read()

    def behaviour(_: Door) -> Behaviour:
        return behave

    async with listening(behaviour) as door, client("127.0.0.1", tls=authority.trusted()) as egress:
        assert await reason_of(egress, f"https://127.0.0.1:{door.port}/", timeout_s=0.3) == "timeout"


async def test_a_good_certificate_opens_no_private_address(authority: Authority) -> None:
    """A stranger's name can have a good certificate, and still lead here."""
    shown = authority.server("hooks.example", "127.0.0.1")
    async with (
        listening(answering(OK), tls=shown) as door,
        client(tls=authority.trusted(), resolver=Names(hooks_example=[["127.0.0.1"]])) as egress,
    ):
        for host in ("hooks.example", "127.0.0.1"):
            with pytest.raises(EgressRefused):
                await call(egress, f"https://{host}:{door.port}/")
        assert door.connections == 0


async def test_a_listed_names_kept_connection_serves_no_other_name(authority: Authority) -> None:
    """Even when the certificate names both, and both lead to the same address."""
    shown = authority.server("inner.example", "outer.example")
    async with (
        listening(answering(OK), tls=shown) as door,
        client(
            "inner.example",
            tls=authority.trusted(),
            resolver=Names(inner_example=[["127.0.0.1"]], outer_example=[["127.0.0.1"]]),
        ) as egress,
    ):
        assert (await call(egress, f"https://inner.example:{door.port}/")).body == b"ok"
        with pytest.raises(EgressRefused):
            await call(egress, f"https://outer.example:{door.port}/")
        assert door.connections == 1
