"""The rounds of upkeep, and the embedders and the vector store that these share."""

from __future__ import annotations

import threading

from django.conf import settings
from django.utils import timezone

from gateway.database_upkeep import DatabaseUpkeep
from gateway.memory_upkeep import MemoryUpkeep
from gateway.rag_upkeep import RagUpkeep
from rag.configured import make_embedders, make_store
from rag.embedders import Embedders
from rag.files import DocumentFiles
from rag.ingest import Ingest
from rag.vectorstore import VectorStore


class Rounds:
    """Makes what is needed when it is first needed. Each round is for one thread."""

    def __init__(self) -> None:
        """Make nothing yet."""
        self._lock = threading.Lock()
        self._parts: tuple[Embedders, VectorStore | None] | None = None
        self._database = DatabaseUpkeep()
        self._memory: MemoryUpkeep | None = None
        self._documents: RagUpkeep | None = None
        self._ingest: Ingest | None = None
        self._is_ending = False

    def keep_database(self) -> bool:
        """Look after the database's file.

        Raises:
            django.db.Error: The database is away; so do the others.

        """
        self._database.do_round(timezone.now())
        return False

    def keep_memory(self) -> bool:
        """Look after memory."""
        if self._memory is None:
            embedders, store = self._shared()
            self._memory = MemoryUpkeep(embedders.default, store)
        self._memory.do_round(timezone.now())
        return False

    def keep_documents(self) -> bool:
        """Bring documents on their way, and look after them; True when there is more."""
        if self._ingest is None or self._documents is None:
            embedders, store = self._shared()
            files = DocumentFiles(settings.AILB_DOCUMENTS_DIR)
            self._documents = RagUpkeep(store, files)
            self._ingest = Ingest(embedders, store, files)
        if self._is_ending:
            self._ingest.stop()
        has_done = self._ingest.do_round()
        self._documents.do_round(timezone.now())
        return has_done

    def end_documents(self) -> None:
        """Have a round of documents end soon. From any thread; there is no going on."""
        self._is_ending = True
        if self._ingest is not None:
            self._ingest.stop()

    def leave_documents(self) -> None:
        """Have a document that is still being parsed not count as one that crashed."""
        if self._ingest is not None:
            self._ingest.put_back()

    def close(self) -> None:
        """Close the embedders and the store."""
        with self._lock:
            if self._parts is not None:
                embedders, store = self._parts
                embedders.close()
                if store is not None:
                    store.close()

    def _shared(self) -> tuple[Embedders, VectorStore | None]:
        with self._lock:
            if self._parts is None:
                store = make_store()  # first: it may raise
                self._parts = make_embedders(), store
            return self._parts
