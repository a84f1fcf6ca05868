"""One run of `manage.py ingest`: brings files, and waits until they are found."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from django.apps import apps
from django.utils import timezone

from rag.embedding_lanes import LOADING, NOT_ASKED
from rag.files import clean_filename
from rag.ingest import Ingest
from rag.management.bringing import Bringer, Brought
from rag.management.progress import Progress
from rag.management.watching import Watch
from rag.models import DocumentState
from rag.records import DocumentRecord

LOOK_S = 0.5  # between two looks at what is not done yet
JOBS_LEASE = "jobs"
LOADS = frozenset({LOADING, NOT_ASKED})  # problems that go away by themselves


class Stopped(Exception):
    """The run ended before everything was done; nothing that was brought is lost.

    The text is one sentence or two that say why.
    """


class IngestRun:
    """Brings files to a collection. Once."""

    def __init__(self, bringer: Bringer, ingest: Ingest, progress: Progress) -> None:
        """`ingest` works where no background process does."""
        self._bringer = bringer
        self._ingest = ingest
        self._progress = progress
        self._counts = Counter[str]()
        self._is_told = False

    @property
    def summary(self) -> str:
        """What has come of the files."""
        told = ", ".join(f"{count} {what}" for what, count in self._counts.items())
        return f"{self._bringer.collection.name}: {told}."

    def do(self, files: Sequence[Path], *, is_waiting: bool) -> int:
        """Bring files and, with `is_waiting`, wait; gives how many failed.

        Raises:
            Stopped: It was interrupted, or what is needed for indexing is away.

        """
        try:
            brought = self._bring(files)
            if is_waiting:
                self._wait(brought)
        except KeyboardInterrupt:
            self._ingest.put_back()
            raise Stopped(
                "Stopped: what was brought is kept, and indexed by the background "
                "process, or when this command is given again."
            ) from None
        finally:
            self._progress.end()
        return self._counts["failed"]

    def _bring(self, files: Sequence[Path]) -> list[DocumentRecord]:
        """Bring each file; gives the documents that are to become ready."""
        self._tell_of_names(files)
        self._bringer.claim(files)
        documents = list[DocumentRecord]()
        for number, file in enumerate(files):
            self._progress.show(number / len(files), f"{number} of {len(files)} files")
            one = self._bringer.bring(file)
            if one.document is None:
                self._fail(str(file), one.problem)
                continue
            outcome = _outcome(one, one.document)
            self._counts[outcome] += 1
            self._progress.note(f"{outcome}: {file}")
            if one.document.state != DocumentState.READY:
                documents.append(one.document)
        return documents

    def _tell_of_names(self, files: Sequence[Path]) -> None:
        """Say which names several files have: each of them is a document."""
        named = dict[str, list[str]]()
        for file in files:
            named.setdefault(clean_filename(file.name), []).append(str(file))
        for name, paths in named.items():
            if len(paths) > 1:
                self._progress.line(
                    f"{name} is the name of several: {', '.join(paths)}"
                )

    def _wait(self, documents: Sequence[DocumentRecord]) -> None:
        scope, collection = self._bringer.scope, self._bringer.collection
        watch = Watch(scope, collection, [document.id for document in documents])
        while True:
            for document in watch.look():
                self._finish(document)
            if not watch.waiting:
                return
            done, total = len(documents) - watch.waiting, len(documents)
            self._progress.show(
                watch.share, f"{done} of {total} documents, {watch.chunks} chunks on"
            )
            if jobs_run():
                self._look_on(watch)
            else:
                self._work(watch)

    def _look_on(self, watch: Watch) -> None:
        if not self._is_told:
            self._progress.line("The background process indexes them.")
            self._is_told = True
        time.sleep(LOOK_S)

    def _work(self, watch: Watch) -> None:
        """Do a part of the indexing in this process."""
        if self._ingest.do_round():
            return
        problem = self._ingest.problem or watch.reason
        if problem and problem not in LOADS:
            raise Stopped(f"What was brought is kept and waits. {problem}")
        time.sleep(LOOK_S)

    def _finish(self, document: DocumentRecord) -> None:
        if document.state == DocumentState.FAILED:
            self._fail(document.filename, document.reason)
            return
        self._counts["ready"] += 1
        self._progress.note(f"ready: {document.filename} ({document.chunks} chunks)")

    def _fail(self, name: str, reason: str) -> None:
        self._counts["failed"] += 1
        self._progress.line(f"failed: {name}: {reason}")


def jobs_run() -> bool:
    """Tell whether a background process is at work, which indexes documents."""
    leases = apps.get_model("gateway", "Lease").objects
    return leases.filter(name=JOBS_LEASE, expires_at__gt=timezone.now()).exists()


def _outcome(brought: Brought, document: DocumentRecord) -> str:
    if not brought.is_new:
        return "unchanged"
    return "added" if document.version == 1 else "replaced"
