"""The network load balancer as this instance reaches it: its channel and its calls."""

from __future__ import annotations

import ssl
from collections.abc import Awaitable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, Self, TypeVar
from urllib.parse import urlsplit

import grpc

from gateway.errors import ConfigurationError
from moduleservice.pb import nlb_pb2, nlb_pb2_grpc

Request = TypeVar("Request", contravariant=True)
Answer = TypeVar("Answer", covariant=True)

SECURE = "grpcs://"
DEBIAN_BUNDLE = "ca-certificates.crt"  # OpenSSL only looks into single files beside it
CALL_LIMIT_S = 5.0
MESSAGE_BYTES = 16 * 1024 * 1024  # what the NLB takes, too
OPTIONS = [
    ("grpc.max_send_message_length", MESSAGE_BYTES),
    ("grpc.max_receive_message_length", MESSAGE_BYTES),
    # A server with default settings ends the connections of clients that ping while
    # they ask for nothing. Heartbeats find a dead peer as soon.
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.keepalive_permit_without_calls", 0),
    # How long to wait is decided by the registration: a channel that waits up to two
    # minutes by itself would make its tries fail without having tried.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 1_000),
    ("grpc.max_reconnect_backoff_ms", 1_000),
    ("grpc.enable_http_proxy", 0),  # it stands in front of us, not behind a web proxy
]


class NlbAway(Exception):
    """The NLB cannot be reached, does not answer in time, or answers with a status."""

    def __init__(self, code: grpc.StatusCode, details: str) -> None:
        """Keep the status: its code, and words for the log."""
        super().__init__(f"{code.name}: {details}" if details else code.name)
        self.code = code


class NlbRefused(Exception):
    """The NLB has answered, with a no."""


class Call(Protocol[Request, Answer]):
    """One RPC of a stub."""

    def __call__(self, request: Request, /, *, timeout: float) -> Awaitable[Answer]:
        """Send it."""
        ...


@dataclass(frozen=True, slots=True)
class NlbAddress:
    """Where the NLB listens, and what TLS needs: PEM files, None where there is none.

    `roots` sign the NLB's certificate (None: the system's); `certificate` and `key` are
    shown to it when it asks.
    """

    target: str  # host:port
    is_secure: bool = False
    roots: Path | None = None
    certificate: Path | None = None
    key: Path | None = field(default=None, repr=False)

    @property
    def host(self) -> str:
        """The name or IP address without its port."""
        return urlsplit(f"//{self.target}").hostname or ""

    @property
    def port(self) -> int:
        """The port."""
        return urlsplit(f"//{self.target}").port or 0


def read_address(
    text: str,
    *,
    roots: Path | None = None,
    certificate: Path | None = None,
    key: Path | None = None,
) -> NlbAddress:
    """Read `host:port`, which is plaintext, or `grpcs://host:port`, which is TLS.

    Raises:
        ConfigurationError: It is neither.

    """
    target = text.removeprefix(SECURE)
    try:
        parts = urlsplit(f"//{target}")
        is_valid = bool(parts.hostname and parts.port) and parts.netloc == target
    except ValueError:
        is_valid = False
    if not is_valid or "@" in target:
        raise ConfigurationError(
            f"NLB_GRPC_ADDRESS={text!r} is not valid: allowed is host:port or "
            "grpcs://host:port."
        )
    if target == text:
        return NlbAddress(target)
    return NlbAddress(target, True, roots, certificate, key)


class Nlb:
    """What this instance asks of the NLB, each call with a deadline.

    Make and use it in one event loop. Every call raises NlbAway, and NlbRefused where
    the answer says no.
    """

    def __init__(self, address: NlbAddress) -> None:
        """Nothing is connected before the first call."""
        self.target = address.target
        self._channel = _open_channel(address)
        stub = nlb_pb2_grpc.NLBServiceStub
        self._stub = stub(self._channel)  # type: ignore[no-untyped-call] # generated

    async def __aenter__(self) -> Self:
        """Use it for a block."""
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        """Close the channel; a call that still runs is cancelled."""
        await self._channel.close()

    async def register(
        self, request: nlb_pb2.RegisterModuleRequest, *, limit_s: float
    ) -> nlb_pb2.RegisterModuleResponse:
        """Register, or register again."""
        answer: nlb_pb2.RegisterModuleResponse = await _ask(
            self._stub.RegisterModule, request, limit_s
        )
        return _accepted(answer)

    async def unregister(
        self, request: nlb_pb2.UnregisterModuleRequest, *, limit_s: float
    ) -> nlb_pb2.UnregisterModuleResponse:
        """Take the registration back."""
        answer: nlb_pb2.UnregisterModuleResponse = await _ask(
            self._stub.UnregisterModule, request, limit_s
        )
        return _accepted(answer)

    async def update_routing(
        self, request: nlb_pb2.UpdateRoutingRequest, *, limit_s: float
    ) -> nlb_pb2.UpdateRoutingResponse:
        """Say which routes this instance has."""
        answer: nlb_pb2.UpdateRoutingResponse = await _ask(
            self._stub.UpdateRouting, request, limit_s
        )
        return _accepted(answer)

    async def heartbeat(
        self, request: nlb_pb2.HeartbeatRequest, *, limit_s: float
    ) -> nlb_pb2.HeartbeatResponse:
        """Say that this instance lives, and how it does."""
        answer: nlb_pb2.HeartbeatResponse = await _ask(
            self._stub.Heartbeat, request, limit_s
        )
        if not answer.acknowledged:
            raise NlbRefused(answer.message or "the heartbeat is not acknowledged")
        return answer


Told = TypeVar(
    "Told",
    nlb_pb2.RegisterModuleResponse,
    nlb_pb2.UnregisterModuleResponse,
    nlb_pb2.UpdateRoutingResponse,
)


def _accepted(answer: Told) -> Told:
    """Give the answer back if it is a yes."""
    if answer.success:
        return answer
    faults = "; ".join(getattr(answer, "validation_errors", ()))
    said = [answer.message, answer.error.message, faults]
    raise NlbRefused("; ".join(filter(None, said)) or "refused without a reason")


async def _ask(call: Call[Request, Answer], request: Request, limit_s: float) -> Answer:
    try:
        return await call(request, timeout=limit_s)
    except grpc.aio.AioRpcError as error:
        raise NlbAway(error.code(), error.details() or "") from error


def _open_channel(address: NlbAddress) -> grpc.aio.Channel:
    if not address.is_secure:
        return grpc.aio.insecure_channel(address.target, options=OPTIONS)
    credentials = grpc.ssl_channel_credentials(
        root_certificates=_read(address.roots or system_roots()),
        private_key=_read(address.key),
        certificate_chain=_read(address.certificate),
    )
    return grpc.aio.secure_channel(address.target, credentials, options=OPTIONS)


def system_roots() -> Path | None:
    """Find the file of the authorities that this machine trusts (SSL_CERT_FILE first).

    None where it has none: gRPC then takes those that it brings along.
    """
    paths = ssl.get_default_verify_paths()
    found = [paths.cafile, paths.capath and f"{paths.capath}/{DEBIAN_BUNDLE}"]
    return next((Path(p) for p in found if p and Path(p).is_file()), None)


def _read(path: Path | None) -> bytes | None:
    return None if path is None else path.read_bytes()
