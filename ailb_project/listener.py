"""The listening socket: bound once, by whoever starts the HTTP server."""

from __future__ import annotations

import ctypes
import errno
import os
import socket
import struct

BACKLOG = 1024
# socket(7); Python does not name it.
SO_ATTACH_FILTER = 26
# A program of the classic BPF, which sees each segment from its TCP header on: drop what
# begins a connection (SYN without ACK), pass the rest. Code, jumps if true and false, k.
NO_BEGINNINGS = (
    (0x30, 0, 0, 13),  # load the byte with the flags
    (0x54, 0, 0, 0x12),  # and SYN | ACK
    (0x15, 0, 1, 0x02),  # only SYN?
    (0x06, 0, 0, 0),  # drop
    (0x06, 0, 0, 0xFFFFFFFF),  # pass
)


class ListenError(Exception):
    """The address cannot be listened on; the text says why and what to change."""


def bind_listener(host: str, port: int, *, setting: str = "HTTP_PORT") -> socket.socket:
    """Bind `host` and `port` (0 = any free port) and listen.

    SO_REUSEADDR without SO_REUSEPORT: a port in TIME_WAIT is free, a second server on
    the same port is an error and never a silent half of the traffic. Raises ListenError,
    which names the `setting` that the port is from.
    """
    listener = _bind(host, port, setting)
    try:
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        raise ListenError(_reason(host, port, setting, error)) from error
    listener.setblocking(False)
    return listener


def ignore_beginnings(fd: int) -> None:
    """Let nobody begin to connect to a listening socket; who has begun still gets in.

    It holds for each process that has the socket. Closing it would reset whom nobody has
    accepted yet; those who are ignored now try again after a second, and are refused.

    Raises:
        OSError: The system has no such filters.

    """
    program = b"".join(struct.pack("HBBI", *step) for step in NO_BEGINNINGS)
    kept = ctypes.create_string_buffer(program)
    pointed = struct.pack("HP", len(NO_BEGINNINGS), ctypes.addressof(kept))
    with socket.socket(fileno=os.dup(fd)) as listener:
        listener.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, pointed)


def keep_port(host: str) -> int:
    """Take a free port for as long as this process lives. Raises ListenError.

    A socket that is bound and does not listen keeps everybody else off, outgoing
    connections too; a server that sets SO_REUSEADDR, as Chroma and gRPC do, can listen
    there, and do so again after it has died.
    """
    keeper = _bind(host, 0, "HOST")
    port: int = keeper.getsockname()[1]
    keeper.set_inheritable(True)  # through an exec of this process, not by its children
    keeper.detach()  # open until this process ends
    return port


def _bind(host: str, port: int, setting: str) -> socket.socket:
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
    except OSError as error:
        listener.close()
        raise ListenError(_reason(host, port, setting, error)) from error
    return listener


def _reason(host: str, port: int, setting: str, error: OSError) -> str:
    match error.errno:
        case errno.EADDRINUSE:
            return (
                f"Port {port} on {host} is already in use: stop the program that has it"
                f" or set {setting} to a free port."
            )
        case errno.EACCES:
            return f"Port {port} needs root: set {setting} to a port above 1023."
        case errno.EADDRNOTAVAIL:
            return f"HOST={host} is not an address of this machine."
        case _:
            return f"Cannot listen on port {port} of {host}: {error.strerror}."
