"""Forks a shut-in process for each document: `python -m rag.parsing_server FD PARENT`.

Starting Python takes ten times as long as reading a small document, so this process
starts once and knows how to parse; it opens no document itself. A task is one line of
JSON with three files: the document, the output and the errors. The answer is a line with
the child's exit status.
"""

from __future__ import annotations

import json
import os
import socket
import sys
from contextlib import suppress

from rag.parsing_child import die_with_parent, work

IDLE_S = 60.0  # without a task for so long it ends, and its memory is free again
_TASK_BYTES = 65_536
_FILES = 3


def main() -> None:
    """Serve until the other end is closed, or nobody asks."""
    die_with_parent(int(sys.argv[2]))
    with socket.socket(fileno=int(sys.argv[1])) as connection, suppress(TimeoutError):
        connection.settimeout(IDLE_S)
        while task := receive(connection):
            status = run(*task, connection)
            connection.sendall(b"%d\n" % status)


def receive(connection: socket.socket) -> tuple[str, list[int]] | None:
    """Wait for a task and its files; None when the other end is closed."""
    line, files, _, _ = socket.recv_fds(connection, _TASK_BYTES, _FILES)
    while line and not line.endswith(b"\n"):
        line += connection.recv(_TASK_BYTES)
    return (line.decode(), files) if line else None


def run(task: str, files: list[int], connection: socket.socket) -> int:
    """Parse in a child, and give its status: negative for the signal that ended it."""
    server = os.getpid()
    child = os.fork()
    if child == 0:
        connection.close()
        become_child(task, files, server)
    for file in files:
        os.close(file)
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status)


def become_child(task: str, files: list[int], server: int) -> None:
    """Put the files in the place of the standard ones, work, and end; never returns."""
    try:
        os.setsid()
        for number, file in enumerate(files):
            os.dup2(file, number)
            os.close(file)
        work(json.loads(task), parent_pid=server)
    except BaseException as error:  # noqa: BLE001 - the edge of a process
        os.write(2, f"{type(error).__name__}: {error}\n".encode())
    finally:
        os._exit(1)


if __name__ == "__main__":
    main()
