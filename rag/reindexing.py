"""Another index for a collection: asked for, given up, or taken back."""

from __future__ import annotations

from collections.abc import Mapping

from django.conf import settings
from django.db import transaction

from rag.catalogue import OperatorScope, find_writable, record
from rag.chunking import CHUNKER, ChunkSize
from rag.collection_fields import CHUNK_FIELDS, read_chunk_size
from rag.erasure import erase_some
from rag.errors import CollectionNotFound, InvalidField
from rag.models import Chunk, Collection, Index, IndexState
from rag.packaged_model import NAMES, PRECISIONS
from rag.readiness import drop, lock_collection
from rag.records import CollectionRecord
from rag.scope import Scope

FIELDS = CHUNK_FIELDS | {"model", "precision"}
MAX_MODEL = 500
ERASED_CHUNKS = (
    2_000  # of one transaction: SQLite's other writers wait no longer for it
)


def reindex(scope: Scope, name: str, fields: Mapping[str, object]) -> CollectionRecord:
    """Do what `rag.library.Library.reindex` does."""
    collection = find_writable(scope, name)
    serving = Index.objects.filter(collection=collection, state=IndexState.ACTIVE)
    index = _read(scope, fields, serving.first() or Index())
    index.collection = collection
    _empty_bin(collection)
    with transaction.atomic():
        _lock(collection)
        _drop(collection, IndexState.BUILDING)
        index.save(force_insert=True)
    return record(collection, scope)


def rollback(scope: Scope, name: str) -> CollectionRecord:
    """Do what `rag.library.Library.rollback` does."""
    collection = find_writable(scope, name)
    _empty_bin(collection)
    with transaction.atomic():
        _lock(collection)
        mine = Index.objects.filter(collection=collection)
        previous = mine.filter(state=IndexState.PREVIOUS).first()
        if previous is None:
            raise InvalidField(
                "There is no previous index to go back to: re-index the collection.",
                "collection",
            )
        _drop(collection, IndexState.BUILDING)
        mine.filter(pk=previous.pk).update(state=IndexState.BUILDING, problem="")
    return record(collection, scope)


def cancel_reindex(scope: Scope, name: str) -> CollectionRecord:
    """Do what `rag.library.Library.cancel_reindex` does."""
    return _give_up(scope, name, IndexState.BUILDING)


def discard_previous(scope: Scope, name: str) -> CollectionRecord:
    """Do what `rag.library.Library.discard_previous` does."""
    return _give_up(scope, name, IndexState.PREVIOUS)


def erase_dropped(limit: int = ERASED_CHUNKS) -> int:
    """Delete a part of the indexes that nobody wants any more; gives how many chunks."""
    index = Index.objects.filter(state=IndexState.DROPPED).first()
    if index is None:
        return 0
    erased = erase_some(Chunk.objects.filter(index=index), limit)
    if erased < limit:
        with transaction.atomic():
            Index.objects.filter(pk=index.pk).delete()
    return erased


def _give_up(scope: Scope, name: str, state: IndexState) -> CollectionRecord:
    collection = find_writable(scope, name)
    _empty_bin(collection)
    with transaction.atomic():
        _lock(collection)
        _drop(collection, state)
    return record(collection, scope)


def _lock(collection: Collection) -> None:
    if not lock_collection(collection.pk):
        raise CollectionNotFound


def _drop(collection: Collection, state: IndexState) -> None:
    mine = Index.objects.filter(collection=collection)
    if not drop(mine.filter(state=state)):
        raise InvalidField(
            "An index of this collection is still being deleted: ask again in a moment.",
            "collection",
        )


def _empty_bin(collection: Collection) -> None:
    """Delete what was dropped before: there is room for one at a time."""
    dropped = Index.objects.filter(collection=collection, state=IndexState.DROPPED)
    for index in dropped:
        while erase_some(Chunk.objects.filter(index=index), ERASED_CHUNKS):
            pass
        with transaction.atomic():
            dropped.filter(pk=index.pk).delete()


# --- What was asked for --------------------------------------------------------------


def _read(scope: Scope, fields: Mapping[str, object], serving: Index) -> Index:
    """Give the index to build: what is not said is as in the one that serves."""
    if unknown := sorted(fields.keys() - FIELDS):
        raise InvalidField(f"'{unknown[0]}' is no field of a re-index.", unknown[0])
    model = _read_model(scope, fields.get("model", serving.model), serving)
    size = read_chunk_size(
        {key: fields[key] for key in fields if key in CHUNK_FIELDS},
        default=ChunkSize(serving.chunk_tokens, serving.chunk_overlap),
        model=model,
    )
    precision = fields.get("precision", serving.precision)
    if precision not in PRECISIONS:
        raise InvalidField(
            f"'precision' is one of {', '.join(PRECISIONS)}.", "precision"
        )
    return Index(
        state=IndexState.BUILDING,
        model=model,
        precision=precision,
        chunker=CHUNKER,
        chunk_tokens=size.tokens,
        chunk_overlap=size.overlap,
    )


def _read_model(scope: Scope, value: object, serving: Index) -> str:
    """Give an embedding model's name, one that whoever asks may have loaded.

    A client must not name any folder of this machine, nor what is to be fetched.
    """
    if not isinstance(value, str) or len(value) > MAX_MODEL or not value.isprintable():
        raise InvalidField(
            f"'model' is a text of at most {MAX_MODEL} characters.", "model"
        )
    known = {*NAMES, settings.EMBEDDING_MODEL, serving.model}
    if value not in known and not isinstance(scope, OperatorScope):
        raise InvalidField(
            "'model' is the packaged embedding model, or the one that EMBEDDING_MODEL "
            "names: an operator can choose others in the admin.",
            "model",
        )
    return value
