"""Collections as rows: who may read and change which, and what they are set to."""

from __future__ import annotations

from collections.abc import Collection as Names, Iterable, Mapping, Sequence
from dataclasses import dataclass

from django.db import IntegrityError, transaction
from django.db.models import Case, Count, F, IntegerField, Q, QuerySet, Sum, Value, When
from django.utils import timezone

from rag.chunking import ChunkSize
from rag.collection_fields import (
    CHUNK_FIELDS,
    normalised,
    read_chunk_size,
    read_fields,
    read_name,
)
from rag.erasure import erase_collection
from rag.errors import CollectionNotFound, InvalidField, NameTaken
from rag.files import DocumentFiles
from rag.models import (
    Chunk,
    Collection,
    Cut,
    Document,
    DocumentState,
    Index,
    IndexState,
    VectorState,
    Visibility,
)
from rag.records import CollectionRecord, Counts, IndexRecord
from rag.scope import Scope

READER = Collection.readers.through


@dataclass(frozen=True, slots=True)
class OperatorScope(Scope):
    """Who runs the installation: all collections of a tenant, whoever may read them.

    For the admin and for commands, never for a request.
    """


def readable(scope: Scope) -> QuerySet[Collection]:
    """Give the collections that a scope may read: the one place that says so."""
    allowed = Q(visibility=Visibility.EVERYBODY)
    allowed |= Q(visibility=Visibility.TENANT, tenant_id=scope.tenant_id)
    if isinstance(scope, OperatorScope):
        allowed |= Q(tenant_id=scope.tenant_id)
    elif scope.owner:
        mine = READER.objects.filter(apikey__public_id=scope.owner)
        allowed |= Q(visibility=Visibility.KEYS, pk__in=mine.values("collection"))
    collections = Collection.objects.filter(allowed)
    names = _narrowed_to(scope)
    return collections if names is None else collections.filter(name__in=names)


def _narrowed_to(scope: Scope) -> set[str] | None:
    """Give the names that a scope is narrowed to, None for all."""
    if scope.collections is None:
        return None
    return {normalised(name) for name in scope.collections}


def writable(scope: Scope) -> QuerySet[Collection]:
    """Give the collections that a scope may change: those it may read of its tenant."""
    return readable(scope).filter(tenant_id=scope.tenant_id)


def find_readable(scope: Scope, name: str) -> Collection:
    """Give a collection to read, the tenant's own before others' of that name.

    Raises:
        CollectionNotFound: There is none, or it may not be read.

    """
    return _first(_own_first(readable(scope), scope).filter(name=_known(name)))


def find_readable_all(scope: Scope, names: Names[str]) -> list[Collection]:
    """Give several collections to read in one query, each once, in the order of names.

    Raises:
        CollectionNotFound: There is none of some name, or it may not be read.

    """
    wanted = list(dict.fromkeys(_known(name) for name in names))
    found = _by_name(_own_first(readable(scope), scope).filter(name__in=wanted))
    if len(found) < len(wanted):
        raise CollectionNotFound
    return [found[name] for name in wanted]


def find_readable_by_uid(scope: Scope, uid: str) -> Collection:
    """Give a collection to read by its id.

    Raises:
        CollectionNotFound: There is none, or it may not be read.

    """
    return _first(readable(scope).filter(uid=_known(uid)))


def find_writable(scope: Scope, name: str) -> Collection:
    """Give a collection to change.

    Raises:
        CollectionNotFound: There is none of the tenant, or it may not be read.

    """
    return _first(writable(scope).filter(name=_known(name)))


def _known(name: str) -> str:
    if "\0" in name or not name.isprintable():  # PostgreSQL would raise
        raise CollectionNotFound
    return normalised(name)


def _first(collections: QuerySet[Collection]) -> Collection:
    found = collections.first()
    if found is None:
        raise CollectionNotFound
    return found


def _own_first(collections: QuerySet[Collection], scope: Scope) -> QuerySet[Collection]:
    is_own = Case(
        When(tenant_id=scope.tenant_id, then=Value(0)),
        default=Value(1),
        output_field=IntegerField(),
    )
    return collections.order_by("name", is_own, "pk")


def _by_name(collections: Iterable[Collection]) -> dict[str, Collection]:
    found = dict[str, Collection]()
    for collection in collections:
        found.setdefault(collection.name, collection)
    return found


class Catalogue:
    """Lists, makes, changes and deletes collections. Blocking; safe from any thread."""

    def __init__(self, files: DocumentFiles, *, model: str, precision: str) -> None:
        """Have new collections embedded by `model` at `precision`."""
        self._files = files
        self._model = model
        self._precision = precision

    def all(self, scope: Scope) -> tuple[CollectionRecord, ...]:
        """Give what `rag.library.Library.collections` gives."""
        found = _by_name(_own_first(readable(scope), scope))
        return records(list(found.values()), scope)

    def create(self, scope: Scope, fields: Mapping[str, object]) -> CollectionRecord:
        """Do what `rag.library.Library.create_collection` does."""
        if "name" not in fields:
            raise InvalidField("A collection needs a 'name'.", "name")
        name = self._allowed_name(scope, fields["name"])
        size = read_chunk_size(fields, default=ChunkSize(), model=self._model)
        rest = {key: fields[key] for key in fields if key not in CHUNK_FIELDS}
        made = Collection(
            tenant_id=scope.tenant_id, owner=scope.owner, **read_fields(rest)
        )
        try:
            with transaction.atomic():
                made.save(force_insert=True)
                self._make_index(made, size)
        except IntegrityError as error:
            raise _conflict(error, scope, name) from error
        return record(made, scope)

    def change(
        self, scope: Scope, name: str, fields: Mapping[str, object]
    ) -> CollectionRecord:
        """Do what `rag.library.Library.change_collection` does."""
        collection = find_writable(scope, name)
        if "name" in fields:
            self._allowed_name(scope, fields["name"])
        changes = read_fields(fields)
        for key, value in changes.items():
            setattr(collection, key, value)
        try:
            with transaction.atomic():
                changed = Collection.objects.filter(pk=collection.pk).update(**changes)
        except IntegrityError as error:
            raise _conflict(error, scope, collection.name) from error  # the new one
        if changes and not changed:
            raise CollectionNotFound
        return record(collection, scope)

    def delete(self, scope: Scope, name: str) -> None:
        """Do what `rag.library.Library.delete_collection` does."""
        erase_collection(find_writable(scope, name), self._files)

    def _allowed_name(self, scope: Scope, value: object) -> str:
        name = read_name(value)
        names = _narrowed_to(scope)
        if names is not None and name not in names:
            raise CollectionNotFound
        return name

    def _make_index(self, collection: Collection, size: ChunkSize) -> None:
        Index.objects.create(
            collection=collection,
            state=IndexState.ACTIVE,
            model=self._model,
            precision=self._precision,
            chunk_tokens=size.tokens,
            chunk_overlap=size.overlap,
            activated_at=timezone.now(),
        )


def _conflict(error: IntegrityError, scope: Scope, name: str) -> Exception:
    """Tell a name that is taken from any other conflict."""
    taken = Q(tenant_id=scope.tenant_id) | Q(visibility=Visibility.EVERYBODY)
    if Collection.objects.filter(taken, name=name).exists():
        return NameTaken(f"There is a collection '{name}' already: take another name.")
    return error


# --- As values -----------------------------------------------------------------------


def record(collection: Collection, scope: Scope) -> CollectionRecord:
    """Give a collection as a value."""
    return records([collection], scope)[0]


def records(
    collections: Sequence[Collection], scope: Scope
) -> tuple[CollectionRecord, ...]:
    """Give collections as values, in some queries, however many there are."""
    pks = [collection.pk for collection in collections]
    counts, searchable = _counted(pks)
    indexes = dict[tuple[int, str], IndexRecord]()
    # Others are about to be deleted.
    kept = Index.objects.filter(collection__in=pks, state__in=IndexState.values)
    for index in kept.order_by():
        total = counts.get(index.collection_id, Counts()).total
        done = searchable.get(index.collection_id, 0)
        if index.state != IndexState.ACTIVE:
            total, done = done, _done(index)
        key = (index.collection_id, index.state)
        indexes[key] = _index_record(index, done=done, total=total)
    return tuple(
        _record(collection, scope, counts.get(collection.pk, Counts()), indexes)
        for collection in collections
    )


def _counted(pks: Sequence[int]) -> tuple[dict[int, Counts], dict[int, int]]:
    """Count documents by collection, and those of them that are found."""
    grouped = (
        Document.objects.filter(collection__in=pks)
        .order_by()
        .values_list("collection", "newest__state")
        .annotate(Count("pk"), Count("current"), Sum("newest__size"))
    )
    numbers = dict[int, dict[str, int]]()
    searchable = dict[int, int]()
    for pk, state, documents, found, size in grouped:
        mine = numbers.setdefault(pk, dict.fromkeys(Counts.__dataclass_fields__, 0))
        mine["total"] += documents
        mine["size"] += size or 0
        mine[_OUTCOMES.get(state, "in_progress")] += documents
        searchable[pk] = searchable.get(pk, 0) + found
    return {pk: Counts(**mine) for pk, mine in numbers.items()}, searchable


def _done(index: Index) -> int:
    """Count the documents whose found version is complete in an index."""
    waiting = Chunk.objects.filter(index=index, vector_state=VectorState.PENDING)
    cuts = Cut.objects.filter(index=index, version=F("version__document__current"))
    return cuts.exclude(version__in=waiting.values("version")).count()


_OUTCOMES = {
    None: "failed",  # its version is gone: nothing will become of it
    DocumentState.READY: "ready",
    DocumentState.FAILED: "failed",
}


def _record(
    collection: Collection,
    scope: Scope,
    counts: Counts,
    indexes: Mapping[tuple[int, str], IndexRecord],
) -> CollectionRecord:
    is_own = collection.tenant_id == scope.tenant_id
    return CollectionRecord(
        uid=collection.uid,
        name=collection.name,
        description=collection.description,
        owner=collection.owner if is_own else "",
        is_own=is_own,
        visibility=collection.visibility,
        is_strict=collection.is_strict,
        is_required=collection.is_required,
        top_k=collection.top_k,
        max_tokens=collection.max_tokens,
        per_document=collection.per_document,
        min_score=collection.min_score,
        relative_cut=collection.relative_cut,
        joins_neighbours=collection.joins_neighbours,
        counts=counts,
        index=indexes.get((collection.pk, IndexState.ACTIVE)),
        building=indexes.get((collection.pk, IndexState.BUILDING)),
        previous=indexes.get((collection.pk, IndexState.PREVIOUS)),
        created_at=collection.created_at,
        last_used_at=collection.last_used_at,
    )


def _index_record(index: Index, *, done: int, total: int) -> IndexRecord:
    return IndexRecord(
        state=index.state,
        model=index.model,
        precision=index.precision,
        embedding=index.embedding,
        dimension=index.dimension,
        chunker=index.chunker,
        chunk_tokens=index.chunk_tokens,
        chunk_overlap=index.chunk_overlap,
        done=done,
        total=total,
        problem=index.problem,
    )
