"""From a file to its text, without trusting the file: a child process parses it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
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
    try:
        child = subprocess.Popen(  # noqa: S603 - our own module
            [sys.executable, "-s", "-m", "rag.parsing_child", _task(name, limits)],
            cwd=_PROJECT,
            env=_ENVIRONMENT,
            stdin=file,
            stdout=output,
            stderr=errors,
            start_new_session=True,
        )
    except OSError as error:
        raise _unavailable(str(error)) from error
    with child:
        try:
            return child.wait(limits.wall_s)
        except subprocess.TimeoutExpired as error:
            raise _timed_out() from error
        finally:
            child.kill()


def _task(name: str, limits: ParsingLimits) -> str:
    return json.dumps(
        {
            # Of a name only its ending matters.
            "name": f"document{Path(name).suffix[:20]}",
            "limits": asdict(limits),
            "parent_pid": os.getpid(),
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
    lines = errors.read().decode("utf-8", "replace").strip().splitlines()
    said = lines[-1] if lines else "it said nothing"
    return _unavailable(f"status {status}, {said[:_SAID_CHARS]}")


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
