"""`manage.py rebuild_rag_index`: fills both indexes of documents anew from the rows."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db.models import Max, Min, QuerySet
from typing_extensions import override

from rag import keyword_upkeep
from rag.configured import make_store
from rag.errors import VectorStoreUnavailable
from rag.mirroring import MIRRORED_INDEXES, mirror, space_of
from rag.models import Chunk, Index, VectorState
from rag.vectorstore import VectorStore

BATCH = 500
MARKED_ROWS = 5_000  # of one statement: SQLite's other writers wait no longer for it
WITH_VECTOR = (VectorState.EMBEDDED, VectorState.INDEXED)


class Command(BaseCommand):
    """Make the keyword index anew, and write the vector store's part again."""

    help = (
        "Fill the keyword index and the vector store anew from the rows. It may run "
        "while requests are served: they find less meanwhile."
    )

    @override
    def add_arguments(self, parser: CommandParser) -> None:
        """Add what narrows it down."""
        parser.add_argument(
            "--collection",
            default="",
            help="Write the vectors of this collection alone.",
        )
        parser.add_argument(
            "--tenant", default="", help="Write the vectors of this tenant alone."
        )

    @override
    def handle(self, *args: Any, **options: Any) -> None:
        """Do everything, and fail when the store is away."""
        indexes = self._indexes(options["collection"], options["tenant"])
        keyword_upkeep.rebuild()
        self._tell("The keyword index is made anew.")
        store = make_store()
        if store is None:
            raise CommandError(
                "There is no vector store: start `manage.py serve`, or set CHROMA_URL."
            )
        try:
            store.check()
            for index in indexes:
                self._rebuild(store, index)
        except VectorStoreUnavailable as error:
            raise CommandError(str(error)) from error
        finally:
            store.close()
        self.stdout.write(f"The vectors of {len(indexes)} indexes are written anew.")

    def _indexes(self, collection: str, tenant: str) -> list[Index]:
        """Give the indexes that were asked for.

        Raises:
            CommandError: There are none of this name.

        """
        indexes = Index.objects.filter(state__in=MIRRORED_INDEXES)
        if tenant:
            indexes = indexes.filter(collection__tenant__name=tenant)
        if collection:
            indexes = indexes.filter(collection__name=collection)
        found = list(indexes.select_related("collection__tenant").order_by("pk"))
        if not found and (collection or tenant):
            raise CommandError(
                "There is no such collection: see the names of tenants and collections "
                "in the admin."
            )
        return found

    def _rebuild(self, store: VectorStore, index: Index) -> None:
        chunks = Chunk.objects.filter(index=index)
        total = chunks.filter(vector_state__in=WITH_VECTOR).count()
        # Marked first: if this is stopped, the background process does the rest.
        mark(chunks)
        store.drop(space_of(index.uid))
        # What the background process was about to write has gone with the space.
        mark(chunks)
        done = 0
        while some := mirror(store, index, BATCH):
            done += some
            self._tell(
                f"{index.collection.tenant}, {index}: {done} of {total} vectors written"
            )

    def _tell(self, progress: str) -> None:
        self.stdout.write(progress)
        self.stdout.flush()


def mark(chunks: QuerySet[Chunk]) -> None:
    """Have the vector store get the vectors of chunks again, some at a time."""
    ends = chunks.order_by().aggregate(first=Min("pk"), last=Max("pk"))
    for first in range(ends["first"] or 0, (ends["last"] or -1) + 1, MARKED_ROWS):
        some = chunks.filter(pk__gte=first, pk__lt=first + MARKED_ROWS)
        some.filter(vector_state=VectorState.INDEXED).update(
            vector_state=VectorState.EMBEDDED
        )
