"""What the gRPC server is started with."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from django.conf import settings


@dataclass(frozen=True, slots=True)
class Terms:
    """Where it listens, and who may call.

    Port 0 takes any free one. `certificate` and `key` are both there or both None. With
    `client_ca` every client must show a certificate that it has signed.
    """

    host: str
    port: int
    token: str = field(repr=False)
    certificate: Path | None = None
    key: Path | None = None
    client_ca: Path | None = None
    is_insecure: bool = False
    has_reflection: bool = False


def terms_from_settings() -> Terms:
    """Read what the operator has set."""
    return Terms(
        host=settings.HOST,
        port=settings.GRPC_PORT,
        token=settings.AILB_GRPC_TOKEN,
        certificate=settings.AILB_GRPC_TLS_CERT,
        key=settings.AILB_GRPC_TLS_KEY,
        client_ca=settings.AILB_GRPC_TLS_CLIENT_CA,
        is_insecure=settings.AILB_GRPC_INSECURE,
        has_reflection=settings.AILB_GRPC_REFLECTION,
    )
