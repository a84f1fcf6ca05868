"""How long documents take: to read, to bring in, and to search."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from typing_extensions import override

from benchmarks.processes import BenchmarkFailed
from rag.library import Library
from rag.parsing import parse_document
from rag.questions import RetrievalRequest
from rag.retrieval import choose
from rag.scope import Scope

PAGES, PAGES_S = 117, 1.0
LINES_OF_A_PAGE = 45
CHUNKS_PER_S = 25.0
SEARCHES = 100  # of each round
HEADINGS = f"{'search':<32}{'chunks':>10}{'p50 ms':>9}{'p95 ms':>9}"


@dataclass(frozen=True, slots=True)
class Search:
    """One line of the table: medians of the rounds."""

    name: str
    chunks: int
    p50_ms: float
    p95_ms: float
    most_ms: float

    @override
    def __str__(self) -> str:
        """Lay it out under the headings."""
        return f"{self.name:<32}{self.chunks:>10}{self.p50_ms:>9.2f}{self.p95_ms:>9.2f}"

    def broken(self) -> Iterator[str]:
        """Name the bound that it breaks."""
        if self.p95_ms > self.most_ms:
            yield f"{self.name}, {self.chunks} chunks: p95 is over {self.most_ms:.0f} ms"


class Searching:
    """Asks a collection questions that were never asked before."""

    def __init__(
        self, library: Library, scope: Scope, name: str, questions: Sequence[str]
    ) -> None:
        self._library = library
        self._scope = scope
        self._name = name
        self._questions = questions
        self._asked = 0

    def ask(self) -> None:
        """Ask one question, and choose what a chat would be given."""
        self._asked += 1
        text = self._questions[self._asked % len(self._questions)]
        request = RetrievalRequest(
            self._scope, (self._name,), f"{text} ({self._asked})", None, None, None
        )
        found = choose(self._library.candidates(request, until_s=math.inf), None)
        if found.problem or not found.hits:
            raise BenchmarkFailed(f"a search was not whole: {found.problem or text}")

    def measure(self, name: str, chunks: int, most_ms: float, rounds: int) -> Search:
        """Ask round after round."""
        self.ask()  # what is made at the first call is not measured
        measured = [times_ms(self.ask, SEARCHES) for _ in range(rounds)]
        return Search(
            name,
            chunks,
            p50_ms=statistics.median(map(statistics.median, measured)),
            p95_ms=statistics.median(times[int(0.95 * SEARCHES)] for times in measured),
            most_ms=most_ms,
        )


def times_ms(work: Callable[[], None], count: int) -> list[float]:
    """Time so many calls; the shortest comes first."""
    times = []
    for _ in range(count):
        began_s = time.perf_counter()
        work()
        times.append((time.perf_counter() - began_s) * 1000)
    return sorted(times)


def parsing_s(folder: Path, lines: Sequence[str], *, rounds: int) -> float:
    """Time the parsing of a long PDF, in seconds: the median of some rounds."""
    path = folder / "long.pdf"
    path.write_bytes(pdf_of(lines, pages=PAGES))
    times = []
    for _ in range(rounds):
        began_s = time.perf_counter()
        parsed = parse_document(path, name=path.name)
        times.append(time.perf_counter() - began_s)
        if len(parsed.pages) != PAGES:
            raise BenchmarkFailed("the PDF was not read whole")
    return statistics.median(times)


def pdf_of(lines: Sequence[str], *, pages: int) -> bytes:
    """Write a PDF of full pages; what is not ASCII is left out."""
    kids = " ".join(f"{4 + 2 * page} 0 R" for page in range(pages))
    objects = [
        "<< /Type /Catalog /Pages 2 0 R >>",
        f"<< /Type /Pages /Kids [{kids}] /Count {pages} >>",
        "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
    ]
    for page in range(pages):
        shown = [
            lines[(page * LINES_OF_A_PAGE + line) % len(lines)][:90]
            for line in range(LINES_OF_A_PAGE)
        ]
        objects += page_objects(page, shown)
    body, places = b"%PDF-1.7\n", []
    for number, content in enumerate(objects, start=1):
        places.append(len(body))
        body += f"{number} 0 obj\n{content}\nendobj\n".encode("ascii", "ignore")
    table = "".join(f"{place:010} 00000 n \n" for place in places)
    end = (
        f"xref\n0 {len(objects) + 1}\n0000000000 65535 f \n{table}trailer\n"
        f"<< /Size {len(objects) + 1} /Root 1 0 R >>\nstartxref\n{len(body)}\n%%EOF\n"
    )
    return body + end.encode()


def page_objects(page: int, lines: Sequence[str]) -> tuple[str, str]:
    """Write a page, and the stream of its text."""
    safe = [
        "".join(c for c in line if c.isascii() and c.isprintable() and c not in "()\\")
        for line in lines
    ]
    text = "".join(f"({line}) Tj 0 -14 Td\n" for line in safe)
    content = f"BT /F1 10 Tf 60 760 Td\n{text}ET"
    return (
        (
            "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents "
            f"{5 + 2 * page} 0 R /Resources << /Font << /F1 3 0 R >> >> >>"
        ),
        f"<< /Length {len(content)} >>\nstream\n{content}\nendstream",
    )
