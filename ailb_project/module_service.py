"""The gRPC process: where it listens, how it is started, and what the screen tells."""

from __future__ import annotations

import os
import sys

from django.conf import settings

from ailb_project.children import ChildSpec
from ailb_project.listener import bind_listener, keep_port


def settle_port() -> None:
    """Choose the port where GRPC_PORT is 0, and name it to every child.

    Raises:
        ListenError: It cannot be listened on.

    """
    if settings.GRPC_PORT:
        bind_listener(settings.HOST, settings.GRPC_PORT, setting="GRPC_PORT").close()
        return
    settings.GRPC_PORT = keep_port(settings.HOST)
    os.environ["GRPC_PORT"] = str(settings.GRPC_PORT)


def spec() -> ChildSpec:
    """Describe the process."""
    return ChildSpec(
        "module-service",
        (sys.executable, str(settings.BASE_DIR / "manage.py"), "runmoduleservice"),
        {"AILB_RUN": settings.AILB_RUN},
        has_link=True,
        exit_words={
            os.EX_CONFIG: (
                f"ModuleService cannot serve at GRPC_PORT {settings.GRPC_PORT} as it is "
                "configured; the line above says why. No network load balancer can "
                "manage this instance. Chat goes on."
            )
        },
    )


def describe(host: str) -> str:
    """Say where it listens and who may change things there."""
    address = f"[{host}]" if ":" in host else host
    text = f"{address}:{settings.GRPC_PORT} ({_describe_door()})"
    if settings.NLB_GRPC_ADDRESS:
        text += f", registers at {settings.NLB_GRPC_ADDRESS}"
    return text


def warnings() -> list[str]:
    """Say what is amiss with the door."""
    if not settings.AILB_GRPC_INSECURE:
        return []
    return [
        (
            "AILB_GRPC_INSECURE is on: whoever reaches port "
            f"{settings.GRPC_PORT} manages this instance, without a token."
        )
    ]


def _describe_door() -> str:
    if settings.AILB_GRPC_INSECURE:
        return "!! open to all, AILB_GRPC_INSECURE"
    path = settings.AILB_GRPC_TOKEN_PATH
    is_kept = path.is_file() and path.read_text("utf-8") == settings.AILB_GRPC_TOKEN
    token = f"token in {path}" if is_kept else "token: AILB_GRPC_TOKEN"
    return f"TLS, {token}" if settings.AILB_GRPC_TLS_CERT else token
