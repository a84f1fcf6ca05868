"""The gRPC server: where it listens, how connections are kept, and how it stops."""

from __future__ import annotations

import errno
import logging
import socket
import ssl
from collections.abc import Sequence

import grpc
from grpc_health.v1 import (  # type: ignore[import-untyped] # it ships none
    health_pb2,
    health_pb2_grpc,
)
from grpc_reflection.v1alpha import (  # type: ignore[import-untyped] # likewise
    reflection,
)

from gateway.auth import is_loopback
from moduleservice.base import Host, Part
from moduleservice.guard import Guard
from moduleservice.health import Health
from moduleservice.servicer import SERVICE, compose
from moduleservice.terms import Terms

logger = logging.getLogger(__name__)

MAX_MESSAGE_BYTES = 16 * 1024 * 1024
MAX_RPCS = 200  # at once, of all services; more are refused
HEALTH = health_pb2.DESCRIPTOR.services_by_name["Health"].full_name
OPTIONS = (
    # A second server on the port is an error, never a silent half of the calls.
    ("grpc.so_reuseport", 0),
    # The load balancer pings every 10 s with no call open: to gRPC that is too often.
    ("grpc.http2.min_ping_interval_without_data_ms", 5_000),
    ("grpc.http2.max_ping_strikes", 0),
    ("grpc.keepalive_permit_without_calls", 1),
    # A peer that has vanished is noticed, and its streams end.
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.max_concurrent_streams", 100),
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
)


class CannotServe(Exception):
    """The server cannot start as it is configured; the text says what to change."""


class Server:
    """Serves the parts: `bind`, `start`, `stop`, each once and in one event loop."""

    def __init__(self, host: Host, parts: Sequence[Part], terms: Terms) -> None:
        """Check that the parts answer the whole contract.

        Raises:
            ContractBroken: They do not.

        """
        self._terms = terms
        self._guard = Guard(host, terms)
        self._handler = compose(parts, self._guard)
        self._server: grpc.aio.Server | None = None
        self.health = Health(frozenset({"", SERVICE.full_name}))
        self.port = terms.port

    @property
    def address(self) -> str:
        """Where it serves, HOST:PORT."""
        return join(self._terms.host, self.port)

    def bind(self) -> None:
        """Take the port. Whoever connects waits until `start`.

        Raises:
            CannotServe: The port is taken, or a file of TLS cannot be used.

        """
        credentials = credentials_of(self._terms)
        address = find_address(self._terms.host, self._terms.port)
        server = grpc.aio.server(options=OPTIONS, maximum_concurrent_rpcs=MAX_RPCS)
        server.add_generic_rpc_handlers((self._handler,))
        health_pb2_grpc.add_HealthServicer_to_server(self.health, server)
        if self._terms.has_reflection:
            names = (SERVICE.full_name, HEALTH, reflection.SERVICE_NAME)
            reflection.enable_server_reflection(names, server)
        try:
            if credentials is None:
                self.port = server.add_insecure_port(address)
            else:
                self.port = server.add_secure_port(address, credentials)
        except RuntimeError as error:
            raise CannotServe(f"gRPC cannot listen on {address}.") from error
        self._server = server

    async def start(self) -> None:
        """Serve on the port that `bind` has taken."""
        if self._server is not None:
            await self._server.start()
        if self._terms.is_insecure and not is_loopback(self._terms.host):
            logger.warning(
                "AILB_GRPC_INSECURE: whoever reaches this address manages AILB",
                extra={"address": self.address},
            )

    async def stop(self, *, grace_s: float) -> None:
        """Turn new calls away, let running ones end within the grace."""
        self.health.end()
        self._guard.end()
        if self._server is not None:
            await self._server.stop(grace_s)


def join(host: str, port: int) -> str:
    """Write an address as gRPC reads it."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def find_address(host: str, port: int) -> str:
    """Resolve where to listen, and say why it cannot be, which gRPC does not.

    Raises:
        CannotServe: It cannot be listened on.

    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except socket.gaierror as error:
        raise CannotServe(
            f"HOST={host} is not an address of this machine: {error.strerror}."
        ) from error
    with socket.socket(family, kind, protocol) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(address)
        except OSError as error:
            raise CannotServe(_reason(host, port, error)) from error
    return join(str(address[0]), port)


def _reason(host: str, port: int, error: OSError) -> str:
    match error.errno:
        case errno.EADDRINUSE:
            return (
                f"Port {port} on {host} is already in use: stop the program that has it"
                " or set GRPC_PORT to a free port."
            )
        case errno.EACCES:
            return f"Port {port} needs root: set GRPC_PORT to a port above 1023."
        case errno.EADDRNOTAVAIL:
            return f"HOST={host} is not an address of this machine."
        case _:
            return f"gRPC cannot listen on port {port} of {host}: {error.strerror}."


def credentials_of(terms: Terms) -> grpc.ServerCredentials | None:
    """Read the files of TLS; None where there is to be none.

    Raises:
        CannotServe: One of them cannot be used. gRPC would only refuse every client.

    """
    if terms.certificate is None or terms.key is None:
        return None
    try:
        check = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        check.load_cert_chain(terms.certificate, terms.key, password="")
        if terms.client_ca is not None:
            check.load_verify_locations(terms.client_ca)
        pair = (terms.key.read_bytes(), terms.certificate.read_bytes())
        authority = terms.client_ca.read_bytes() if terms.client_ca else None
    except OSError as error:  # SSLError is one
        raise CannotServe(
            f"AILB_GRPC_TLS_CERT={terms.certificate}, _KEY={terms.key}, _CLIENT_CA="
            f"{terms.client_ca or ''} cannot be used: {error.strerror or error}."
        ) from error
    # gRPC either asks every client for a certificate or none.
    return grpc.ssl_server_credentials(
        [pair], authority, require_client_auth=authority is not None
    )
