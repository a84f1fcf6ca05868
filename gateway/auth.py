"""Who may enter: the door as AILB_AUTH sets it, and the key a request carries."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol
from urllib.parse import urlsplit

from gateway.access import Access, ApiKey, Budget, KeyRing, Limit, Tenant
from gateway.crypto import digest, is_junk
from gateway.errors import AuthenticationFailed, KeyUncheckable, PermissionDenied
from gateway.kinds import Right

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
UNCHECKABLE = (
    "The API key cannot be checked at the moment. Keep it, and send the request again."
)
ANONYMOUS = "anonymous"  # the tenant of those who need no key
ANONYMOUS_RIGHTS = frozenset(
    {Right.CHAT, Right.EMBEDDINGS, Right.MEMORY, Right.DOCUMENTS}
)


@dataclass(frozen=True, slots=True)
class Principal:
    """Who a request is from; `key` is None for the anonymous tenant."""

    tenant: Tenant
    rights: frozenset[Right]
    key: ApiKey | None = None

    @property
    def limits(self) -> tuple[Limit, ...]:
        """The limits of its key and tenant."""
        return (
            self.tenant.limits
            if self.key is None
            else self.key.limits + self.tenant.limits
        )

    @property
    def budgets(self) -> tuple[Budget, ...]:
        """The budgets of its key and tenant."""
        return (
            self.tenant.budgets
            if self.key is None
            else self.key.budgets + self.tenant.budgets
        )

    @property
    def models(self) -> frozenset[str] | None:
        """Names of the models it may ask for; None for all."""
        return None if self.key is None else self.key.models

    def require(self, right: Right) -> None:
        """Let it pass only with this right.

        Raises:
            PermissionDenied: It lacks it; the message names the right.

        """
        if right in self.rights:
            return
        if self.key is None:
            raise PermissionDenied(
                f"Requests without an API key may not do this: it takes a key with the "
                f"right '{right}'."
            )
        raise PermissionDenied(f"This API key does not have the right '{right}'.")


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

    `mode` is `auto`, `required` or `open`. `is_local` says that the server is bound to
    loopback. `has_initial_key` says that a key was given in the environment, which may
    not be among the rows yet.
    """

    mode: str
    is_local: bool
    has_initial_key: bool = False

    def is_anonymous_allowed(self, access: Access) -> bool:
        """Say whether some requests are served without a key.

        In `auto` until there is the first key, and never again after it: an operator
        who revokes the last key does not mean to let everybody in.
        """
        if self.mode == "open":
            return True
        is_first_key_made = self.has_initial_key or not access.keys.is_empty
        return self.mode == "auto" and self.is_local and not is_first_key_made

    def describe(self, access: Access) -> str:
        """Say in one line which door is open."""
        if self.mode == "open":
            return "OPEN: everybody who reaches this server is served, without a key"
        if self.is_anonymous_allowed(access):
            return "local: requests from this machine are served without a key"
        return "closed: every request needs an API key"

    def authenticate(
        self, visitor: Visitor, access: Access, *, now_s: float, is_current: bool
    ) -> Principal:
        """Find out who a request is from; `now_s` is unix time.

        `is_current` says that `access` surely holds every key there is: while the
        database is away, a key that is not found may be a new one.

        Raises:
            AuthenticationFailed: It carries no key, or a wrong one, and needs one.
            KeyUncheckable: Its key cannot be checked now.

        """
        if self.mode == "open":
            key = found_key(bearer(visitor.headers), access.keys, now_s=now_s)
            return anonymous(access) if key is None else principal_of(key)
        if self.is_anonymous_allowed(access):
            if is_local(visitor):
                return anonymous(access)
            raise AuthenticationFailed(NO_KEY)
        token = bearer(visitor.headers)
        if not token:
            raise AuthenticationFailed(NO_KEY)
        if is_junk(token):
            raise AuthenticationFailed(WRONG_KEY)
        key = found_key(token, access.keys, now_s=now_s)
        if key is not None:
            return principal_of(key)
        if access.keys.is_unreadable or not is_current:
            raise KeyUncheckable(UNCHECKABLE)
        raise AuthenticationFailed(WRONG_KEY)


def found_key(token: str, ring: KeyRing, *, now_s: float) -> ApiKey | None:
    """Find the key of a token by its digest; None if it opens nothing, or no more.

    The look-up's time depends on the digest alone, which nobody can aim at without the
    pepper.
    """
    if ring.pepper is None or not token:
        return None
    found = ring.keys.get(digest(token, ring.pepper))
    if found is None:
        return None
    key, ends_s = found
    return key if ends_s is None or now_s < ends_s else None


def principal_of(key: ApiKey) -> Principal:
    """Give the principal of a key."""
    return Principal(tenant=key.tenant, rights=key.rights, key=key)


def anonymous(access: Access) -> Principal:
    """Give the principal of a request without a key.

    Raises:
        AuthenticationFailed: The operator has disabled the anonymous tenant.

    """
    tenant = access.tenants.get(ANONYMOUS)
    if tenant is None:
        raise AuthenticationFailed(NO_KEY)
    return Principal(tenant=tenant, rights=ANONYMOUS_RIGHTS)


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


def make_door(*, mode: str, host: str, api_key: str) -> Door:
    """Build the door from what the settings say; `host` is where the server is bound."""
    return Door(mode=mode, is_local=is_loopback(host), has_initial_key=bool(api_key))
