"""From a file to its text, without trusting the file: a child process parses it.

Each thread that parses has a server, started at the first document, that forks the child.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import weakref
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any

from rag.errors import DocumentRefused, ParserUnavailable
from rag.formats import corrupt
from rag.parsed import MIB, PageSpan, Parsed, ParsingLimits

_PROJECT = Path(__file__).resolve().parent.parent
# All that the child's environment holds; numpy, which openpyxl loads, needs one thread.
_ENVIRONMENT = {"LC_ALL": "C.UTF-8", "OPENBLAS_NUM_THREADS": "1"}
_BYTES_PER_CHAR = (
    4  # UTF-8's longest; text has no control character that JSON lengthens
)
_ROOM_BYTES = MIB
_SAID_CHARS = 300
_ANSWER_BYTES = 64
_END_LIMIT_S = 5.0
_DEFAULTS = ParsingLimits()


def parse_document(
    path: Path, *, name: str, limits: ParsingLimits = _DEFAULTS
) -> Parsed:
    """Parse a file; `name` is what its owner calls it, which tells kinds of text apart.

    Blocks for as long as it takes, `limits.wall_s` at most. Safe to call from several
    threads; the child is killed when the calling thread or its process ends.

    Raises:
        DocumentRefused: The file is not taken.
        ParserUnavailable: The child cannot be run, whatever the file.
        OSError: The file cannot be read.

    """
    with (
        path.open("rb") as file,
        tempfile.TemporaryFile() as output,
        tempfile.TemporaryFile() as errors,
    ):
        if os.fstat(file.fileno()).st_size > limits.max_bytes:
            raise _too_large(limits)
        status = _run_child(file, output, errors, name=name, limits=limits)
        if status != 0:
            raise _failure(status, errors)
        output.seek(0)
        return _parsed(json.load(output))


def _run_child(
    file: IO[bytes],
    output: IO[bytes],
    errors: IO[bytes],
    *,
    name: str,
    limits: ParsingLimits,
) -> int:
    """Give the child's status: negative for the signal that ended it."""
    files = [file.fileno(), output.fileno(), errors.fileno()]
    task = _task(name, limits)
    server: Server | None = getattr(_mine, "server", None)
    if server is not None and server.is_waiting():
        with suppress(ConnectionError):  # it had been idle for long, and has just ended
            return server.run(task, files, limits.wall_s)
    server = _mine.server = Server()
    try:
        return server.run(task, files, limits.wall_s)
    except ConnectionError as error:
        raise _unavailable(str(error)) from error


class Server:
    """A process that forks one for each document; it dies with the thread that made it."""

    def __init__(self) -> None:
        """Start it.

        Raises:
            ParserUnavailable: It cannot be started.

        """
        self._connection, theirs = socket.socketpair()
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - as long as the server
        with theirs:
            command = [sys.executable, "-s", "-m", "rag.parsing_server"]
            try:
                self._process = subprocess.Popen(  # noqa: S603 - our own module
                    [*command, str(theirs.fileno()), str(os.getpid())],
                    cwd=_PROJECT,
                    env=_ENVIRONMENT,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=self._errors,
                    pass_fds=[theirs.fileno()],
                    start_new_session=True,
                )
            except OSError as error:
                self._connection.close()
                self._errors.close()
                raise _unavailable(str(error)) from error
        # Kills it, and with it the child that it may have; when its thread ends, too.
        self.end = weakref.finalize(
            self, _end, self._process, self._connection, self._errors
        )

    def is_waiting(self) -> bool:
        """Say whether it lives; if not, clean up after it."""
        if self._process.poll() is None:
            return True
        self.end()
        return False

    def run(self, task: str, files: Sequence[int], wall_s: float) -> int:
        """Have a document parsed, and give the status of the child that did it.

        Raises:
            ConnectionError: The server has ended; the text says how.
            DocumentRefused: It took longer than `wall_s`.

        """
        self._connection.settimeout(wall_s)
        try:
            return self._ask(task, files)
        except TimeoutError as error:
            self.end()
            raise _timed_out() from error
        except BaseException:
            self.end()
            raise

    def _ask(self, task: str, files: Sequence[int]) -> int:
        socket.send_fds(self._connection, [f"{task}\n".encode()], files)
        if answer := self._connection.recv(_ANSWER_BYTES):
            return int(answer)
        status = self._process.wait(_END_LIMIT_S)
        self._errors.seek(0)
        raise ConnectionResetError(f"status {status}, {_last_line(self._errors)}")


def _end(process: subprocess.Popen[bytes], *files: IO[bytes] | socket.socket) -> None:
    process.kill()
    process.wait()
    for file in files:
        file.close()


_mine = threading.local()


def _task(name: str, limits: ParsingLimits) -> str:
    return json.dumps(
        {
            # Of a name only its ending matters.
            "name": f"document{Path(name).suffix[:20]}",
            "limits": asdict(limits),
            "max_output_bytes": limits.max_chars * _BYTES_PER_CHAR + _ROOM_BYTES,
        }
    )


def _parsed(answer: dict[str, Any]) -> Parsed:
    if answer.get("code") == "out_of_memory":
        raise _out_of_memory()
    if "code" in answer:
        raise DocumentRefused(answer["code"], answer["reason"])
    return Parsed(
        text=answer["text"],
        media_type=answer["media_type"],
        pages=tuple(PageSpan(**page) for page in answer["pages"]),
        title=answer["title"],
    )


def _failure(status: int, errors: IO[bytes]) -> Exception:
    match -status:
        case signal.SIGXCPU:
            return _timed_out()
        case signal.SIGKILL:
            # Not by us: the limit on processor time, once more, or the kernel's memory.
            return _out_of_memory()
        case number if number > 0:
            return corrupt()
    errors.seek(0)
    return _unavailable(f"status {status}, {_last_line(errors)}")


def _last_line(errors: IO[bytes]) -> str:
    lines = errors.read().decode("utf-8", "replace").strip().splitlines()
    return lines[-1][:_SAID_CHARS] if lines else "it said nothing"


def _too_large(limits: ParsingLimits) -> DocumentRefused:
    return DocumentRefused(
        "too_large",
        f"This file is larger than the {limits.max_bytes / MIB:,.0f} MB that are "
        "allowed: split it.",
    )


def _timed_out() -> DocumentRefused:
    return DocumentRefused(
        "timed_out", "This file takes too long to read: split it or save it anew."
    )


def _out_of_memory() -> DocumentRefused:
    return DocumentRefused(
        "out_of_memory", "This file takes too much memory to read: split it."
    )


def _unavailable(reason: str) -> ParserUnavailable:
    return ParserUnavailable(
        f"Documents cannot be parsed here ({reason}): run `make install`, or `pip "
        "install -r requirements.txt`."
    )
