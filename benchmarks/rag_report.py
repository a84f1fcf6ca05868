"""Prints what `make bench-rag` measures, and names the bounds that are broken."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from django.conf import settings
from django.core.management import call_command

from ailb_project import chroma
from benchmarks import rag_quality, rag_timing
from benchmarks.beir import DocumentSet, read_set
from benchmarks.processes import STOP_LIMIT_S, BenchmarkFailed
from benchmarks.rag_rows import make_chunks, material_of
from gateway.models import Tenant
from rag.configured import make_embedders, make_store
from rag.embedders import Embedders
from rag.errors import VectorStoreUnavailable
from rag.files import DocumentFiles
from rag.ingest import Ingest
from rag.library import Library
from rag.models import Chunk, Collection, Document, DocumentState
from rag.records import Upload
from rag.scope import Scope
from rag.vectorstore import VectorStore

START_LIMIT_S = 60.0
MEASURED, SMALL, LARGE = "measured", "small", "large"
SMALL_CHUNKS = 10_000
MOST_MS = {SMALL_CHUNKS: 30.0, 100_000: 60.0}


def main(*, data: str, most: int, repeats: int) -> int:
    """Measure and print; 1 when a bound is broken or nothing could be measured."""
    try:
        judged = read_set(Path(data))
        with running_store() as store:
            bench = Bench(judged, store)
            try:
                broken = list(bench.run(most=most, repeats=repeats))
            finally:
                bench.embedders.close()
    except BenchmarkFailed as failure:
        print(f"No result: {failure}", file=sys.stderr)
        return 1
    for row in broken:
        print(f"BROKEN: {row}")
    return 1 if broken else 0


class Bench:
    """An installation of its own, and a set of documents and questions."""

    def __init__(self, judged: DocumentSet, store: VectorStore) -> None:
        self._judged = judged
        self._store = store
        self.embedders: Embedders = make_embedders()
        self._files = DocumentFiles(settings.AILB_DOCUMENTS_DIR)
        self._ingest = Ingest(self.embedders, store, self._files)
        self._library = Library(
            self.embedders,
            store,
            files=self._files,
            model=settings.EMBEDDING_MODEL,
            precision=settings.AILB_EMBEDDING_PRECISION,
        )
        self._scope = Scope(Tenant.objects.create(name="benchmark").pk)

    def run(self, *, most: int, repeats: int) -> Iterator[str]:
        """Print every figure, and yield the bounds that are broken."""
        lines = [entry.text for entry in self._judged.entries]
        pages_s = rag_timing.parsing_s(settings.AILB_DATA_DIR, lines, rounds=repeats)
        print(f"a PDF of {rag_timing.PAGES} pages: {pages_s:.2f} s", flush=True)
        if pages_s > rag_timing.PAGES_S:
            yield f"a PDF of {rag_timing.PAGES} pages takes over {rag_timing.PAGES_S:.0f} s"
        yield from self._ingest_all()
        print(rag_quality.HEADINGS, flush=True)
        rows = rag_quality.measure(self._library, self._scope, MEASURED, self._judged)
        print(*rows, sep="\n", flush=True)
        yield from rag_quality.broken_bounds(rows)
        yield from self._search_all(most, repeats)

    def _ingest_all(self) -> Iterator[str]:
        """Bring every document in, as uploads are, and time it from the first on."""
        self._library.create_collection(self._scope, {"name": MEASURED})
        began_s = time.monotonic()
        for entry in self._judged.entries:
            text = f"# {entry.title}\n\n{entry.text}\n" if entry.title else entry.text
            upload = Upload(f"{entry.id}.md", text.encode(), {})
            self._library.add_document(self._scope, MEASURED, upload)
        while self._ingest.do_round():
            if self._ingest.problem:
                raise BenchmarkFailed(self._ingest.problem)
        taken_s = time.monotonic() - began_s
        newest = Document.objects.filter(newest__state=DocumentState.READY)
        if (ready := newest.count()) != Document.objects.count():
            raise BenchmarkFailed(f"{ready} of {Document.objects.count()} are ready")
        chunks = Chunk.objects.count()
        rate = chunks / taken_s
        print(
            f"{self._judged.name}: {ready} documents, {chunks} chunks in {taken_s:.0f} s, "
            f"{rate:.1f} chunks/s, everything on one core",
            flush=True,
        )
        if rate < rag_timing.CHUNKS_PER_S:
            yield f"ingest: below {rag_timing.CHUNKS_PER_S:.0f} chunks/s"

    def _search_all(self, most: int, repeats: int) -> Iterator[str]:
        """Time searches in collections of made-up chunks, and in the one brought in."""
        questions = [question.text for question in self._judged.questions]
        material = material_of(Collection.objects.get(name=MEASURED))
        print(rag_timing.HEADINGS, flush=True)
        sizes = {SMALL: SMALL_CHUNKS, LARGE: max(most, SMALL_CHUNKS)}
        for name, chunks in sizes.items():
            self._library.create_collection(self._scope, {"name": name})
            make_chunks(Collection.objects.get(name=name), material, chunks)
            while self._ingest.do_round():
                continue
            searching = rag_timing.Searching(
                self._library, self._scope, name, questions
            )
            row = searching.measure(
                f"in the collection '{name}'",
                chunks,
                MOST_MS.get(chunks, MOST_MS[100_000]),
                repeats,
            )
            print(row, flush=True)
            yield from row.broken()


@contextmanager
def running_store() -> Iterator[VectorStore]:
    """Run Chroma as `serve` does, and give our part of it."""
    call_command("migrate", verbosity=0, interactive=False)
    port = chroma.keep_port()
    settings.CHROMA_URL = chroma.url_of(port)
    server = subprocess.Popen(chroma.spec_of(settings.AILB_DATA_DIR, port).argv)
    try:
        store = make_store()
        assert store is not None
        wait_for(store)
        yield store
        store.close()
    finally:
        server.terminate()
        server.wait(STOP_LIMIT_S)


def wait_for(store: VectorStore) -> None:
    """Wait until the store answers."""
    until_s = time.monotonic() + START_LIMIT_S
    while True:
        try:
            store.check()
        except VectorStoreUnavailable as error:
            if time.monotonic() > until_s:
                raise BenchmarkFailed(str(error)) from error
            time.sleep(0.1)
        else:
            return
