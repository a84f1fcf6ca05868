"""Who may enter: the door as AILB_AUTH sets it, and the key a request carries."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, field
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
FoundKey = tuple[ApiKey, float | None]  # a key, and its end in unix time
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
        key = self.key
        return self.tenant.limits if key is None else key.limits + self.tenant.limits

    @property
    def budgets(self) -> tuple[Budget, ...]:
        """The budgets of its key and tenant."""
        key = self.key
        return self.tenant.budgets if key is None else key.budgets + self.tenant.budgets

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


class Regulars:
    """Who has been let in, by token: a key is checked once and then known.

    Only what opened the door is remembered, and only for as long as the key ring is the
    same object: every change of the configuration makes a new one.
    """

    __slots__ = ("_by_token", "_ring")
    MOST = 4096  # tokens; with more it begins anew

    def __init__(self) -> None:
        """Know nobody."""
        self._by_token: dict[str, tuple[Principal, float | None]] = {}
        self._ring: KeyRing | None = None

    def find(self, token: str, ring: KeyRing, *, now_s: float) -> Principal | None:
        """Give who came with this token before, unless its key has ended since."""
        known = self._by_token.get(token) if self._ring is ring else None
        if known is None:
            return None
        principal, ends_s = known
        return principal if ends_s is None or now_s < ends_s else None

    def welcome(self, token: str, ring: KeyRing, found: FoundKey) -> Principal:
        """Give the principal of a key, and know its token from now on."""
        if self._ring is not ring or len(self._by_token) >= self.MOST:
            self._ring, self._by_token = ring, {}
        key, ends_s = found
        principal = Principal(tenant=key.tenant, rights=key.rights, key=key)
        self._by_token[token] = (principal, ends_s)
        return principal


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
    _regulars: Regulars = field(default_factory=Regulars, repr=False, compare=False)

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
        token, ring = bearer(visitor.headers), access.keys
        if principal := self._regulars.find(token, ring, now_s=now_s):
            return principal
        if (found := found_key(token, ring, now_s=now_s)) is not None:
            return self._regulars.welcome(token, ring, found)
        if self.mode == "open":
            return anonymous(access)
        if self.is_anonymous_allowed(access):
            if is_local(visitor):
                return anonymous(access)
            raise AuthenticationFailed(NO_KEY)
        if not token:
            raise AuthenticationFailed(NO_KEY)
        if is_junk(token):
            raise AuthenticationFailed(WRONG_KEY)
        if ring.is_unreadable or not is_current:
            raise KeyUncheckable(UNCHECKABLE)
        raise AuthenticationFailed(WRONG_KEY)


def found_key(token: str, ring: KeyRing, *, now_s: float) -> FoundKey | None:
    """Find the key of a token by its digest, and its end; None if it opens nothing.

    The look-up's time depends on the digest alone, which nobody can aim at without the
    pepper.
    """
    if ring.pepper is None or not token or is_junk(token):
        return None
    found = ring.keys.get(digest(token, ring.pepper))
    if found is None:
        return None
    _, ends_s = found
    return found if ends_s is None or now_s < ends_s else None


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
