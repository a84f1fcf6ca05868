"""Documents on their way: parsed, cut, embedded, mirrored, found; a part at a time.

Rows say how far everything is, and each step may be done again: nothing is lost or done
twice when the process ends in the middle of any of them.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence

from rag import readiness, version_texts
from rag.cutting import IndexStuck, Toolbox
from rag.embedders import Embedders
from rag.errors import EmbedderUnavailable, ParserUnavailable, VectorStoreUnavailable
from rag.files import DocumentFiles
from rag.filling import VERSIONS, Filling, lacks
from rag.mirroring import mirror, waiting_indexes
from rag.models import DocumentState, Index, IndexState, Version
from rag.vectorstore import VectorStore
from rag.version_texts import TextAway, unfinished
from rag.waiting import note_problem

logger = logging.getLogger(__name__)

PART_S = 1.5  # of each kind of work, before the next one has its turn
PARSER_PAUSE_S = 30.0
TEXT_PAUSE_S = 30.0
STORE_PAUSE_S = 2.0
MIRRORED = 500  # vectors at a time
BUILT_VERSIONS = 256


class Ingest:
    """Brings documents from their file to where they are found. For one thread.

    Several processes may do this at once: they do some work twice, and nothing wrong.
    """

    def __init__(
        self, embedders: Embedders, store: VectorStore | None, files: DocumentFiles
    ) -> None:
        """Without a `store`, vectors stay where they are: with their chunks."""
        self._store = store
        self._files = files
        self._filling = Filling(Toolbox(embedders), files)
        self._problem = ""
        self._is_stopping = False
        self._parser_due_s = 0.0
        self._store_due_s = 0.0
        self._unread = dict[int, float]()  # versions whose file is away, and until when
        self._unmirrored = set[int]()  # indexes whose vectors the store does not take
        self._parsing: tuple[int, int] | None = None

    @property
    def problem(self) -> str:
        """Say what could not be done in the last round; empty when nothing."""
        return self._problem

    def do_round(self) -> bool:
        """Do a bounded part of everything; True when something was done.

        Then there may be more. One document may take as long as its parsing is allowed.

        Raises:
            django.db.Error: The database is away.

        """
        self._problem = ""
        steps = (self._parse, self._fill, self._mirror, self._finish, self._build)
        has_done = False
        for step in steps:
            if not self._is_stopping:
                has_done |= step()
        return has_done

    def stop(self) -> None:
        """Have a round end soon. From any thread; there is no going on."""
        self._is_stopping = True

    def put_back(self) -> None:
        """Have what is being parsed not count as an attempt. From any thread.

        For a process that ends, as it should, without waiting for it.
        """
        if parsing := self._parsing:
            pk, attempts = parsing
            mine = Version.objects.filter(pk=pk, state=DocumentState.PARSING)
            mine.filter(attempts=attempts + 1).update(attempts=attempts)

    # --- Parsing -----------------------------------------------------------------------

    def _parse(self) -> bool:
        if time.monotonic() < self._parser_due_s:
            return False
        has_done, until_s = False, time.monotonic() + PART_S
        while not self._is_stopping and time.monotonic() < until_s:
            version = self._next_unparsed()
            if version is None:
                break
            has_done |= self._parse_one(version)
        return has_done

    def _next_unparsed(self) -> Version | None:
        now_s = time.monotonic()
        self._unread = {pk: at for pk, at in self._unread.items() if at > now_s}
        waiting = unfinished(version_texts.UNPARSED).exclude(pk__in=list(self._unread))
        return waiting.select_related("document").first()

    def _parse_one(self, version: Version) -> bool:
        if not version_texts.take(version):
            return True
        self._parsing = version.pk, version.attempts
        try:
            version_texts.parse(version, self._files)
        except ParserUnavailable as error:
            self._problem = str(error)
            self._parser_due_s = time.monotonic() + PARSER_PAUSE_S
            self._unread[version.pk] = self._parser_due_s
            return False
        except TextAway as error:
            self._problem = str(error)
            self._unread[version.pk] = time.monotonic() + TEXT_PAUSE_S
            return False
        finally:
            self._parsing = None
        return True

    # --- Chunks and vectors ------------------------------------------------------------

    def _fill(self) -> bool:
        """Fill versions that nobody finds yet into the indexes that serve."""
        has_done, until_s = False, time.monotonic() + PART_S
        passed = list[int]()  # collections that nothing can be done for now
        while not self._is_stopping and time.monotonic() < until_s:
            waiting = (
                unfinished([DocumentState.EMBEDDING])
                .filter(lacks(state=IndexState.ACTIVE))
                .exclude(pk__in=self._filling.aside)
                .exclude(document__collection__in=passed)
            )
            oldest = waiting.select_related("document").first()
            if oldest is None:
                break
            collection = oldest.document.collection_id
            index = _active(collection)
            mine = waiting.filter(document__collection=collection)
            versions = list(mine.select_related("document")[:VERSIONS])
            if index is None or not self._fill_one(index, versions, until_s):
                passed.append(collection)
            else:
                has_done = True
        return has_done

    def _fill_one(
        self, index: Index, versions: Sequence[Version], until_s: float
    ) -> bool:
        try:
            has_done = self._filling.fill(index, versions, until_s)
        except (EmbedderUnavailable, IndexStuck) as error:
            self._problem = str(error)
            if not self._is_stopping:  # else that is why there is no embedder
                note_problem(index, str(error))
            return False
        problem = self._filling.problem_of(index)
        self._problem = problem or self._problem
        # One version that is set aside keeps no other from being found.
        note_problem(index, "" if index.state == IndexState.ACTIVE else problem)
        return has_done

    def _build(self) -> bool:
        """Fill versions that are found into the indexes that will serve."""
        has_done = False
        for index in Index.objects.filter(state=IndexState.BUILDING):
            until_s = time.monotonic() + PART_S
            missing = readiness.missing(index).exclude(pk__in=self._filling.aside)
            versions = list(missing.select_related("document")[:BUILT_VERSIONS])
            if versions:
                has_done |= self._fill_one(index, versions, until_s)
            elif readiness.switch(index, is_mirrored=self._mirrors(index)):
                has_done = True
                logger.info("another index serves", extra={"collection": str(index)})
            if self._is_stopping:
                break
        return has_done

    # --- The vector store --------------------------------------------------------------

    def _mirror(self) -> bool:
        if self._store is None or time.monotonic() < self._store_due_s:
            return False
        has_done, until_s = False, time.monotonic() + PART_S
        self._unmirrored = set()
        for index in waiting_indexes():
            try:
                while mirror(self._store, index, MIRRORED):
                    has_done = True
                    if self._is_stopping or time.monotonic() >= until_s:
                        return has_done
            except VectorStoreUnavailable as error:
                self._problem = str(error)
                self._unmirrored.add(index.pk)
                self._store_due_s = time.monotonic() + STORE_PAUSE_S
        return has_done

    def _mirrors(self, index: Index) -> bool:
        return self._store is not None and index.pk not in self._unmirrored

    def _finish(self) -> bool:
        unmirrored = None if self._store is None else self._unmirrored
        return bool(readiness.finish(self._files, unmirrored=unmirrored))


def _active(collection: int) -> Index | None:
    mine = Index.objects.filter(collection=collection, state=IndexState.ACTIVE)
    return mine.first()
