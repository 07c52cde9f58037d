"""Forms of addresses, good and malicious, each called for real while servers on loopback count who dials."""

import pytest

from hubd.egress import Egress, EgressRefused, check_url
from tests.egress_servers import LOOPBACK, OK, Names, answering, call, listening

BEFORE, AT_DIAL, CALLED, GOOD = "refused before", "refused at dial", "called", "good, but not called in a test"
NOTHING: tuple[str, ...] = ()
NAMES: dict[str, list[list[str]]] = {
    "lo_example": [["127.0.0.1"]],
    "lo6_example": [["::1"]],
    "mapped_example": [["::ffff:127.0.0.1"]],
    "zero_example": [["0.0.0.0"]],
    "zero6_example": [["::"]],
    "nat64_example": [["64:ff9b::127.0.0.1"]],
    "metadata_example": [["169.254.169.254"]],
    "private_example": [["10.0.0.1", "192.168.0.1", "fd00::1"]],
    "odd_example": [["127.1"]],
    "number_example": [["2130706433"]],
    "again_example": [["localhost"]],
    "scoped_example": [["::1%1"]],
    "mixed_example": [["127.0.0.1", "127.0.0.2"]],
    "none_example": [[]],
    "localhost": [["127.0.0.1", "::1"]],
    "a_localhost": [["127.0.0.1"]],
    "xn--a": [["127.0.0.1"]],
}

FORMS: list[tuple[str, tuple[str, ...], str]] = [
    # Loopback and its spellings
    ("https://127.0.0.1:{port}/", NOTHING, BEFORE),
    ("https://127.0.0.1/", NOTHING, BEFORE),
    ("https://127.0.0.2:{port}/", NOTHING, BEFORE),
    ("https://127.1:{port}/", NOTHING, BEFORE),
    ("https://127.0.1:{port}/", NOTHING, BEFORE),
    ("https://2130706433:{port}/", NOTHING, BEFORE),
    ("https://0x7f000001:{port}/", NOTHING, BEFORE),
    ("https://0X7F000001:{port}/", NOTHING, BEFORE),
    ("https://0x7f.1:{port}/", NOTHING, BEFORE),
    ("https://0x7f.0.0.0x1:{port}/", NOTHING, BEFORE),
    ("https://0177.0.0.1:{port}/", NOTHING, BEFORE),
    ("https://0177.0.0.01:{port}/", NOTHING, BEFORE),
    ("https://017700000001:{port}/", NOTHING, BEFORE),
    ("https://127.0.0.001:{port}/", NOTHING, BEFORE),
    ("https://127.0.0.1.:{port}/", NOTHING, BEFORE),
    ("https://127.0.0.1..:{port}/", NOTHING, BEFORE),
    ("https://127.1.:{port}/", NOTHING, BEFORE),
    ("https://127.0.0.0x:{port}/", NOTHING, BEFORE),
    ("https://256.256.256.256:{port}/", NOTHING, BEFORE),
    ("https://4294967297:{port}/", NOTHING, BEFORE),
    ("https://127.0.0.1.5:{port}/", NOTHING, BEFORE),
    ("https://host.1:{port}/", NOTHING, BEFORE),
    ("https://%31%32%37.0.0.1:{port}/", NOTHING, BEFORE),
    ("https://127%2e0.0.1:{port}/", NOTHING, BEFORE),
    ("https://127.0.0.1%00.example:{port}/", NOTHING, BEFORE),
    ("https://１２７.0.0.1:{port}/", NOTHING, BEFORE),
    ("https://127。0。0。1:{port}/", NOTHING, BEFORE),
    ("https://①②⑦.⓪.⓪.①:{port}/", NOTHING, BEFORE),
    ("https://ⓛⓞⓒⓐⓛⓗⓞⓢⓣ:{port}/", NOTHING, BEFORE),
    ("https://localhoﬆ:{port}/", NOTHING, BEFORE),
    ("https://loc\u00adalhost:{port}/", NOTHING, BEFORE),
    ("https://0:{port}/", NOTHING, BEFORE),
    ("https://0.0.0.0:{port}/", NOTHING, BEFORE),
    ("https://00000000:{port}/", NOTHING, BEFORE),
    ("https://[::1]:{port}/", NOTHING, BEFORE),
    ("https://[0:0:0:0:0:0:0:1]:{port}/", NOTHING, BEFORE),
    ("https://[0000::0001]:{port}/", NOTHING, BEFORE),
    ("https://[::]:{port}/", NOTHING, BEFORE),
    ("https://[::1%25lo]:{port}/", NOTHING, BEFORE),
    ("https://[::1%lo]:{port}/", NOTHING, BEFORE),
    ("https://[::1%251]:{port}/", ("::1",), BEFORE),
    ("https://[::ffff:127.0.0.1]:{port}/", NOTHING, BEFORE),
    ("https://[::ffff:7f00:1]:{port}/", NOTHING, BEFORE),
    ("https://[0:0:0:0:0:ffff:127.0.0.1]:{port}/", NOTHING, BEFORE),
    ("https://[::127.0.0.1]:{port}/", NOTHING, BEFORE),
    ("https://[::ffff:0:127.0.0.1]:{port}/", NOTHING, BEFORE),
    ("https://[64:ff9b::127.0.0.1]:{port}/", NOTHING, BEFORE),
    ("https://[64:ff9b:1::7f00:1]:{port}/", NOTHING, BEFORE),
    ("https://[2002:7f00:1::]:{port}/", NOTHING, BEFORE),
    ("https://[2001:0:4136:e378:8000:63bf:80ff:fffe]:{port}/", NOTHING, BEFORE),
    ("https://[127.0.0.1]:{port}/", NOTHING, BEFORE),
    ("https://[localhost]:{port}/", NOTHING, BEFORE),
    ("https://[v1.localhost]:{port}/", NOTHING, BEFORE),
    ("https://[::1:{port}/", NOTHING, BEFORE),
    ("https://::1:{port}/", NOTHING, BEFORE),
    ("https://[::1]x:{port}/", NOTHING, BEFORE),
    # Special ranges
    ("https://10.0.0.1/", NOTHING, BEFORE),
    ("https://172.16.0.1/", NOTHING, BEFORE),
    ("https://192.168.1.1/", NOTHING, BEFORE),
    ("https://169.254.169.254/latest/meta-data/", NOTHING, BEFORE),
    ("https://[::ffff:169.254.169.254]/", NOTHING, BEFORE),
    ("https://[fd00:ec2::254]/", NOTHING, BEFORE),
    ("https://100.64.0.1/", NOTHING, BEFORE),
    ("https://198.18.0.1/", NOTHING, BEFORE),
    ("https://224.0.0.1/", NOTHING, BEFORE),
    ("https://240.0.0.1/", NOTHING, BEFORE),
    ("https://255.255.255.255/", NOTHING, BEFORE),
    ("https://[fe80::1]/", NOTHING, BEFORE),
    ("https://[fe80::1%25eth0]/", NOTHING, BEFORE),
    ("https://[fc00::1]/", NOTHING, BEFORE),
    ("https://[ff02::1]/", NOTHING, BEFORE),
    ("https://[2001:db8::1]/", NOTHING, BEFORE),
    # Schemes
    ("http://127.0.0.1:{port}/", NOTHING, BEFORE),
    ("http://localhost:{port}/", NOTHING, BEFORE),
    ("http://lo.example:{port}/", NOTHING, BEFORE),
    ("http://8.8.8.8/", NOTHING, BEFORE),
    ("ws://127.0.0.1:{port}/", ("127.0.0.1",), BEFORE),
    ("tcp://127.0.0.1:{port}/", ("127.0.0.1",), BEFORE),
    ("file:///etc/passwd", NOTHING, BEFORE),
    ("ftp://localhost/", ("localhost",), BEFORE),
    ("gopher://localhost:{port}/", ("localhost",), BEFORE),
    ("unix:///run/docker.sock", NOTHING, BEFORE),
    ("http+unix://%2Frun%2Fdocker.sock/", NOTHING, BEFORE),
    ("data:text/plain,x", NOTHING, BEFORE),
    ("//localhost:{port}/", ("localhost",), BEFORE),
    ("localhost:{port}", ("localhost",), BEFORE),
    ("/path", NOTHING, BEFORE),
    ("", NOTHING, BEFORE),
    ("https:", NOTHING, BEFORE),
    ("https://", NOTHING, BEFORE),
    ("https:///localhost", NOTHING, BEFORE),
    ("https:localhost:{port}", NOTHING, BEFORE),
    ("https:/localhost:{port}/", NOTHING, BEFORE),
    ("view-source:https://example.com/", NOTHING, BEFORE),
    # Users, fragments, and other tricks with what belongs where
    ("https://user:s3cret@example.com/", NOTHING, BEFORE),
    ("https://user@localhost:{port}/", ("localhost",), BEFORE),
    ("https://@localhost:{port}/", ("localhost",), BEFORE),
    ("https://:s3cret@localhost:{port}/", ("localhost",), BEFORE),
    ("https://example.com@127.0.0.1:{port}/", NOTHING, BEFORE),
    ("https://example.com:443@127.0.0.1:{port}/?s3cret", NOTHING, BEFORE),
    ("https://127.0.0.1:{port}@example.com/", NOTHING, BEFORE),
    ("https://a@b@127.0.0.1:{port}/", NOTHING, BEFORE),
    ("https://example.com%40127.0.0.1:{port}/", NOTHING, BEFORE),
    ("https://example.com#@127.0.0.1:{port}/", NOTHING, BEFORE),
    ("https://example.com/#s3cret", NOTHING, BEFORE),
    ("https://example.com/#", NOTHING, BEFORE),
    ("https://example.com\\@127.0.0.1:{port}/", NOTHING, BEFORE),
    ("https://127.0.0.1:{port}\\@example.com/", NOTHING, BEFORE),
    ("https:\\\\127.0.0.1:{port}\\", NOTHING, BEFORE),
    ("https://example.com/\\..\\s3cret", NOTHING, BEFORE),
    # White space and control characters
    (" https://127.0.0.1:{port}/", ("127.0.0.1",), BEFORE),
    ("https://127.0.0.1:{port}/ ", ("127.0.0.1",), BEFORE),
    ("\thttp://127.0.0.1:{port}/", ("127.0.0.1",), BEFORE),
    ("ht\ntp://127.0.0.1:{port}/", ("127.0.0.1",), BEFORE),
    ("http://127.0.0.1:{port}/\r\nX-Evil: s3cret", ("127.0.0.1",), BEFORE),
    ("http://127.0.0.1:{port}/ HTTP/1.1\r\n\r\n", ("127.0.0.1",), BEFORE),
    ("http://127.0.0.1\x00.example.com:{port}/", ("127.0.0.1",), BEFORE),
    ("http://127.0.0.1:{port}/\x7f", ("127.0.0.1",), BEFORE),
    ("http://127.0.0.1:{port}/\u2028", ("127.0.0.1",), BEFORE),
    ("http://127.0.0.1:{port}/\ud800", ("127.0.0.1",), BEFORE),
    ("https://local host:{port}/", NOTHING, BEFORE),
    # Ports and names that are none
    ("https://example.com:0/", NOTHING, BEFORE),
    ("https://example.com:65536/", NOTHING, BEFORE),
    ("https://example.com:-1/", NOTHING, BEFORE),
    ("https://example.com:/", NOTHING, BEFORE),
    ("https://example.com:٨٠/", NOTHING, BEFORE),
    ("https://example.com:1:2/", NOTHING, BEFORE),
    ("https://example.com.:{port}/", NOTHING, BEFORE),
    ("https://.example.com/", NOTHING, BEFORE),
    ("https://example..com/", NOTHING, BEFORE),
    ("https://*.example.com/", NOTHING, BEFORE),
    ("https://a,b/", NOTHING, BEFORE),
    ("https://-a.example/", NOTHING, BEFORE),
    ("https://" + "a" * 64 + ".example/", NOTHING, BEFORE),
    ("https://" + "a." * 126 + "example/", NOTHING, BEFORE),
    ("https://example.com/" + "a" * 2048, NOTHING, BEFORE),
    # Names: only the dial shows where they lead
    ("https://localhost:{port}/", NOTHING, AT_DIAL),
    ("https://LOCALHOST:{port}/", NOTHING, AT_DIAL),
    ("https://a.localhost:{port}/", NOTHING, AT_DIAL),
    ("https://lo.example:{port}/?s3cret", NOTHING, AT_DIAL),
    ("https://lo6.example:{port}/", NOTHING, AT_DIAL),
    ("https://mapped.example:{port}/", NOTHING, AT_DIAL),
    ("https://zero.example:{port}/", NOTHING, AT_DIAL),
    ("https://zero6.example:{port}/", NOTHING, AT_DIAL),
    ("https://nat64.example:{port}/", NOTHING, AT_DIAL),
    ("https://metadata.example/", NOTHING, AT_DIAL),
    ("https://private.example/", NOTHING, AT_DIAL),
    ("https://odd.example:{port}/", NOTHING, AT_DIAL),
    ("https://number.example:{port}/", NOTHING, AT_DIAL),
    ("https://again.example:{port}/", NOTHING, AT_DIAL),
    ("https://scoped.example:{port}/", NOTHING, AT_DIAL),
    ("https://mixed.example:{port}/", NOTHING, AT_DIAL),
    ("https://xn--a:{port}/", NOTHING, AT_DIAL),
    # What is listed is for itself alone
    ("https://lo.example:{port}/", ("localhost", "lo6.example", "10.0.0.0/8"), AT_DIAL),
    ("https://127.0.0.1:{port}/", ("localhost", "lo.example"), BEFORE),
    ("http://127.0.0.1:{port}/", ("127.0.0.2",), BEFORE),
    ("http://127.1:{port}/", ("127.0.0.0/8",), BEFORE),
    ("http://2130706433:{port}/", ("127.0.0.1",), BEFORE),
    ("http://[::1]:{port}/", ("127.0.0.0/8",), BEFORE),
    ("http://[64:ff9b::127.0.0.1]:{port}/", ("127.0.0.0/8",), BEFORE),
    ("http://lo.example:{port}/", ("127.0.0.0/8",), BEFORE),  # where the name leads is not known yet
    ("http://sub.lo.example:{port}/", ("lo.example",), BEFORE),
    ("http://localhost.:{port}/", ("localhost",), BEFORE),
    ("http://127.0.0.1:{port}/", ("127.0.0.1",), CALLED),
    ("http://127.0.0.2:{port}/", ("127.0.0.0/8",), CALLED),
    ("HTTP://127.0.0.1:{port}", ("127.0.0.1/32",), CALLED),
    ("http://[::1]:{port}/", ("::1",), CALLED),
    ("http://[0:0::1]:{port}/", ("::1",), CALLED),
    ("http://[::ffff:127.0.0.1]:{port}/", ("127.0.0.1",), CALLED),
    ("http://localhost:{port}/a?b=s3cret", ("localhost",), CALLED),
    ("http://LocalHost:{port}/", ("LOCALHOST",), CALLED),
    ("http://lo.example:{port}/?@127.0.0.2/", ("lo.example",), CALLED),
    ("http://lo6.example:{port}/@", ("lo6.example",), CALLED),
    ("http://mixed.example:{port}/%0d%0aX:%20y", ("mixed.example",), CALLED),
    # Good ones, to hosts out there: judged alone
    ("https://8.8.8.8/", NOTHING, GOOD),
    ("https://8.8.8.8:8443/hook?token=1", NOTHING, GOOD),
    ("https://[2606:4700:4700::1111]/", NOTHING, GOOD),
    ("https://[64:ff9b::8.8.8.8]/", NOTHING, GOOD),
    ("https://example.com", NOTHING, GOOD),
    ("HTTPS://Hooks.Example.com/a", NOTHING, GOOD),
    ("https://xn--bcher-kva.example/", NOTHING, GOOD),
    ("https://my_hooks.example.com/?next=http://127.0.0.1/", NOTHING, GOOD),
    ("https://127.0.0.1.example.com/", NOTHING, GOOD),
    ("https://0x7f.example.com/", NOTHING, GOOD),
    ("http://hooks.example.com/", ("hooks.example.com",), GOOD),
]  # fmt: skip


def name_of(form: tuple[str, tuple[str, ...], str]) -> str:
    return ascii(form[0])[1:60] + (f" allowing {','.join(form[1])}" if form[1] else "")


@pytest.mark.parametrize(("text", "allow", "verdict"), FORMS, ids=map(name_of, FORMS))
async def test_every_form_of_an_address(text: str, allow: tuple[str, ...], verdict: str) -> None:
    async with listening(answering(OK), LOOPBACK) as door:
        url = text.replace("{port}", str(door.port))
        egress = Egress(allow, resolver=Names(**NAMES))
        try:
            if verdict == BEFORE:
                refusal = refused_text(url, allow)
            else:
                assert str(check_url(url, allow)).lower().startswith(url[:7].lower())
                refusal = ""
            if verdict in (BEFORE, AT_DIAL):
                with pytest.raises(EgressRefused) as refused:
                    await call(egress, url)
                assert "s3cret" not in f"{refused.value}{refusal}"
                assert refused.value.__context__ is None or verdict == BEFORE
            elif verdict == CALLED:
                assert (await call(egress, url)).status == 200
        finally:
            await egress.close()
        assert door.connections == (1 if verdict == CALLED else 0)


def refused_text(url: str, allow: tuple[str, ...]) -> str:
    with pytest.raises(EgressRefused) as refused:
        check_url(url, allow)
    return str(refused.value)


def test_there_are_more_than_a_hundred_different_ones() -> None:
    assert len({(text, allow) for text, allow, _ in FORMS}) == len(FORMS) > 100


async def test_the_systems_own_names_of_this_machine_are_refused_at_dial() -> None:
    async with listening(answering(OK), LOOPBACK) as door:
        egress = Egress()
        try:
            with pytest.raises(EgressRefused, match="leads to an address that is not public"):
                await call(egress, f"https://localhost:{door.port}/")
        finally:
            await egress.close()
        assert door.connections == 0


async def test_the_systems_own_names_are_called_when_listed() -> None:
    async with listening(answering(OK), LOOPBACK) as door:
        egress = Egress(["localhost"])
        try:
            assert (await call(egress, f"http://localhost:{door.port}/")).body == b"ok"
        finally:
            await egress.close()
        assert door.connections == 1
