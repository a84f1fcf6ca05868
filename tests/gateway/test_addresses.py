"""Which addresses a provider may have, in every spelling."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given, strategies as st

from gateway.addresses import (
    AddressRefused,
    check_host,
    check_ip,
    check_url,
    literal_ip,
)

REFUSED = [
    # AWS, Azure, Google: 169.254.169.254, and all of its spellings
    "http://169.254.169.254",
    "http://169.254.169.254/latest/meta-data/",
    "https://169.254.169.254:8443/v1",
    "http://2852039166",
    "http://0xA9FEA9FE",
    "http://0xa9fea9fe:80/v1",
    "http://0xA9.0xFE.0xA9.0xFE",
    "http://0251.0376.0251.0376",
    "http://025177524776",
    "http://169.254.43518",
    "http://169.16689662",
    "http://0xA9.254.0251.254",
    "http://169.254.0xA9FE",
    "http://[::ffff:169.254.169.254]",
    "http://[::ffff:a9fe:a9fe]/v1",
    "http://[0:0:0:0:0:ffff:a9fe:a9fe]",
    "http://[2002:a9fe:a9fe::]",
    "http://[2002:a9fe:a9fe::1]/v1",
    "http://[64:ff9b::169.254.169.254]",
    "http://[64:ff9b::a9fe:a9fe]/v1",
    "http://[::169.254.169.254]",
    "http://169.254.169.254.",
    "http://\uff11\uff16\uff19.\uff12\uff15\uff14.\uff11\uff16\uff19.\uff12\uff15\uff14",
    "http://①⑥⑨.②⑤④.①⑥⑨.②⑤④",
    "http://169。254。169。254",
    "http://169.254.170.2/v2/credentials",
    "http://169.254.0.1",
    "http://[fe80::1]",
    "http://[fe80::1%25eth0]/v1",
    "http://[fd00:ec2::254]/latest",
    "http://[fd00:0ec2:0:0:0:0:0:254]",
    "http://100.100.100.200",
    "http://0x64.0x64.0x64.0xc8",
    "http://1684301000",
    "http://[::ffff:100.100.100.200]",
    "http://192.0.0.192",
    "http://metadata.google.internal/computeMetadata/v1",
    "http://METADATA.google.internal",
    "http://metadata.google.internal./v1",
    "http://metadata",
    "http://instance-data/latest",
    "http://\uff4detadata.google.internal",
    # nobody's
    "http://0.0.0.0:11434",
    "http://0",
    "http://0x0",
    "http://00000",
    "http://0.1.2.3",
    "http://[::]:11434",
    "http://[::ffff:0.0.0.0]",
    "http://224.0.0.1",
    "http://239.255.255.250:1900",
    "http://[ff02::1]",
    "http://255.255.255.255",
    "http://4294967295",
    # not an address of ours to call
    "ftp://example.org",
    "file:///etc/passwd",
    "gopher://127.0.0.1:6379/_x",
    "//example.org",
    "example.org/v1",
    "http://",
    "http:///v1",
    "http://user@example.org",
    "http://user:secret@example.org/v1",
    "http://example.org@169.254.169.254/",
    "http://example.org/v1?x=1",
    "http://example.org/v1#x",
    "http://example.org\\@169.254.169.254/",
    "http://example.org\t/v1",
    " http://example.org",
    "http://example.org ",
    "http://exa mple.org",
    "http://example.org\n",
    "http://example.org:99999",
    "http://example.org:port",
    "http://[::1",
    "http://[not-an-address]",
    "http://" + "a" * 64 + ".org",
    "",
]
ALLOWED = [
    "https://api.openai.com/v1",
    "https://api.anthropic.com",
    "http://localhost:11434",
    "http://127.0.0.1:8000/v1",
    "http://2130706433:8000/v1",
    "http://[::1]:11434",
    "http://[::ffff:127.0.0.1]:11434",
    "http://10.1.2.3/v1",
    "http://172.16.0.9:8080",
    "http://192.168.1.20:11434",
    "http://[fd12:3456::1]/v1",
    "http://100.64.0.1/v1",
    "https://8.8.8.8",
    "http://ollama:11434",
    "http://ollama.svc.cluster.local",
    "https://bücher.example/v1",
    "HTTPS://API.EXAMPLE.ORG/V1",
    "http://metadata.example.org/v1",
]


@pytest.mark.parametrize("url", REFUSED)
def test_an_address_that_no_provider_may_have_is_refused(url: str) -> None:
    with pytest.raises(AddressRefused):
        check_url(url)


@pytest.mark.parametrize("url", ALLOWED)
def test_public_private_and_loopback_addresses_are_allowed(url: str) -> None:
    check_url(url)


def test_there_are_as_many_spellings_as_promised() -> None:
    assert len(set(REFUSED)) >= 60


@given(st.integers(0, 2**32 - 1))
def test_every_spelling_of_an_ipv4_address_is_read_alike(number: int) -> None:
    plain = str(ipaddress.IPv4Address(number))
    first, rest = number >> 24, number & 0xFFFFFF
    for spelling in (
        plain,
        str(number),
        hex(number),
        f"{first}.{rest}",
        f"0{number:o}",
    ):
        assert literal_ip(spelling) == plain


@given(st.integers(0, 2**32 - 1))
def test_an_embedded_ipv4_address_is_judged_like_itself(number: int) -> None:
    plain = ipaddress.IPv4Address(number)

    def is_refused(text: str) -> bool:
        try:
            check_ip(text)
        except AddressRefused:
            return True
        return False

    verdict = is_refused(str(plain))
    assert is_refused(f"::ffff:{plain}") == verdict
    assert is_refused(f"64:ff9b::{plain}") == verdict


@given(st.text())
def test_any_text_is_allowed_or_refused_but_nothing_else(text: str) -> None:
    for check, value in (
        (check_url, text),
        (check_url, f"http://{text}"),
        (check_host, text),
    ):
        try:
            check(value)
        except AddressRefused:
            continue
