"""Who may enter: the door as AILB_AUTH sets it, and the key a request carries."""

from __future__ import annotations

import hmac
import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

from gateway.crypto import digest
from gateway.errors import AuthenticationFailed

LOCAL_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})
# A request that came through a proxy is not local, whatever its peer's address.
FORWARDING_HEADERS = (
    "forwarded",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-proto",
    "x-real-ip",
    "via",
)
NO_KEY = (
    "You did not provide an API key. Send it as 'Authorization: Bearer KEY'; whoever runs "
    "this AILB has it."
)
WRONG_KEY = "The API key you provided is not valid here."


@dataclass(frozen=True, slots=True)
class Principal:
    """Who a request is from; `key_id` is None for the anonymous tenant."""

    tenant: str
    key_id: str | None = None


ANONYMOUS = Principal(tenant="anonymous")


class Visitor(Protocol):
    """What authentication needs to see of a request; header names are lower-case."""

    @property
    def headers(self) -> Mapping[str, str]:
        """Header values by lower-case name."""
        ...

    @property
    def peer(self) -> str | None:
        """The address of the other end of the connection."""
        ...


@dataclass(frozen=True, slots=True)
class Door:
    """Whom this server lets in.

    `mode` is `auto`, `required` or `open`. `digests` are those of the active keys, None
    of them plain. `is_local` says that the server is bound to loopback.
    """

    mode: str
    is_local: bool
    pepper: str = field(repr=False)
    digests: tuple[str, ...] = field(default=(), repr=False)

    @property
    def is_anonymous_allowed(self) -> bool:
        """Whether some requests are served without a key."""
        return self.mode == "open" or (
            self.mode == "auto" and self.is_local and not self.digests
        )

    def describe(self) -> str:
        """Say in one line which door is open."""
        if self.mode == "open":
            return "OPEN: everybody who reaches this server is served, without a key"
        if self.is_anonymous_allowed:
            return "local: requests from this machine are served without a key"
        return "closed: every request needs an API key"

    def authenticate(self, visitor: Visitor) -> Principal:
        """Find out who a request is from.

        Raises:
            AuthenticationFailed: It carries no key, or a wrong one, and needs one.

        """
        if self.mode == "open":
            return ANONYMOUS
        if self.is_anonymous_allowed:
            if is_local(visitor):
                return ANONYMOUS
            raise AuthenticationFailed(NO_KEY)
        token = bearer(visitor.headers)
        if not token:
            raise AuthenticationFailed(NO_KEY)
        given = digest(token, self.pepper)
        # Every digest is compared, so that the time says nothing about which is near.
        matches = [hmac.compare_digest(given, known) for known in self.digests]
        if not any(matches):
            raise AuthenticationFailed(WRONG_KEY)
        return Principal(tenant="default", key_id=given[:12])


def bearer(headers: Mapping[str, str]) -> str:
    """Read the key from Authorization, or from x-api-key; empty if there is none."""
    scheme, _, token = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        return token.strip()
    return headers.get("x-api-key", "").strip()


def is_local(visitor: Visitor) -> bool:
    """Say whether a request surely comes from a program on this machine.

    Peer and Host are local, no proxy has touched it, and no web page of another origin
    has sent it: Host guards against names that rebind to loopback.
    """
    if not is_loopback(visitor.peer or ""):
        return False
    if any(name in visitor.headers for name in FORWARDING_HEADERS):
        return False
    host = host_name(visitor.headers.get("host", ""))
    if host not in LOCAL_NAMES:
        return False
    origin = visitor.headers.get("origin")
    return origin is None or host_name(urlsplit(origin).netloc) in LOCAL_NAMES


def host_name(netloc: str) -> str:
    """Strip port and brackets off a host."""
    try:
        return (urlsplit(f"//{netloc}").hostname or "").lower()
    except ValueError:
        return ""


def is_loopback(address: str) -> bool:
    """Say whether an address is this machine's own; names count, too."""
    if address == "localhost":
        return True
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return False
    if isinstance(ip, ipaddress.IPv6Address) and ip.ipv4_mapped:
        return ip.ipv4_mapped.is_loopback
    return ip.is_loopback


def make_door(
    *, mode: str, host: str, pepper: str, api_key: str, key_file: Path
) -> Door:
    """Build the door from settings: the environment's key and the kept first key."""
    digests = [digest(api_key, pepper)] if api_key else []
    if key_file.exists():
        digests.append(key_file.read_text(encoding="utf-8").strip())
    return Door(
        mode=mode, is_local=is_loopback(host), pepper=pepper, digests=tuple(digests)
    )
