"""The listening socket: bound once, by whoever starts the HTTP server."""

from __future__ import annotations

import errno
import socket

BACKLOG = 1024


class ListenError(Exception):
    """The address cannot be listened on; the text says why and what to change."""


def bind_listener(host: str, port: int) -> socket.socket:
    """Bind `host` and `port` (0 = any free port) and listen.

    SO_REUSEADDR without SO_REUSEPORT: a port in TIME_WAIT is free, a second server on
    the same port is an error and never a silent half of the traffic. Raises ListenError.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except socket.gaierror as error:
        raise ListenError(
            f"HOST={host} is not an address of this machine: {error.strerror}."
        ) from error
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        raise ListenError(_reason(host, port, error)) from error
    listener.setblocking(False)
    return listener


def _reason(host: str, port: int, error: OSError) -> str:
    match error.errno:
        case errno.EADDRINUSE:
            return (
                f"Port {port} on {host} is already in use: stop the program that has it"
                " or set HTTP_PORT to a free port."
            )
        case errno.EACCES:
            return f"Port {port} needs root: set HTTP_PORT to a port above 1023."
        case errno.EADDRNOTAVAIL:
            return f"HOST={host} is not an address of this machine."
        case _:
            return f"Cannot listen on port {port} of {host}: {error.strerror}."
