"""The caller's address: whose word about it is believed, and how it is written."""

from __future__ import annotations

from ipaddress import ip_address, ip_network

import pytest
from hypothesis import given, strategies as st

from gateway.caller_address import caller_address, normal_address
from gateway.views.base import Visitor

TRUSTED = tuple(map(ip_network, ("10.0.0.0/8", "127.0.0.1", "fd00::/8")))
PROXY = "10.0.0.1"


@pytest.mark.parametrize(
    ("peer", "forwarded_for", "caller"),
    [
        ("203.0.113.7", "", "203.0.113.7"),
        ("203.0.113.7", "198.51.100.1", "203.0.113.7"),  # whom nobody trusts
        (PROXY, "", PROXY),
        (PROXY, "198.51.100.1", "198.51.100.1"),
        (PROXY, "1.1.1.1, 198.51.100.1", "198.51.100.1"),  # the left is the caller's
        (PROXY, "1.1.1.1,198.51.100.1 , 10.9.9.9", "198.51.100.1"),
        (PROXY, "10.0.0.3, 10.0.0.2", "10.0.0.3"),  # a caller among the trusted
        (PROXY, "198.51.100.1:4711", "198.51.100.1"),
        (PROXY, "2001:DB8::0:1", "2001:db8::1"),
        (PROXY, "[2001:db8::1]", "2001:db8::1"),
        (PROXY, "[2001:db8::1]:4711", "2001:db8::1"),
        (PROXY, "::ffff:198.51.100.1", "198.51.100.1"),
        (PROXY, "fe80::1%eth0", "fe80::1"),
        ("::ffff:10.0.0.1", "198.51.100.1", "198.51.100.1"),
        ("fd00::5", "198.51.100.1", "198.51.100.1"),
        (PROXY, "unknown", PROXY),
        (PROXY, "198.51.100.1, unknown", PROXY),  # never past what is no address
        (PROXY, "198.51.100.1, _secret, 10.0.0.2", PROXY),
        (PROXY, "198.51.100.1:http", PROXY),
        (PROXY, "[2001:db8::1]x", PROXY),
        (PROXY, "[2001:db8::1", "2001:db8::1"),
        (PROXY, "198.51.100.1,", PROXY),
        (PROXY, "198.51.100.256", PROXY),
        (None, "198.51.100.1", ""),
        ("/run/ailb.sock", "198.51.100.1", ""),
    ],
)
def test_the_caller_is_the_peer_or_who_a_trusted_proxy_says(
    peer: str | None, forwarded_for: str, caller: str
) -> None:
    assert caller_address(peer, forwarded_for, TRUSTED) == caller


def test_without_trusted_proxies_the_header_says_nothing() -> None:
    assert caller_address("127.0.0.1", "198.51.100.1", ()) == "127.0.0.1"


@given(st.text(), st.ip_addresses().map(str), st.text())
def test_nothing_that_a_caller_writes_hides_the_address_that_a_proxy_adds(
    forged: str, own: str, ending: str
) -> None:
    address = normal_address(own)
    if ip_address(address) in TRUSTED[0] or ip_address(address) in TRUSTED[2]:
        return
    assert caller_address(PROXY, f"{forged},{own}", TRUSTED) in {address, PROXY}
    assert caller_address(own, forged, ()) == address
    caller_address(PROXY, ending, TRUSTED)  # whatever comes, it is read


def test_a_header_on_several_lines_is_one_list() -> None:
    lines = [
        (b"x-forwarded-for", b"1.1.1.1"),
        (b"host", b"a"),
        (b"x-forwarded-for", b"198.51.100.1"),
    ]
    visitor = Visitor({"headers": lines, "client": [PROXY, 4711]})
    assert visitor.address(TRUSTED) == "198.51.100.1"
    assert visitor.address(()) == PROXY
    assert Visitor({"headers": lines, "client": None}).address(TRUSTED) == ""


@pytest.mark.parametrize("text", ["", "localhost", "1.2.3", "10.0.0.0/8", "1.2.3.4 "])
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="does not appear to be"):
        normal_address(text)
