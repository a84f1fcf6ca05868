"""Whose address a request comes from, when proxies stand in between (pure)."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def normal_address(text: str) -> str:
    """Write an IP address in its one normal form: IPv6 in short, IPv4 never inside it.

    Raises:
        ValueError: It is none.

    """
    return str(parse_address(text))


def parse_address(text: str) -> Address:
    """Read an IP address, without the zone that tells links apart; raises ValueError."""
    address: Address = ipaddress.ip_address(text.partition("%")[0])
    if isinstance(address, ipaddress.IPv6Address):
        return address.ipv4_mapped or address
    return address


def caller_address(
    peer: str | None, forwarded_for: str, trusted: Sequence[Network]
) -> str:
    """Give the caller's address in its normal form; empty where nobody knows it.

    That is the connection's `peer`. If the peer is a trusted proxy, it is the rightmost
    entry of `forwarded_for` that no trusted proxy has: what stands further left is only
    what that caller said. Where all are trusted it is the leftmost, and where the entry
    of a proxy is no address it is the peer.
    """
    connected = parse_entry(peer or "")
    if connected is None:
        return ""
    caller = connected
    for entry in reversed(forwarded_for.split(",")):
        if not is_within(caller, trusted):
            break
        if (found := parse_entry(entry)) is None:
            return str(connected)
        caller = found
    return str(caller)


def is_within(address: Address, networks: Sequence[Network]) -> bool:
    """Say whether an address is in one of the networks."""
    return any(address in network for network in networks)


def parse_entry(entry: str) -> Address | None:
    """Read an entry: an address, perhaps with a port or in brackets; None for garbage."""
    host = entry.strip()
    if host.startswith("["):
        host, _, rest = host[1:].partition("]")
        if rest and not is_port(rest):
            return None
    elif host.count(":") == 1:
        host, colon, port = host.partition(":")
        if not is_port(colon + port):
            return None
    try:
        return parse_address(host)
    except ValueError:
        return None


def is_port(text: str) -> bool:
    """Say whether this is what stands behind an address: a colon and a number."""
    return text[:1] == ":" and text[1:].isascii() and text[1:].isdigit()
