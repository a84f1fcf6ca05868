"""Parses one document in a process of its own, which `rag.parsing_server` forks.

The document is its standard input, one JSON object its standard output. It imports no
Django, opens nothing but Python's own libraries, and speaks to nobody.
"""

from __future__ import annotations

import ctypes
import json
import os
import resource
import signal
import sys
import sysconfig
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rag import formats
from rag.errors import DocumentRefused
from rag.parsed import Content, Parsed, ParsingLimits
from rag.readers.archive import main_part, open_archive
from rag.readers.office import read_docx, read_pptx
from rag.readers.pdf import read_pdf
from rag.readers.webpage import read_html
from rag.readers.workbook import read_xlsx
from rag.text_cleaning import assemble, clean_title, decode, title_of

_PR_SET_PDEATHSIG = 1  # linux/prctl.h
_OPEN_FILES = 32
_PATHS = ("stdlib", "platstdlib", "purelib", "platlib")
_LIBRARIES = tuple(
    {f"{path}{os.sep}" for path in map(sysconfig.get_path, _PATHS)}
    | {f"{Path(__file__).resolve().parent}{os.sep}"}
)
_REFUSED_EVENTS = ("socket.", "subprocess.", "os.", "shutil.", "tempfile.", "pty.")
# What the import system asks, and what our own limits are set with.
_HARMLESS_EVENTS = frozenset({"os.listdir", "os.scandir", "os.putenv", "os.unsetenv"})
_OFFICE_READERS = {
    formats.DOCX: read_docx,
    formats.PPTX: read_pptx,
    formats.XLSX: read_xlsx,
}


def work(task: Mapping[str, Any], *, parent_pid: int) -> None:
    """Shut this process in, parse what comes in, and end it."""
    limits = ParsingLimits(**task["limits"])
    shut_in(parent_pid, limits, max_output_bytes=task["max_output_bytes"])
    sys.stdout.buffer.write(answer_to(task["name"], limits))
    sys.stdout.flush()
    # A parser's clean-up may fail over a broken document, and there is nothing to keep.
    os._exit(0)


def answer_to(name: str, limits: ParsingLimits) -> bytes:
    """Parse the standard input; give the parts of a `Parsed`, or a refusal, in JSON."""
    try:
        parsed = parse(sys.stdin.buffer.read(), name, limits)
        return json.dumps(asdict(parsed), ensure_ascii=False).encode()
    except DocumentRefused as refused:
        return json.dumps({"code": refused.code, "reason": str(refused)}).encode()
    except MemoryError:
        return b'{"code": "out_of_memory"}'


def parse(data: bytes, name: str, limits: ParsingLimits) -> Parsed:
    """Find out what a document is, and read it.

    Raises:
        DocumentRefused: It is not taken.

    """
    try:
        media_type, content = read(data, name, limits)
        text, pages = assemble(content, limits.max_chars)
    except (DocumentRefused, MemoryError):
        raise
    except Exception as error:  # parsers fail over broken documents in any way there is
        raise formats.corrupt() from error
    if not text.strip():
        raise DocumentRefused(
            "no_text",
            "This file holds no text: if its pages are pictures, run text recognition "
            "over it first.",
        )
    has_markup = media_type not in {formats.PDF, formats.TEXT, formats.CSV}
    title = content.title.strip() or (title_of(text) if has_markup else "")
    return Parsed(text, media_type, pages, clean_title(title))


def read(data: bytes, name: str, limits: ParsingLimits) -> tuple[str, Content]:
    """Give a document's media type and what its reader finds.

    Raises whatever a parser raises for a broken document, besides `DocumentRefused`.
    """
    media_type = formats.recognise(data, name)
    if media_type == formats.ARCHIVE:
        archive = open_archive(data, limits)
        media_type, part = main_part(archive)
        return media_type, _OFFICE_READERS[media_type](archive, part, limits)
    if media_type == formats.PDF:
        return media_type, read_pdf(data, limits)
    if media_type == formats.HTML:
        return media_type, read_html(data)
    return media_type, Content([decode(data)])


def shut_in(parent_pid: int, limits: ParsingLimits, *, max_output_bytes: int) -> None:
    """Leave this process nothing but its open files, within the limits; for good."""
    die_with_parent(parent_pid)
    set_limits(limits, max_output_bytes=max_output_bytes)
    sys.addaudithook(guard)


def die_with_parent(parent_pid: int) -> None:
    """Have the kernel kill this process when its parent's thread ends (Linux only)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    # The parent may have died before: then no signal will come.
    if os.getppid() != parent_pid:
        raise SystemExit(1)


def set_limits(limits: ParsingLimits, *, max_output_bytes: int) -> None:
    """Bound memory, processor time, files and what can be written to any of them."""
    for kind, value in (
        (resource.RLIMIT_AS, limits.memory_bytes),
        (resource.RLIMIT_FSIZE, max_output_bytes),
        (resource.RLIMIT_NOFILE, _OPEN_FILES),
        (resource.RLIMIT_CORE, 0),
    ):
        resource.setrlimit(kind, (value, value))
    # At equal limits the signal would be SIGKILL, which could mean anything.
    resource.setrlimit(resource.RLIMIT_CPU, (limits.cpu_s, limits.cpu_s + 1))


def guard(event: str, args: tuple[Any, ...]) -> None:
    """Refuse every file but Python's libraries, the network and other processes.

    It stops Python code only; a native parser is held by the limits.
    """
    if event == "open":
        _guard_open(*args)
    elif event.startswith(_REFUSED_EVENTS) and event not in _HARMLESS_EVENTS:
        raise PermissionError(f"{event} is refused while parsing")
    elif event == "ctypes.dlopen" and args[0] is not None:
        _guard_open(args[0], "r", os.O_RDONLY)


def _guard_open(path: object, mode: str | None, flags: int) -> None:
    is_for_reading = not set(mode or "r") & set("wax+") and (
        flags & os.O_ACCMODE == os.O_RDONLY
    )
    # A number is a file that is open already.
    is_known = isinstance(path, int) or os.path.abspath(  # noqa: PTH100 - pathlib asks the disk
        os.fsdecode(path)  # type: ignore[arg-type]  # the event has a path or a number
    ).startswith(_LIBRARIES)
    if not (is_for_reading and is_known):
        raise PermissionError("only Python's libraries may be opened while parsing")
