"""The background process removes what is left of documents, and counts what waits."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from prometheus_client import REGISTRY

from gateway.rag_upkeep import RagUpkeep
from rag.files import version_folder
from rag.models import Chunk, ChunkErasure, FileErasure, Index, Version
from rag.reindexing import discard_previous, reindex
from rag.vectorstore import VectorStore
from tests.rag.ingesting import ingest_all
from tests.rag.library_scenes import (
    Parts,
    add_document,
    make_collection,
    make_scope,
    running_parts,
)

NOW = datetime(2026, 1, 1, tzinfo=UTC)
pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def parts(tmp_path: Path) -> Iterator[Parts]:
    with running_parts(tmp_path) as parts:
        yield parts


def test_what_is_left_of_documents_goes(parts: Parts) -> None:
    scope = make_scope()
    make_collection(parts, scope)
    add_document(parts, scope)
    ingest_all(parts)
    reindex(scope, "handbook", {"chunk_tokens": 40})
    ingest_all(parts)
    discard_previous(scope, "handbook")
    folder = version_folder("a" * 32)
    parts.files.put(folder, "original", b"left behind")
    FileErasure.objects.create(folder=folder)
    RagUpkeep(None, parts.files).do_round(NOW)
    assert Index.objects.count() == Chunk.objects.count() == 1
    assert not parts.files.path(folder, "original").exists()
    assert not FileErasure.objects.exists()
    assert ChunkErasure.objects.exists(), "there is no store to remove them from"


def test_what_waits_is_counted(parts: Parts) -> None:
    scope = make_scope()
    make_collection(parts, scope)
    add_document(parts, scope)
    upkeep = RagUpkeep(None, parts.files)
    upkeep.do_round(NOW)
    assert REGISTRY.get_sample_value("ailb_rag_waiting_documents") == 1
    ingest_all(parts)
    upkeep._count(NOW)
    assert REGISTRY.get_sample_value("ailb_rag_waiting_documents") == 0
    assert REGISTRY.get_sample_value("ailb_rag_waiting_chunks") == 0


def test_a_vector_store_that_is_away_is_told_of_once_and_stops_nothing(
    parts: Parts, caplog: pytest.LogCaptureFixture
) -> None:
    scope = make_scope()
    make_collection(parts, scope)
    document = add_document(parts, scope)
    ingest_all(parts)
    uid = Chunk.objects.get().uid
    parts.library.delete_document(scope, "handbook", document.id)
    store = VectorStore("http://127.0.0.1:1")
    upkeep = RagUpkeep(store, parts.files)
    for _ in range(3):
        for step in upkeep._steps:
            step.due_s = 0.0
        upkeep.do_round(NOW)
    store.close()
    told = [each for each in caplog.records if "upkeep waits" in each.message]
    assert len(told) == len({each.__dict__["step"] for each in told}) > 0
    assert ChunkErasure.objects.filter(uid=uid).exists(), "nothing is forgotten"
    assert not Version.objects.exists()
