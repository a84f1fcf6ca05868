"""What one HTTP worker is started with, as values and as command-line options."""

from __future__ import annotations

import argparse
import signal
from collections.abc import Sequence
from dataclasses import dataclass, fields

from gateway.upload_routes import FORM_BYTES

MEBIBYTE = 1024 * 1024
# What the supervisor tells a worker. Before it can listen, each of them ends it. SIGTERM
# is left to others: a whole process group gets it, and a second one ends it at once.
DRAIN_SIGNAL = signal.SIGRTMIN  # stop, with the grace
YIELD_SIGNAL = signal.SIGUSR1  # stop without the grace: others accept on the port
CUT_SIGNAL = signal.SIGUSR2  # stop, and the time for requests is over

# What AILB_SERVER may say, and the program that is a worker with that server.
SERVER_MODULES = {
    "daphne": "ailb_project.server",
    "granian": "ailb_project.granian_server",
    "uvicorn": "ailb_project.uvicorn_server",
}


@dataclass(frozen=True, slots=True)
class ServerSettings:
    """One worker's settings; each field is also the option `--field-name`.

    `fd` is an inherited listening socket and wins over `host` and `port`. `ready_fd` is
    the write end of a pipe: it gets the line "ready" once requests are accepted. All
    times are seconds, all sizes bytes.
    """

    application: str = "ailb_project.asgi:application"
    host: str = "127.0.0.1"
    port: int = 8080
    fd: int | None = None
    ready_fd: int | None = None
    max_body_bytes: int = 20 * MEBIBYTE
    max_upload_bytes: int = 25 * MEBIBYTE + FORM_BYTES
    high_water_bytes: int = MEBIBYTE
    header_timeout_s: float = 10.0
    body_timeout_s: float = 60.0
    keep_alive_s: float = 60.0
    stall_timeout_s: float = 60.0
    grace_s: float = 0.0
    drain_timeout_s: float = 20.0

    def to_argv(self) -> tuple[str, ...]:
        """Return the options that parse_settings turns back into these settings."""
        return tuple(
            f"{_option(field.name)}={value}"
            for field in fields(self)
            if (value := getattr(self, field.name)) is not None
        )


HELP = {
    "application": "the ASGI application, module:attribute",
    "host": "address to listen on when no --fd is given",
    "port": "port to listen on when no --fd is given; 0 takes any free one",
    "fd": "inherited listening socket",
    "ready_fd": "inherited pipe that gets the line 'ready' once requests are accepted",
    "max_body_bytes": "largest request body; a larger one is answered 413",
    "max_upload_bytes": "the same for requests that bring a file",
    "high_water_bytes": "unsent bytes of one connection above which the app waits",
    "header_timeout_s": "from a request's first byte (or the connect) to its last header",
    "body_timeout_s": "from the last header to the last byte of the body",
    "keep_alive_s": "how long a connection may be idle between two requests",
    "stall_timeout_s": "how long a client may take no byte of what it is sent",
    "grace_s": "how long to go on accepting after SIGTERM, not ready",
    "drain_timeout_s": "how long running requests may take to end after the grace",
}


def parse_settings(arguments: Sequence[str]) -> ServerSettings:
    """Read command-line options; a bad one ends the program with a usage line."""
    parser = argparse.ArgumentParser(
        prog="python -m ailb_project.server",
        description="One HTTP worker process.",
        allow_abbrev=False,
    )
    for field in fields(ServerSettings):
        kind = str if field.type == "str" else float if field.type == "float" else int
        parser.add_argument(
            _option(field.name),
            type=kind,
            default=field.default,
            help=f"{HELP[field.name]} (default: {field.default})",
        )
    return ServerSettings(**vars(parser.parse_args(arguments)))


def _option(field_name: str) -> str:
    return "--" + field_name.replace("_", "-")
