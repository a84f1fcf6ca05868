"""Collections whose documents are found at once: rows as the indexing leaves them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from rag.attributes import Value
from rag.embedders import Embedders
from rag.embedding_lanes import EmbeddingLanes
from rag.keyword_terms import terms_for
from rag.mirroring import space_of
from rag.models import (
    Chunk,
    ChunkVector,
    Collection,
    Cut,
    Document,
    DocumentState,
    Index,
    IndexState,
    VectorState,
    Version,
)
from rag.packed_vectors import pack, unpack
from rag.questions import Candidates, RetrievalRequest, Retrieved
from rag.retrieval import Retriever, choose
from rag.scope import Scope
from rag.validators import new_uid
from rag.vectorstore import VectorStore
from tests.memory.scenes import HashedWords, no_embedder

EMBEDDER = HashedWords()
MODEL, PRECISION = "", "fp32"


@contextmanager
def running_embedders(embedder: HashedWords | None = EMBEDDER) -> Iterator[Embedders]:
    """Give one embedder by every name; None: there is none."""
    load = no_embedder if embedder is None else (lambda: embedder)
    embedders = Embedders(
        lambda _model, _precision: EmbeddingLanes(load),
        model=MODEL,
        precision=PRECISION,
    )
    try:
        yield embedders
    finally:
        embedders.close()


@contextmanager
def running_retriever(
    store: VectorStore | None = None, embedder: HashedWords | None = EMBEDDER
) -> Iterator[Retriever]:
    """Give a retriever, by default without a vector store."""
    with running_embedders(embedder) as embedders:
        retriever = Retriever(embedders, store)
        try:
            yield retriever
        finally:
            retriever.close()


def make_shelf(
    scope: Scope,
    name: str = "handbook",
    *,
    embedding: str = str(EMBEDDER.id),
    **fields: object,
) -> Collection:
    """Make an empty collection with an index that serves."""
    collection = Collection.objects.create(
        tenant_id=scope.tenant_id, name=name, **fields
    )
    make_index(collection, IndexState.ACTIVE, embedding=embedding)
    return collection


def make_index(
    collection: Collection, state: str, *, embedding: str = str(EMBEDDER.id)
) -> Index:
    return Index.objects.create(
        collection=collection,
        state=state,
        model=MODEL,
        precision=PRECISION,
        embedding=embedding,
        dimension=EMBEDDER.id.dimension,
    )


def index_of(collection: Collection) -> Index:
    return collection.indexes.get(state=IndexState.ACTIVE)


def put(
    collection: Collection,
    *texts: str,
    uid: str = "",
    filename: str = "leave.txt",
    attributes: dict[str, Value] | None = None,
    gap: int = 100,
) -> Document:
    """Store a document of these chunks, `gap` characters apart, which is found."""
    document = Document.objects.create(
        collection=collection,
        uid=uid or new_uid(),
        filename=filename,
        attributes=attributes or {},
    )
    version = add_version(document, *texts, gap=gap)
    Document.objects.filter(pk=document.pk).update(current=version, newest=version)
    return document


def add_version(document: Document, *texts: str, gap: int = 100) -> Version:
    """Add a version that is complete in the index that serves, and is not found."""
    number = document.versions.count() + 1
    version = Version.objects.create(
        document=document,
        number=number,
        sha256=new_uid() * 2,
        size=sum(map(len, texts)),
        state=DocumentState.READY,
        chunks=len(texts),
        chunks_done=len(texts),
    )
    write_chunks(index_of(document.collection), version, texts, gap=gap)
    return version


def write_chunks(
    index: Index, version: Version, texts: Sequence[str], *, gap: int = 100
) -> None:
    """Write chunks with their vectors, which no vector store has."""
    Cut.objects.create(index=index, version=version, chunks=len(texts))
    start, chunks = 0, list[Chunk]()
    for seq, text in enumerate(texts):
        chunks.append(
            Chunk(
                index=index,
                version=version,
                uid=new_uid(),
                seq=seq,
                start=start,
                end=start + len(text),
                page=seq + 1,
                tokens=math.ceil(len(text) / 4),
                text=text,
                terms=terms_for(text, title="", heading_path=()),
                vector_state=VectorState.EMBEDDED,
            )
        )
        start += len(text) + gap
    Chunk.objects.bulk_create(chunks, batch_size=500)
    ChunkVector.objects.bulk_create(
        [
            ChunkVector(chunk=chunk, data=pack(vector))
            for chunk, vector in zip(chunks, EMBEDDER.embed(texts), strict=True)
        ],
        batch_size=500,
    )


def weigh_down(collection: Collection, count: int) -> None:
    """Add so many chunks that are not found: the collection counts as a large one."""
    document = Document.objects.create(collection=collection, uid=new_uid())
    version = Version.objects.create(document=document, sha256=new_uid() * 2, size=1)
    Chunk.objects.bulk_create(
        [
            Chunk(
                index=index_of(collection),
                version=version,
                uid=new_uid(),
                seq=seq,
                start=0,
                end=1,
                tokens=1,
                text="x",
                terms="",
                vector_state=VectorState.FAILED,
            )
            for seq in range(count)
        ],
        batch_size=500,
    )


def mirror(store: VectorStore, collection: Collection) -> None:
    """Give the vector store everything of the index that serves."""
    index = index_of(collection)
    chunks = Chunk.objects.filter(index=index, vector__isnull=False)
    rows = list(chunks.values_list("uid", "version", "vector__data"))
    store.upsert(
        space_of(index.uid),
        [uid for uid, _, _ in rows],
        unpack([data for _, _, data in rows]),
        [{"version": version} for _, version, _ in rows],
    )
    Chunk.objects.filter(index=index).update(vector_state=VectorState.INDEXED)


def ask(
    retriever: Retriever,
    scope: Scope,
    query: str,
    *names: str,
    until_s: float = math.inf,
    **given: object,
) -> Candidates:
    """Ask the collections of these names, or the handbook."""
    request = RetrievalRequest(scope, names or ("handbook",), query, **given)  # type: ignore[arg-type]  # fields of a test
    return retriever.candidates(request, until_s=until_s)


def answer(
    retriever: Retriever, scope: Scope, query: str, *names: str, **given: object
) -> Retrieved:
    """Ask, and choose."""
    return choose(ask(retriever, scope, query, *names, **given), None)  # type: ignore[arg-type]  # fields of a test


def texts(retrieved: Retrieved) -> list[str]:
    return [hit.text for hit in retrieved.hits]
