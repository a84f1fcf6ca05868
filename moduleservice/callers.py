"""Who calls ModuleService, and what they may call."""

from __future__ import annotations

import hmac
import ipaddress
from dataclasses import dataclass
from enum import StrEnum
from typing import Any
from urllib.parse import unquote

import grpc
from google.protobuf.message import Message

from gateway.auth import is_loopback
from moduleservice.terms import Terms

# Everything else changes something.
READ_ONLY = frozenset(
    {
        "CanHandle",
        "GetActiveVersion",
        "GetConfig",
        "GetInstances",
        "GetMetrics",
        "GetRateLimits",
        "GetRoutes",
        "GetStats",
        "GetStatus",
        "HealthCheck",
        "StreamMetrics",
    }
)
AUTHORIZATION = "authorization"
SCHEME = "bearer"


class Credential(StrEnum):
    """What a caller has shown."""

    TOKEN = "token"  # noqa: S105 - the kind, not one
    CERTIFICATE = "certificate"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class Caller:
    """Where a call comes from, and what it has shown."""

    peer: str
    credential: Credential
    is_near: bool  # on this machine

    @property
    def is_known(self) -> bool:
        """Whether it may have anything done."""
        return self.credential is not Credential.NONE

    @property
    def may_look(self) -> bool:
        """Whether it may call what changes nothing."""
        return self.is_known or self.is_near


def changes_something(rpc: str, request: Message) -> bool:
    """Say whether a call has an effect; statistics that are reset are one."""
    return rpc not in READ_ONLY or bool(getattr(request, "reset_counters", False))


def caller_of(context: grpc.aio.ServicerContext[Any, Any], terms: Terms) -> Caller:
    """Find out who calls."""
    peer = context.peer()
    return Caller(peer, _credential(context, terms), is_near(peer))


def is_near(peer: str) -> bool:
    """Say whether gRPC's name of a peer is one on this machine's loopback."""
    kind, _, address = unquote(peer).partition(":")
    if kind == "unix":
        return True
    host = address.rpartition(":")[0].strip("[]").partition("%")[0]
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return is_loopback(host)


def _credential(
    context: grpc.aio.ServicerContext[Any, Any], terms: Terms
) -> Credential:
    # Without a CA of ours nobody has verified what a client shows.
    if terms.client_ca is not None and context.peer_identities():
        return Credential.CERTIFICATE
    metadata = context.invocation_metadata() or ()
    if any(
        key == AUTHORIZATION and _is_token(value, terms.token)
        for key, value in metadata
    ):
        return Credential.TOKEN
    return Credential.NONE


def _is_token(value: str | bytes, token: str) -> bool:
    """Compare without telling by the time it takes how much was right."""
    text = value.decode("latin-1") if isinstance(value, bytes) else value
    scheme, _, given = text.partition(" ")
    is_same = hmac.compare_digest(given.strip().encode(), token.encode())
    return bool(token) and scheme.lower() == SCHEME and is_same
