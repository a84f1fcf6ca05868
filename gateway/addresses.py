"""Which addresses a provider may have: guards against server-side request forgery (pure).

Private and loopback addresses are allowed, for models on the operator's own machines.
Refused are metadata services, link-local, unspecified, multicast and reserved ones,
in every spelling, because a credential would be sent there.
"""

from __future__ import annotations

import ipaddress
import socket
from urllib.parse import SplitResult, urlsplit

METADATA = frozenset(
    {
        ipaddress.ip_address("100.100.100.200"),  # Alibaba Cloud
        ipaddress.ip_address("fd00:ec2::254"),  # AWS over IPv6
        ipaddress.ip_address("192.0.0.192"),  # Oracle Cloud
    }
)
NAT64 = ipaddress.ip_network("64:ff9b::/96")  # RFC 6052
METADATA_NAMES = frozenset({"metadata", "metadata.google.internal", "instance-data"})

DEFAULT_PORTS = {"http": 80, "https": 443}

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address


class AddressRefused(ValueError):
    """An address that a provider may not have; the text says why."""


def check_ip(text: str) -> None:
    """Refuse an IP address that no provider may have.

    Raises:
        AddressRefused: It is one.

    """
    address: IPAddress = ipaddress.ip_address(text.partition("%")[0])
    if isinstance(address, ipaddress.IPv6Address):
        address = embedded_ipv4(address) or address
    if (
        address in METADATA
        or address.is_link_local
        or address.is_unspecified
        or address.is_multicast
        or address in ipaddress.ip_network("0.0.0.0/8")
        or address == ipaddress.ip_address("255.255.255.255")
    ):
        raise AddressRefused(f"The address {address} may not be a provider's.")


def embedded_ipv4(address: ipaddress.IPv6Address) -> ipaddress.IPv4Address | None:
    """Give the IPv4 address that a mapped, 6to4, NAT64 or compatible one stands for."""
    if found := address.ipv4_mapped or address.sixtofour:
        return found
    low = int(address) & 0xFFFFFFFF
    is_compatible = int(address) == low and low > 1  # but :: and ::1, IPv6's own
    return ipaddress.IPv4Address(low) if address in NAT64 or is_compatible else None


def literal_ip(host: str) -> str | None:
    """Read a host that is an IP address in any spelling the C library takes.

    `2130706433`, `0x7f.1` and `017700000001` are all 127.0.0.1 to `connect`.
    """
    try:
        return str(ipaddress.ip_address(host.partition("%")[0]))
    except ValueError:
        pass
    try:
        return socket.inet_ntoa(socket.inet_aton(host))
    except (OSError, ValueError):  # a null character is a ValueError
        return None


def check_url(url: str) -> SplitResult:
    """Check a provider's base URL as far as it can be without resolving its name.

    Names are checked again, address by address, when they are resolved for a
    connection.

    Raises:
        AddressRefused: Not http(s), with user, query or fragment, or to a host that no
            provider may have.

    """
    if " " in url or not url.isprintable() or "\\" in url:
        raise AddressRefused("Blanks, backslashes and control characters are refused.")
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        raise AddressRefused(f"This is not a URL: {error}.") from error
    if parts.scheme not in {"http", "https"} or not host:
        raise AddressRefused("Allowed is http://host or https://host, with a path.")
    if "@" in parts.netloc or parts.query or parts.fragment:
        raise AddressRefused("User, query and fragment are refused in a base URL.")
    check_host(host)
    return parts


def origin(url: str) -> tuple[str, str | None, int | None]:
    """Give scheme, host and port of a checked address."""
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port or DEFAULT_PORTS.get(parts.scheme)


def check_host(host: str) -> None:
    """Refuse a host name or literal address that no provider may have."""
    try:
        name = host.encode("idna").decode().lower().rstrip(".")
    except UnicodeError as error:
        raise AddressRefused(f"{host!r} is not a host name.") from error
    if name in METADATA_NAMES:
        raise AddressRefused(f"{host!r} is a metadata service.")
    if (address := literal_ip(name)) is not None:
        check_ip(address)
