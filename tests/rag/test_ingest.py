"""From a file to where it is found, and what is said while something is in the way."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from typing_extensions import override

from rag import chunk_vectors, cutting, version_texts
from rag.cutting import chunk_uid
from rag.embedder import Vectors
from rag.embedders import Embedders
from rag.embedding_lanes import EmbeddingLanes
from rag.files import ORIGINAL, TEXT, version_folder
from rag.ingest import Ingest
from rag.keyword_index import keyword_scores
from rag.models import (
    Chunk,
    ChunkVector,
    Cut,
    Document,
    DocumentState,
    Index,
    VectorState,
    Version,
)
from rag.packed_vectors import unpack
from rag.scope import Scope
from tests.memory.scenes import UNFIT, HashedWords, no_embedder
from tests.rag.documents import pdf
from tests.rag.ingesting import ingest_all
from tests.rag.library_scenes import (
    Parts,
    add_document,
    make_collection,
    make_scope,
    make_upload,
    running_parts,
)

pytestmark = pytest.mark.django_db
GUIDE = """# Travel

## Trains

Ada takes the night train.

## Boats

Grace takes the ferry.
"""


@pytest.fixture
def parts(tmp_path: Path) -> Iterator[Parts]:
    with running_parts(tmp_path) as parts:
        yield parts


@pytest.fixture
def scope(parts: Parts) -> Scope:
    scope = make_scope()
    make_collection(parts, scope)
    return scope


def ingest_of(parts: Parts) -> Ingest:
    return Ingest(parts.embedders, parts.store, parts.files)


def one(state: DocumentState = DocumentState.READY) -> Version:
    version = Version.objects.select_related("document").get()
    assert version.state == state, version.reason
    return version


def test_a_document_becomes_ready_with_all_that_is_known_of_it(
    parts: Parts, scope: Scope
) -> None:
    added = add_document(parts, scope, GUIDE, "guide.md")
    assert (added.state, added.is_searchable) == ("queued", False)
    ingest_all(parts)
    found = parts.library.document(scope, "handbook", added.id)
    assert (found.state, found.is_searchable, found.reason) == ("ready", True, "")
    assert found.media_type == "text/markdown"
    assert found.chunks == found.chunks_done == Chunk.objects.count() > 0
    assert found.finished_at is not None
    version, index = one(), Index.objects.get()
    assert (version.title, version.chars, version.pages) == ("Travel", len(GUIDE), None)
    assert parts.library.document_text(scope, "handbook", added.id) == GUIDE
    assert Cut.objects.get().chunks == found.chunks
    assert index.embedding == "hashed-words/fp32/512"
    assert index.dimension == 512
    assert index.problem == ""


def test_a_chunk_says_where_it_is_and_has_a_vector_of_its_names_and_text(
    parts: Parts, scope: Scope
) -> None:
    text = "\n\n".join(f"# Part {n}\n\n" + f"word{n} " * 150 for n in range(4))
    add_document(parts, scope, text, "parts.md")
    ingest_all(parts)
    chunks = list(Chunk.objects.select_related("version", "index", "vector"))
    assert [chunk.seq for chunk in chunks] == list(range(len(chunks)))
    assert len(chunks) >= 4
    embedder = HashedWords()
    for chunk in chunks:
        assert chunk.text == text[chunk.start : chunk.end]
        assert chunk.uid == chunk_uid(chunk.version, chunk.index, chunk.seq)
        named = "\n".join([" > ".join(["Part 0", *chunk.heading_path]), chunk.text])
        (expected,) = embedder.embed([named.replace(" > ", " ").replace("\n", " ")])
        (vector,) = unpack([chunk.vector.data])
        assert float(np.dot(vector, expected)) > 0.99
        assert chunk.vector_state == VectorState.EMBEDDED, "there is no vector store"
    scores = keyword_scores([chunks[0].index_id], "word2", limit=10)
    assert {Chunk.objects.get(pk=pk).heading_path[0] for pk in scores} == {"Part 2"}


def test_what_is_finished_is_not_read_to_find_what_is_not() -> None:
    waiting = version_texts.unfinished(version_texts.UNPARSED)
    assert "INDEX version_unfinished" in waiting.explain()
    chunks = chunk_vectors.unfinished(VectorState.PENDING)
    assert "INDEX chunk_unfinished" in chunks.explain()


def test_pages_are_counted_and_chunks_know_theirs(parts: Parts, scope: Scope) -> None:
    pages = [f"page {n} tells of thing{n} " * 4 for n in range(1, 4)]
    make_collection(parts, scope, "small", chunk_tokens=32)
    add_document(parts, scope, pdf(pages), "pages.pdf", collection="small")
    ingest_all(parts)
    assert one().pages == 3
    assert {chunk.page for chunk in Chunk.objects.all()} == {1, 2, 3}


def test_a_file_that_is_refused_has_failed_with_its_reason(
    parts: Parts, scope: Scope
) -> None:
    add_document(parts, scope, pdf([""]), "empty.pdf")
    add_document(parts, scope, "Good words.", "good.txt")
    ingest_all(parts)
    failed = Version.objects.get(state=DocumentState.FAILED)
    assert failed.code == "no_text"
    assert "holds no text" in failed.reason
    assert failed.finished_at is not None
    assert Version.objects.filter(state=DocumentState.READY).count() == 1


def test_a_parser_that_ends_its_process_is_tried_three_times(
    parts: Parts, scope: Scope
) -> None:
    add_document(parts, scope)
    for _ in range(version_texts.MAX_ATTEMPTS):
        assert version_texts.take(one_unfinished())  # and here the process dies
    assert not version_texts.take(one_unfinished())
    failed = one(DocumentState.FAILED)
    assert (failed.code, failed.attempts) == ("crashed", 3)
    assert "save it anew" in failed.reason
    added = parts.library.add_document(scope, "handbook", make_upload())
    assert not added.is_new
    ingest_all(parts)
    assert one().attempts == 1, "who brings it again begins anew"


def one_unfinished() -> Version:
    return Version.objects.select_related("document").get()


def test_who_was_replaced_begins_nothing_that_its_successor_has_begun(
    parts: Parts, scope: Scope
) -> None:
    add_document(parts, scope)
    seen, successors = one_unfinished(), one_unfinished()
    assert version_texts.take(successors)
    assert not version_texts.take(seen)
    assert not version_texts.parse(successors, parts.files)
    version = one(DocumentState.EMBEDDING)
    ingest_all(parts)
    assert not version_texts.parse(version, parts.files), "it comes too late"
    assert one().chunks == 1


def test_what_a_stopping_process_parses_does_not_count_as_an_attempt(
    parts: Parts, scope: Scope
) -> None:
    add_document(parts, scope)
    ingest = ingest_of(parts)
    ingest.put_back()
    assert one(DocumentState.QUEUED).attempts == 0
    version = one_unfinished()
    assert version_texts.take(version)
    ingest._parsing = version.pk, version.attempts
    ingest.put_back()
    assert one(DocumentState.PARSING).attempts == 0


def test_a_file_that_is_missing_is_waited_for_and_stops_no_other(
    parts: Parts, scope: Scope
) -> None:
    add_document(parts, scope, "Lost words.", "lost.txt")
    version = one_unfinished()
    path = parts.files.path(version_folder(version.uid), ORIGINAL)
    data = path.read_bytes()
    path.unlink()
    add_document(parts, scope, "Good words.", "good.txt")
    ingest = ingest_of(parts)
    ingest.do_round()
    version.refresh_from_db()
    assert (version.state, version.attempts) == (DocumentState.PARSING, 0)
    assert "The file of lost.txt is missing" in version.reason
    assert ingest.problem == version.reason
    while ingest.do_round():
        continue
    assert Version.objects.filter(state=DocumentState.READY).count() == 1
    path.write_bytes(data)
    ingest_all(parts)
    version.refresh_from_db()
    assert (version.state, version.reason) == (DocumentState.READY, "")


def test_without_an_embedder_documents_wait_and_say_why(
    tmp_path: Path, parts: Parts, scope: Scope
) -> None:
    add_document(parts, scope)
    away = Embedders(
        lambda _model, _precision: EmbeddingLanes(no_embedder),
        model="",
        precision="fp32",
    )
    ingest = Ingest(away, None, parts.files)
    while ingest.do_round():
        continue
    away.close()
    version = one(DocumentState.EMBEDDING)
    assert version.reason == "There is no embedder in this test."
    assert Index.objects.get().problem == version.reason == ingest.problem
    ingest_all(parts)
    assert one().reason == ""
    assert Index.objects.get().problem == ""


def test_another_embedder_adds_nothing_to_an_index(
    tmp_path: Path, parts: Parts, scope: Scope
) -> None:
    add_document(parts, scope)
    ingest_all(parts)
    add_document(parts, scope, "Later words.", "later.txt")
    with running_parts(tmp_path, embedder=HashedWords("another")) as others:
        ingest = ingest_of(others)
        while ingest.do_round():
            continue
    version = Version.objects.get(state=DocumentState.EMBEDDING)
    assert "re-index the collection" in version.reason
    assert Index.objects.get().problem == version.reason
    assert not Chunk.objects.filter(version=version).exists()


def test_chunks_that_are_too_long_for_the_model_are_told_of(
    parts: Parts, scope: Scope
) -> None:
    add_document(parts, scope)
    Index.objects.update(chunk_tokens=20_000)
    ingest = ingest_of(parts)
    while ingest.do_round():
        continue
    assert "at most 9998 tokens" in one(DocumentState.EMBEDDING).reason


def test_a_chunk_that_cannot_be_embedded_is_found_by_its_words(
    parts: Parts, scope: Scope
) -> None:
    text = "\n\n".join([f"{UNFIT} " * 150, "fine words " * 90])
    add_document(parts, scope, text)
    ingest_all(parts)
    states = list(Chunk.objects.values_list("vector_state", flat=True))
    failed = states.count(VectorState.FAILED)
    assert 0 < failed < len(states)
    assert ChunkVector.objects.count() == one().chunks_done == len(states) - failed
    assert one().chunks == len(states)


def test_an_embedder_that_fails_at_everything_fails_no_chunk(
    tmp_path: Path, scope: Scope, parts: Parts
) -> None:
    class Broken(HashedWords):
        @override
        def embed(self, texts: Sequence[str]) -> Vectors:
            raise MemoryError

    add_document(parts, scope)
    with running_parts(tmp_path, embedder=Broken()) as broken:
        ingest = ingest_of(broken)
        while ingest.do_round():
            continue
    assert "The embedder failed (MemoryError)" in one(DocumentState.EMBEDDING).reason
    assert Chunk.objects.get().vector_state == VectorState.PENDING
    ingest_all(parts)
    assert Chunk.objects.get().vector_state == VectorState.EMBEDDED


def test_what_was_there_is_found_until_the_new_version_is_ready(
    parts: Parts, scope: Scope
) -> None:
    added = add_document(parts, scope, "Old words.")
    ingest_all(parts)
    old = one()
    parts.library.replace_document(
        scope, "handbook", added.id, make_upload("New words.")
    )
    ingest = ingest_of(parts)
    assert version_texts.take(Version.objects.get(state=DocumentState.QUEUED))
    assert Document.objects.get().current == old
    assert Chunk.objects.filter(version=old).exists()
    while ingest.do_round():
        continue
    new = one()
    assert (new.number, Document.objects.get().current) == (2, new)
    assert list(Chunk.objects.values_list("text", flat=True)) == ["New words."]
    assert not parts.files.path(version_folder(old.uid), TEXT).exists()


def test_a_replacement_that_fails_leaves_what_was_there(
    parts: Parts, scope: Scope
) -> None:
    added = add_document(parts, scope, "Old words.")
    ingest_all(parts)
    upload = make_upload(pdf([""]), "leave.pdf")
    parts.library.replace_document(scope, "handbook", added.id, upload)
    ingest_all(parts)
    found = parts.library.document(scope, "handbook", added.id)
    assert (found.state, found.code, found.is_searchable) == ("failed", "no_text", True)
    assert Document.objects.get().current == Version.objects.get(number=1)


def test_a_document_that_is_deleted_on_its_way_leaves_nothing(
    parts: Parts, scope: Scope
) -> None:
    added = add_document(parts, scope)
    version = one_unfinished()
    assert version_texts.take(version)
    parts.library.delete_document(scope, "handbook", added.id)
    with pytest.raises(version_texts.TextAway):
        version_texts.parse(version, parts.files)
    assert not ingest_of(parts).do_round()
    assert not Version.objects.exists()
    assert not Chunk.objects.exists()


def test_a_text_that_was_lost_is_made_again(parts: Parts, scope: Scope) -> None:
    add_document(parts, scope)
    version = one_unfinished()
    assert version_texts.take(version)
    version_texts.parse(version, parts.files)
    parts.files.path(version_folder(version.uid), TEXT).unlink()
    ingest_all(parts)
    assert one().chunks == 1
    assert parts.files.path(version_folder(version.uid), TEXT).exists()


def test_many_chunks_are_written_once_however_often_it_is_begun(
    parts: Parts, scope: Scope, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cutting, "ROWS", 10)
    text = "\n\n".join(f"word{n} " * 8 for n in range(60))
    make_collection(parts, scope, "small", chunk_tokens=32)
    add_document(parts, scope, text, collection="small")
    ingest_all(parts)
    version = one()
    assert version.chunks == 30, "and not one batch that is not full"
    before = set(Chunk.objects.values_list("pk", "uid", "text"))
    # As if the process had died before all of them were written.
    last = Chunk.objects.filter(seq__gte=25)
    ChunkVector.objects.filter(chunk__in=last).delete()
    last.delete()
    Cut.objects.all().delete()
    Document.objects.update(current=None)
    Version.objects.update(state=DocumentState.EMBEDDING, chunks=0, chunks_done=0)
    ingest_all(parts)
    after = set(Chunk.objects.values_list("pk", "uid", "text"))
    assert {row[1:] for row in after} == {row[1:] for row in before}
    assert len(after & before) == 25, "those that were there stayed"
    assert Chunk.objects.filter(vector_state=VectorState.PENDING).count() == 0
    assert ChunkVector.objects.count() == version.chunks
