"""Documents of every accepted type become text; limits and the sandbox hold."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from rag import formats
from rag.errors import DocumentRefused, ParserUnavailable
from rag.parsed import Parsed, ParsingLimits
from rag.parsing import parse_document
from tests.rag import documents

ROOT = Path(__file__).resolve().parents[2]
LIMITS = ParsingLimits()
Parse = Callable[..., Parsed]
# Tries something inside the child's walls, and prints what came of it.
WALLED = """
import os, sys
from rag.parsed import ParsingLimits
from rag.parsing_child import shut_in
shut_in(os.getppid(), ParsingLimits(), max_output_bytes=1000)
try:
    exec(sys.argv[1])
except PermissionError:
    print("refused")
"""
# A parent whose child waits for a document that never ends.
PARENT = """
import sys
from pathlib import Path
from rag.parsing import parse_document
parse_document(Path(sys.argv[1]), name="a.txt")
"""


@pytest.fixture
def parse(tmp_path: Path) -> Parse:
    def parse_bytes(
        data: bytes, name: str = "a.txt", limits: ParsingLimits = LIMITS
    ) -> Parsed:
        path = tmp_path / "document"
        path.write_bytes(data)
        return parse_document(path, name=name, limits=limits)

    return parse_bytes


def refusal_of(parse: Parse, data: bytes, **changes: Any) -> str:
    with pytest.raises(DocumentRefused) as refused:
        parse(data, limits=replace(LIMITS, **changes))
    assert str(refused.value).endswith(".")
    return refused.value.code


def test_a_pdf_keeps_its_pages(parse: Parse) -> None:
    parsed = parse(documents.pdf(["First page", "", "Third page"], title="Trains"))
    assert (parsed.media_type, parsed.title) == (formats.PDF, "Trains")
    texts = [parsed.text[page.start : page.end] for page in parsed.pages]
    assert texts == ["First page", "", "Third page"]
    assert [page.number for page in parsed.pages] == [1, 2, 3]


def test_a_word_document_keeps_headings_lists_tables_and_notes(parse: Parse) -> None:
    parsed = parse(documents.docx())
    assert parsed.text.split("\n\n") == [
        "# Fares",
        "A day ticket costs 7.",
        "- Dogs ride free",
        "| Zone | Price |\n| --- | --- |\n| A | 3\\|4 |",
        "A note\n",
    ]
    assert (parsed.media_type, parsed.title, parsed.pages) == (
        formats.DOCX,
        "Fares",
        (),
    )
    assert parse(documents.docx(title="Of trains")).title == "Of trains"


def test_a_presentation_keeps_its_slides_in_the_order_shown(parse: Parse) -> None:
    parsed = parse(documents.pptx([("One", "first line"), ("Two", "second line")]))
    texts = [parsed.text[page.start : page.end].split() for page in parsed.pages]
    assert texts == [["#", "One", "first", "line"], ["#", "Two", "second", "line"]]
    assert (parsed.media_type, parsed.title) == (formats.PPTX, "One")


def test_a_workbook_keeps_its_sheets(parse: Parse) -> None:
    day = datetime(2026, 5, 4)  # noqa: DTZ001 - a workbook's dates have no zone
    rows: list[list[documents.Cell]] = [
        ["City", "Since"],
        ["Porto", day],
        [None, None],
        ["Faro", 7, None],
    ]
    parsed = parse(documents.xlsx({"Stops": rows, "Empty": []}))
    assert parsed.media_type == formats.XLSX
    assert parsed.text == (
        "## Stops\n\n| City | Since |\n| --- | --- |\n| Porto | 2026-05-04 00:00:00 |\n"
        "| Faro | 7 |\n"
    )


def test_a_page_is_what_a_reader_sees(parse: Parse) -> None:
    page = (
        "<!doctype html><meta charset=cp1252><title>Caf\xe9</title><style>p{}</style>"
        "<h2>Menu\n today</h2><p>Soup &amp; <b>bread</b><br>daily<p hidden>secret"
        "<b>x</b><p>seen<!-- no --></p><div hidden><div>no</div>no</div><ul><li>tea<li>milk</ul><pre>a\n  b</pre>"
        "<table><tr><th>Dish<th>Price<tr><td>Soup<td>3</table><script>no()</script>end"
    )
    parsed = parse(page.encode("cp1252"))
    assert (parsed.media_type, parsed.title) == (formats.HTML, "Caf\xe9")
    assert parsed.text.rstrip().split("\n\n") == [
        "## Menu today",
        "Soup & bread\ndaily",
        "seen",
        "- tea",
        "- milk",
        "```\na\n  b\n```",
        "| Dish | Price |\n| --- | --- |\n| Soup | 3 |",
        "end",
    ]


@pytest.mark.parametrize(
    ("name", "media_type", "title"),
    [
        ("a.md", formats.MARKDOWN, "Tea"),
        ("a.csv", formats.CSV, ""),
        ("a.txt", formats.TEXT, ""),
    ],
)
def test_texts_are_kept_as_they_are(
    parse: Parse, name: str, media_type: str, title: str
) -> None:
    parsed = parse("# Tea\r\ncafe\u0301,\0 1".encode("utf-16"), name)
    assert parsed == Parsed("# Tea\ncaf\u00e9, 1", media_type, (), title)


def test_what_is_over_a_limit_is_refused(parse: Parse) -> None:
    two_pages, slides = documents.pdf(["a", "b"]), documents.pptx([("a", "b")] * 2)
    assert refusal_of(parse, b"12345", max_bytes=4) == "too_large"
    assert refusal_of(parse, two_pages, max_pages=1) == "too_many_pages"
    assert refusal_of(parse, slides, max_pages=1) == "too_many_pages"
    assert refusal_of(parse, b"12345", max_chars=4) == "too_much_text"
    assert refusal_of(parse, documents.docx(), max_archive_files=2) == "zip_bomb"
    assert refusal_of(parse, documents.docx(), max_unpacked_bytes=9) == "zip_bomb"
    assert parse(b"12345", limits=replace(LIMITS, max_bytes=5, max_chars=5)).text
    assert parse(two_pages, limits=replace(LIMITS, max_pages=2)).text


def test_what_takes_too_long_is_refused(parse: Parse) -> None:
    assert refusal_of(parse, b"hello", wall_s=0.001) == "timed_out"
    slow = b"<html>" + b"<p>word" * 2_000_000
    assert refusal_of(parse, slow, cpu_s=1) == "timed_out"


def test_what_takes_too_much_memory_is_refused(parse: Parse) -> None:
    large = b"word " * 4_000_000
    assert refusal_of(parse, large, memory_bytes=60 * 2**20) == "out_of_memory"


def test_a_parser_that_cannot_run_is_no_fault_of_the_document(parse: Parse) -> None:
    with pytest.raises(ParserUnavailable, match="status 1, OverflowError"):
        parse(b"hello", limits=replace(LIMITS, cpu_s=2**70))


@pytest.mark.parametrize(
    "attempt",
    [
        "open('/etc/hostname')",
        "open('/proc/self/environ')",
        "open(os.__file__, 'a')",
        "open(os.path.dirname(os.__file__) + '/../../../etc/hostname')",
        "os.open('/dev/null', os.O_RDONLY)",
        "import socket; socket.socket()",
        "import socket; socket.getaddrinfo('localhost', 80)",
        "import subprocess; subprocess.run(['true'])",
        "os.system('true')",
        "os.fork()",
        "os.remove('/tmp/none')",
        "os.kill(os.getppid(), 0)",
        "import ctypes; ctypes.CDLL('libc.so.6')",
    ],
)
def test_a_child_reaches_nothing_outside(attempt: str) -> None:
    assert walled(attempt) == "refused"


def test_a_child_may_load_what_it_parses_with() -> None:
    assert walled("import numpy, pypdfium2; print('loaded')") == "loaded"
    assert (
        walled("import resource as r; print(r.getrlimit(r.RLIMIT_FSIZE)[0])") == "1000"
    )


def test_a_child_loads_no_django() -> None:
    question = "import rag.parsing_child; print('django' in sys.modules)"
    assert walled(question) == "False"


def walled(attempt: str) -> str:
    child = subprocess.run(
        [sys.executable, "-c", WALLED, attempt],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return child.stdout.strip()


def test_a_child_dies_with_its_parent_and_knows_none_of_its_secrets(
    tmp_path: Path,
) -> None:
    fifo = tmp_path / "document"
    os.mkfifo(fifo)
    # Open for both, so that neither side waits for the other, and no end comes.
    held = os.open(fifo, os.O_RDWR)
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, str(fifo)],
        cwd=ROOT,
        env={**os.environ, "SECRET_KEY": "canary"},
    )
    try:
        child = child_of(parent)
        assert b"LC_ALL" in (known := Path(f"/proc/{child}/environ").read_bytes())
        assert b"canary" not in known
        watched = os.pidfd_open(child)
        parent.kill()
        parent.wait()
        assert select.select([watched], [], [], 10)[0] == [watched]
        os.close(watched)
    finally:
        parent.kill()
        parent.wait()
        os.close(held)


def test_a_server_that_has_ended_is_replaced(parse: Parse) -> None:
    assert parse(b"first").text == "first"
    (server,) = children_of(os.getpid())
    assert b"rag.parsing_server" in Path(f"/proc/{server}/cmdline").read_bytes()
    os.kill(server, signal.SIGKILL)
    assert parse(b"second").text == "second"
    (other,) = children_of(os.getpid())
    assert other != server
    assert parse(b"third").text == "third"
    assert children_of(os.getpid()) == [other]


def test_a_server_ends_with_its_thread(tmp_path: Path) -> None:
    path = tmp_path / "document"
    path.write_bytes(b"hello")
    with ThreadPoolExecutor(1) as thread:
        thread.submit(parse_document, path, name="a.txt").result()
        thread_id = thread.submit(threading.get_native_id).result()
        listing = Path(f"/proc/self/task/{thread_id}/children").read_text()
        (server,) = map(int, listing.split())
        watched = os.pidfd_open(server)
    assert select.select([watched], [], [], 10)[0] == [watched]
    os.close(watched)


def child_of(parent: subprocess.Popen[bytes]) -> int:
    """Wait until it has a server that has forked a child."""
    while True:
        assert parent.poll() is None
        for server in children_of(parent.pid):
            for child in children_of(server):
                return child


def children_of(pid: int) -> list[int]:
    with suppress(FileNotFoundError):
        return list(
            map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())
        )
    return []
