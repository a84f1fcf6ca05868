"""Ingests documents in processes that are killed, and prints what came of it as JSON.

`main` belongs into `manage.py shell`. It reads its task from the standard input,
{"folder": PATH, "chroma": URL, "deaths": [death, ...]}. Each death is a process of its
own, which first brings a document and says so, and then works until it is killed: by
itself, before a statement in the database that begins so ({"before": text}) or before
its n-th ({"statement": n}), from outside ({"after_s": s}), or not at all ({}). At the end
one works in peace, together with another, upkeep is done once, and what there is then is
counted. Everything is imported before the first fork: a start would take longer than the
work.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import chromadb.api
import chromadb.config
import chromadb.errors  # noqa: F401 - as the vector store does when it connects
from django.db import OperationalError, connection

from rag import mirroring, upkeep
from rag.keyword_index import keyword_scores
from rag.mirroring import space_of
from rag.models import Chunk, ChunkVector, Cut, Document, Index, Version
from rag.vectorstore import VectorStore
from tests.rag.ingesting import ingest_all
from tests.rag.library_scenes import (
    Parts,
    add_document,
    make_collection,
    make_scope,
    make_upload,
    running_parts,
)

ACKNOWLEDGED = "acknowledged"
LIMIT_S = 60.0
POLL_S = 0.005
FINISHERS = 2
REPLACING = 5  # each such document is the first one, anew


def main() -> None:
    """Do the whole task."""
    task = json.load(sys.stdin)
    given = Path(task["folder"]), str(task["chroma"])
    wait_for(fork(lambda: begin(*given)))
    lived = list[int]()
    for number, death in enumerate(task["deaths"]):
        pid = fork(lambda n=number, d=death: work(*given, n, d))  # type: ignore[misc]  # bound now
        if after_s := death.get("after_s"):
            until_s = time.monotonic() + LIMIT_S
            while number not in acknowledged(given[0]):
                assert time.monotonic() < until_s
                time.sleep(POLL_S)
            time.sleep(after_s)
            os.kill(pid, signal.SIGKILL)
        if (status := wait_for(pid)) != -signal.SIGKILL:
            assert status == 0, status
            lived.append(number)
    finishers = [fork(lambda: finish(*given)) for _ in range(FINISHERS)]
    statuses = [wait_for(pid) for pid in finishers]
    assert statuses == [0] * FINISHERS, statuses
    assert wait_for(fork(lambda: tidy(*given))) == 0
    json.dump({"lived": lived, **found(*given)}, sys.stdout)


def fork(do: Callable[[], None]) -> int:
    """Do something in a process of its own."""
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            do()
            status = 0
        finally:
            os._exit(status)
    return pid


def wait_for(pid: int) -> int:
    """Give how a process ended: negative for the signal that ended it."""
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def begin(folder: Path, chroma: str) -> None:
    """Make a collection with a document that is found."""
    with parts_in(folder, chroma) as parts:
        scope = make_scope()
        make_collection(parts, scope, chunk_tokens=40)
        add_document(parts, scope, text_of(-1), "first.txt")
        ingest_all(parts)


def work(folder: Path, chroma: str, number: int, death: Mapping[str, Any]) -> None:
    """Bring a document, or the first one anew, and ingest until the end comes.

    Once, have another index built beside the one that serves.
    """
    with parts_in(folder, chroma) as parts:
        scope = make_scope()
        text = text_of(number)
        if number % REPLACING == 0:
            first = Document.objects.order_by("pk")[0].uid
            parts.library.replace_document(scope, "handbook", first, make_upload(text))
        else:
            add_document(parts, scope, text, f"{number}.txt")
        with (folder / ACKNOWLEDGED).open("a") as file:
            file.write(f"{number}\n")
        if number == 0:
            parts.library.reindex(scope, "handbook", {"chunk_tokens": 60})
        if death and "after_s" not in death:
            killer = Killer(death.get("before", ""), death.get("statement", 1))
            connection.execute_wrappers.append(killer)
        ingest_patiently(parts)


def finish(folder: Path, chroma: str) -> None:
    """Ingest what is left, while another process does the same."""
    with parts_in(folder, chroma) as parts:
        ingest_patiently(parts)


def tidy(folder: Path, chroma: str) -> None:
    """Do what upkeep does where a deletion was stopped."""
    with parts_in(folder, chroma) as parts:
        while upkeep.erase_stale(parts.files, 100):
            continue
        while mirroring.erase(parts.store, 500):
            continue


def ingest_patiently(parts: Parts) -> None:
    """Ingest everything, though another process may write at the same time."""
    while True:
        try:
            return ingest_all(parts)
        except OperationalError:
            continue


class Killer:
    """Kills this process before the n-th statement that begins with a text."""

    def __init__(self, text: str, number: int) -> None:
        self._text = text
        self._left = number

    def __call__(self, execute: Callable[..., Any], sql: str, *given: Any) -> Any:
        self._left -= sql.replace('"', "").startswith(self._text)
        if not self._left:
            os.kill(os.getpid(), signal.SIGKILL)
        return execute(sql, *given)


def parts_in(folder: Path, chroma: str) -> Any:
    """Give a library on the folder and the server."""
    return running_parts(folder / "documents", store=VectorStore(chroma))


def text_of(number: int) -> str:
    """Give a text of several chunks with words that no other has."""
    return "\n\n".join(f"only{number} " * 6 + "and others " * 10 for _ in range(6))


def acknowledged(folder: Path) -> list[int]:
    """Give the numbers of the documents that were brought."""
    path = folder / ACKNOWLEDGED
    return [*map(int, path.read_text().split())] if path.exists() else []


def found(folder: Path, chroma: str) -> dict[str, Any]:
    """Count what there is."""
    store = VectorStore(chroma)
    active = Index.objects.get(state="active")
    brought = acknowledged(folder)
    replacements = [n for n in brought if n % REPLACING == 0]
    numbers = [max(replacements), *(n for n in brought if n not in replacements)]
    mirrored = {
        index.uid: Counter(
            uid for page in store.ids(space_of(index.uid)) for uid in page
        )
        for index in Index.objects.exclude(state="dropped")
    }
    rows = {
        uid: Counter(Chunk.objects.filter(index__uid=uid).values_list("uid", flat=True))
        for uid in mirrored
    }
    words = {}
    for number in numbers:
        scores = keyword_scores([active.pk], f"only{number}", limit=100)
        words[number] = sorted(Chunk.objects.filter(pk__in=scores).values_list("seq"))
    cuts = {cut.version_id: cut.chunks for cut in Cut.objects.filter(index=active)}
    there = Chunk.objects.filter(index=active).values_list("version", flat=True)
    return {
        "states": Counter(Version.objects.values_list("state", flat=True)),
        "documents": Document.objects.filter(current__isnull=False).count(),
        "expected": len(numbers),
        "is_cut_right": cuts == Counter(there),
        "progress": list(
            Version.objects.order_by("pk").values_list("chunks", "chunks_done")
        ),
        "cuts": [cuts[pk] for pk in sorted(cuts)],
        "vectors": ChunkVector.objects.count() - Chunk.objects.count(),
        "is_mirrored": mirrored == rows,
        "chunk_tokens": active.chunk_tokens,
        "words": words,
    }
