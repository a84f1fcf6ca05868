"""Chunks to be found by their words, on either database."""

from __future__ import annotations

import secrets
from collections.abc import Sequence

from django.db import connections

from gateway.models import Tenant
from rag.keyword_terms import terms_for
from rag.models import Chunk, Collection, Document, Index, IndexState, Version


def make_index(using: str, *, tenant: str = "team") -> Index:
    """Make a collection and the index that serves."""
    owner, _ = Tenant.objects.using(using).get_or_create(name=tenant)
    collection = Collection.objects.using(using).create(
        tenant=owner, name=f"c {secrets.token_hex(4)}"
    )
    return Index.objects.using(using).create(
        collection=collection, state=IndexState.ACTIVE
    )


def make_version(index: Index, *, is_current: bool = True) -> Version:
    """Make a document of one version, which is found or not."""
    using = str(index._state.db)
    document = Document.objects.using(using).create(
        collection=index.collection, uid=secrets.token_hex(8), filename="a.txt"
    )
    version = Version.objects.using(using).create(
        document=document, sha256="0" * 64, size=1
    )
    if is_current:
        document.current = version
        document.save()
    return version


def make_chunks(
    index: Index, texts: Sequence[str], *, version: Version | None = None
) -> list[Chunk]:
    """Write chunks of a document, of its own unless a version is given."""
    using, version = str(index._state.db), version or make_version(index)
    first = Chunk.objects.using(using).filter(version=version, index=index).count()
    return Chunk.objects.using(using).bulk_create(
        [
            Chunk(
                index=index,
                version=version,
                uid=secrets.token_hex(16),
                seq=seq,
                start=0,
                end=len(text),
                tokens=1,
                text=text,
                terms=terms_for(text, title="", heading_path=()),
            )
            for seq, text in enumerate(texts, first)
        ],
        batch_size=500,
    )


def run_sql(using: str, statement: str) -> None:
    """Run a statement as a person at the database's own shell would."""
    with connections[using].cursor() as cursor:
        cursor.execute(statement)


def sizes_of(using: str) -> dict[int, tuple[int, int]]:
    """Give the chunks and terms that the database has noted of each index."""
    with connections[using].cursor() as cursor:
        cursor.execute(
            "SELECT index_id, sum(chunks), sum(terms) FROM rag_indexsize "
            "GROUP BY index_id HAVING sum(chunks) <> 0"
        )
        return {index: (int(chunks), int(terms)) for index, chunks, terms in cursor}
