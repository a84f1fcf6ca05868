"""When a version is found, and when another index serves: each in one transaction."""

from __future__ import annotations

from collections.abc import Collection as Some

from django.db import transaction
from django.db.models import Count, Exists, F, OuterRef, Q, QuerySet, Subquery
from django.utils import timezone

from rag.chunk_vectors import unfinished as chunks_in
from rag.erasure import erase_versions, stale_versions
from rag.files import DocumentFiles
from rag.filling import lacks
from rag.metrics import count_ingested
from rag.models import (
    Chunk,
    Collection,
    Cut,
    Document,
    DocumentState,
    Index,
    IndexState,
    VectorState,
    Version,
)
from rag.version_texts import unfinished

VERSIONS = 200  # of one call


def finish(files: DocumentFiles, *, unmirrored: Some[int] | None) -> list[int]:
    """Have versions found that are complete in the index that serves; gives these.

    Their vectors must be in the vector store, too, but for those in `unmirrored` indexes,
    given by row, None for all: the store is away then, and gets them later.
    """
    waiting = unfinished([DocumentState.EMBEDDING]).filter(_is_complete(unmirrored))
    by_collection = dict[int, list[int]]()
    found = waiting.values_list("pk", "document__collection")[:VERSIONS]
    for pk, collection in found:
        by_collection.setdefault(collection, []).append(pk)
    done = [
        pk
        for collection, pks in by_collection.items()
        for pk in _finish(collection, pks, unmirrored)
    ]
    for _ in done:
        count_ingested("ready")
    documents = Version.objects.filter(pk__in=done).values("document")
    old = stale_versions().filter(document__in=documents)
    if done and (pks := list(old.values_list("pk", flat=True))):
        erase_versions(pks, files)
    return done


def _is_complete(unmirrored: Some[int] | None) -> Q:
    """Say of versions that nothing is in the way of their being found."""
    is_complete = Q(~lacks(state=IndexState.ACTIVE))
    if unmirrored is None:
        return is_complete
    waiting = Chunk.objects.filter(
        version=OuterRef("pk"),
        index__state=IndexState.ACTIVE,
        vector_state=VectorState.EMBEDDED,
    )
    return is_complete & Q(~Exists(waiting.exclude(index__in=unmirrored)))


@transaction.atomic
def _finish(
    collection: int, version_pks: list[int], unmirrored: Some[int] | None
) -> list[int]:
    if not lock_collection(collection):
        return []
    # Looked at again: the index that serves may be another one by now.
    waiting = unfinished([DocumentState.EMBEDDING]).select_for_update(
        no_key=True, of=["self"]
    )
    complete = waiting.filter(_is_complete(unmirrored), pk__in=version_pks)
    pks = list(complete.values_list("pk", flat=True))
    Version.objects.filter(pk__in=pks).update(
        state=DocumentState.READY, code="", reason="", finished_at=timezone.now()
    )
    Document.objects.filter(newest__in=pks).update(current=F("newest"))
    return pks


def lock_collection(pk: int) -> bool:
    """Have nobody else change a collection's indexes or versions; False if it is gone."""
    mine = Collection.objects.select_for_update(no_key=True).filter(pk=pk)
    return mine.values_list("pk").first() is not None


# --- Indexes -------------------------------------------------------------------------


def missing(index: Index) -> QuerySet[Version]:
    """Give the versions that are found and are not complete in an index, in order."""
    found = Version.objects.filter(
        document__collection=index.collection_id, document__current=F("pk")
    )
    return found.filter(lacks(pk=index.pk)).order_by("pk")


def switch(index: Index, *, is_mirrored: bool) -> bool:
    """Have an index serve that is being built and complete; False when it is not.

    With `is_mirrored`, its vectors must be in the vector store. What served before is
    kept, and what was kept before that is dropped.
    """
    if not _is_built(index, is_mirrored=is_mirrored):
        return False
    with transaction.atomic():
        if not lock_collection(index.collection_id):
            return False
        mine = Index.objects.filter(collection=index.collection_id)
        is_building = mine.filter(pk=index.pk, state=IndexState.BUILDING).exists()
        if not is_building or not _is_built(index, is_mirrored=is_mirrored):
            return False
        if not drop(mine.filter(state=IndexState.PREVIOUS)):
            return False
        active = mine.filter(state=IndexState.ACTIVE)
        active.update(state=IndexState.PREVIOUS, problem="")
        mine.filter(pk=index.pk).update(
            state=IndexState.ACTIVE, problem="", activated_at=timezone.now()
        )
        _count_again(index)
    return True


def drop(indexes: QuerySet[Index]) -> bool:
    """Have upkeep delete an index of a collection that is locked, if there is one.

    False when it has one to delete already, which must be gone before.
    """
    index = indexes.first()
    if index is None:
        return True
    if Index.objects.filter(
        collection=index.collection_id, state=IndexState.DROPPED
    ).exists():
        return False
    indexes.filter(pk=index.pk).update(state=IndexState.DROPPED, problem="")
    return True


def _is_built(index: Index, *, is_mirrored: bool) -> bool:
    waiting = chunks_in(VectorState.EMBEDDED).filter(index=index)
    if is_mirrored and waiting.exists():
        return False
    return not missing(index).exists()


def _count_again(index: Index) -> None:
    """Have the collection's versions say how many chunks they have in this index."""
    versions = Version.objects.filter(document__collection=index.collection_id)
    cuts = Cut.objects.filter(index=index, version=OuterRef("pk")).values("chunks")
    versions.filter(document__current=F("pk")).update(
        chunks=Subquery(cuts[:1]), chunks_done=Subquery(cuts[:1])
    )
    versions.filter(state=DocumentState.EMBEDDING).update(chunks=0, chunks_done=0)
    failed = chunks_in(VectorState.FAILED).filter(index=index).order_by()
    for version, count in failed.values_list("version").annotate(Count("pk")):
        mine = versions.filter(pk=version, document__current=F("pk"))
        mine.update(chunks_done=F("chunks") - count)
