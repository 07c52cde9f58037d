"""The authority for tests: whoever trusts it talks TLS to its servers by each name, and nobody else does."""

import asyncio
import ssl
from pathlib import Path

import pytest

from hubd.testing.authority import Authority


@pytest.mark.parametrize("name", ["localhost", "127.0.0.1", "push.example.com"])
async def test_its_server_is_believed_by_its_names(name: str, tmp_path: Path) -> None:
    authority = Authority(tmp_path, ("push.example.com",))
    context = authority.client_context()
    context.verify_flags |= ssl.VERIFY_X509_STRICT  # as Python 3.13 has it by itself
    context.set_alpn_protocols(["h2"])
    server = await asyncio.start_server(
        lambda reader, writer: writer.close(), "127.0.0.1", 0, ssl=authority.server_context("h2")
    )
    port = server.sockets[0].getsockname()[1]
    _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context, server_hostname=name)
    assert writer.get_extra_info("ssl_object").selected_alpn_protocol() == "h2"
    writer.transport.abort()
    for other, hostname in ((context, "other.example.com"), (ssl.create_default_context(), name)):
        with pytest.raises(ssl.SSLCertVerificationError):
            await asyncio.open_connection("127.0.0.1", port, ssl=other, server_hostname=hostname)
    server.close()
    await server.wait_closed()


def test_its_key_is_for_its_owner_alone(tmp_path: Path) -> None:
    Authority(tmp_path)
    assert (tmp_path / "server-key.pem").stat().st_mode & 0o777 == 0o600
