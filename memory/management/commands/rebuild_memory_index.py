"""`manage.py rebuild_memory_index`: fills the vector store anew from the rows."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db.models import Max
from typing_extensions import override

from memory.models import EmbeddingState, Turn, TurnVector
from memory.upkeep import embed_waiting, mirror, reembed, spaces
from rag.configured import make_embedders, make_store
from rag.errors import EmbedderUnavailable, VectorStoreUnavailable
from rag.vectorstore import VectorStore

BATCH = 500
EMBEDDED_BATCH = 64
MARKED_ROWS = 5_000  # of one statement: SQLite's other writers wait no longer for it


class Command(BaseCommand):
    """Drop what the vector store has of memory and write it again."""

    help = (
        "Fill the vector store anew from the rows. It may run while requests are served: "
        "they search the rows meanwhile."
    )

    @override
    def add_arguments(self, parser: CommandParser) -> None:
        """Add the one option."""
        parser.add_argument(
            "--reembed",
            action="store_true",
            help="First make the vectors that are missing, or that another embedding "
            "model made than the one that is set.",
        )

    @override
    def handle(self, *args: Any, **options: Any) -> None:
        """Do everything, and fail when the store or the embedder is away."""
        store = make_store()
        if store is None:
            raise CommandError(
                "There is no vector store: start `manage.py serve`, or set CHROMA_URL."
            )
        try:
            store.check()
            if options["reembed"]:
                self._reembed()
            self._rebuild(store)
        except (EmbedderUnavailable, VectorStoreUnavailable) as error:
            raise CommandError(str(error)) from error
        finally:
            store.close()

    def _reembed(self) -> None:
        mark(EmbeddingState.FAILED, EmbeddingState.PENDING)
        lanes = make_embedders().default
        try:
            done = 0
            while some := embed_waiting(lanes, EMBEDDED_BATCH):
                done += some
                self._tell(f"{done} missing vectors made")
            done = 0
            while some := reembed(lanes, EMBEDDED_BATCH):
                done += some
                self._tell(f"{done} vectors made anew")
        finally:
            lanes.close()

    def _rebuild(self, store: VectorStore) -> None:
        # Marked first: if this is stopped, the background process does the rest.
        mark(EmbeddingState.INDEXED, EmbeddingState.EMBEDDED)
        for space in spaces(store):
            store.drop(space)
        total, done = TurnVector.objects.count(), 0
        used = TurnVector.objects.order_by("embedding").values_list("embedding")
        for (embedding,) in used.distinct():
            while some := mirror(store, embedding, BATCH):
                done += some
                self._tell(f"{done} of {total} vectors written")
        self.stdout.write(f"The vector store holds {total} vectors of memory.")

    def _tell(self, progress: str) -> None:
        self.stdout.write(progress)
        self.stdout.flush()


def mark(old: EmbeddingState, new: EmbeddingState) -> None:
    """Change the state of turns, some at a time."""
    last = Turn.objects.aggregate(last=Max("pk"))["last"] or 0
    for first in range(0, last + 1, MARKED_ROWS):
        some = Turn.objects.filter(pk__gte=first, pk__lt=first + MARKED_ROWS)
        some.filter(embedding_state=old).update(embedding_state=new)
