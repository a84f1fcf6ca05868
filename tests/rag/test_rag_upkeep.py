"""What the vector store and the folder of files are told, with a real store."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import timedelta
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.apps import apps
from django.core.management import CommandError, call_command
from django.utils import timezone
from pytest_django import Settings
from typing_extensions import override

from rag import mirroring, upkeep
from rag.configured import make_store
from rag.files import ORIGINAL, stored_folder, version_folder
from rag.ingest import Ingest
from rag.keyword_index import keyword_scores
from rag.mirroring import space_of
from rag.models import (
    Chunk,
    ChunkErasure,
    Collection,
    Document,
    DocumentState,
    FileErasure,
    Index,
    VectorState,
    Version,
)
from rag.scope import Scope
from rag.vectorstore import VectorStore
from tests.memory.scenes import HashedWords
from tests.rag.chroma_server import RunningChroma, running_chroma
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
TEXT = "\n\n".join(f"word{n} " * 20 for n in range(6))


@pytest.fixture(scope="module")
def chroma(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningChroma]:
    with running_chroma(tmp_path_factory.mktemp("chroma")) as chroma:
        yield chroma


@pytest.fixture
def store(chroma: RunningChroma, settings: Settings, db: None) -> Iterator[VectorStore]:
    """Name a store in the settings, and empty it."""
    settings.CHROMA_URL = chroma.url
    store = make_store()
    assert store is not None
    for space in store.spaces():
        store.drop(space)
    yield store
    store.close()


@pytest.fixture
def parts(tmp_path: Path, store: VectorStore) -> Iterator[Parts]:
    with running_parts(tmp_path, store=store) as parts:
        yield parts


@pytest.fixture
def scope(parts: Parts) -> Scope:
    """Have a collection with one document that is ready."""
    for notes in (ChunkErasure, FileErasure):  # of tests whose rows were flushed
        notes.objects.all().delete()
    scope = make_scope()
    make_collection(parts, scope, chunk_tokens=40)
    add_document(parts, scope, TEXT)
    ingest_all(parts)
    return scope


def stored(store: VectorStore, index: Index | None = None) -> list[str]:
    space = space_of((index or Index.objects.get()).uid)
    return sorted(uid for page in store.ids(space) for uid in page)


def uids(**wanted: object) -> list[str]:
    return sorted(Chunk.objects.filter(**wanted).values_list("uid", flat=True))


def erase(store: VectorStore) -> None:
    while mirroring.erase(store, 2):
        continue


def test_vectors_are_mirrored_with_their_scope_and_no_text(
    parts: Parts, store: VectorStore, scope: Scope
) -> None:
    assert stored(store) == uids(vector_state=VectorState.INDEXED)
    (question,) = HashedWords().embed(["word3 " * 20])
    document, version = Document.objects.get(), Version.objects.get()
    where: dict[str, str | int] = {
        "tenant": scope.tenant_id,
        "document": document.pk,
        "version": version.pk,
    }
    space = space_of(Index.objects.get().uid)
    (best, _), *_ = store.query(space, question, where=where, limit=1)
    assert "word3" in Chunk.objects.get(uid=best).text
    for key in where:
        assert not store.query(space, question, where={**where, key: -1}, limit=1)


def test_while_the_store_is_away_documents_are_found_all_the_same(
    tmp_path: Path, parts: Parts, store: VectorStore, scope: Scope
) -> None:
    away = VectorStore("http://127.0.0.1:1")
    add_document(parts, scope, "Meanwhile.", "meanwhile.txt")
    ingest = Ingest(parts.embedders, away, parts.files)
    while ingest.do_round():
        continue
    away.close()
    assert Version.objects.filter(state=DocumentState.READY).count() == 2
    assert uids(vector_state=VectorState.EMBEDDED) == uids(text="Meanwhile.")
    assert not Version.objects.exclude(reason="").exists()
    ingest = Ingest(parts.embedders, store, parts.files)
    assert ingest.do_round()
    assert stored(store) == uids(vector_state=VectorState.INDEXED) == uids()
    assert ingest.problem == ""


def test_with_a_store_a_document_is_found_only_once_its_vectors_are_there(
    parts: Parts, store: VectorStore, scope: Scope
) -> None:
    add_document(parts, scope, "Later.", "later.txt")
    ingest = Ingest(parts.embedders, store, parts.files)
    ingest._parse()
    ingest._fill()
    assert not ingest._finish()
    assert ingest._mirror()
    assert ingest._finish()


def test_what_is_deleted_leaves_the_store_however_it_goes(
    parts: Parts, store: VectorStore, scope: Scope
) -> None:
    index = Index.objects.get()
    document = add_document(parts, scope, "To be replaced.", "replaced.txt")
    ingest_all(parts)
    upload = make_upload("Put in its place.", "replaced.txt")
    parts.library.replace_document(scope, "handbook", document.id, upload)
    ingest_all(parts)
    erase(store)
    assert stored(store) == uids()
    assert Chunk.objects.filter(text="Put in its place.").exists()
    apps.get_model("gateway", "Tenant").objects.filter(pk=scope.tenant_id).delete()
    assert ChunkErasure.objects.exists()
    erase(store)
    mirroring.drop_spaces(store)
    assert not ChunkErasure.objects.exists()
    assert space_of(index.uid) not in store.spaces()


def test_what_is_deleted_while_it_is_mirrored_leaves_again(
    tmp_path: Path, parts: Parts, store: VectorStore, scope: Scope
) -> None:
    class DeletesMeanwhile(VectorStore):
        @override
        def upsert(self, *given: Any) -> None:
            super().upsert(*given)
            Collection.objects.all().delete()
            while mirroring.erase(self, 500):
                continue
            super().upsert(*given)  # as if it came later

    Chunk.objects.update(vector_state=VectorState.EMBEDDED)
    index, there = Index.objects.get(), uids()
    assert store._url is not None
    slow = DeletesMeanwhile(store._url, database=store._database)
    assert mirroring.mirror(slow, index, 500) == len(there)
    assert stored(store, index) == there, "they came after their erasure"
    erase(store)
    assert stored(store, index) == []
    slow.close()


def test_spaces_of_indexes_that_are_gone_are_dropped_and_no_others(
    store: VectorStore, scope: Scope
) -> None:
    vectors = HashedWords().embed(["a"])
    for space in ("rag-of-old", "memory-x"):
        store.upsert(space, ["stray"], vectors, [{"tenant": 1}])
    assert mirroring.drop_spaces(store) == 1
    assert set(store.spaces()) == {space_of(Index.objects.get().uid), "memory-x"}


def test_vectors_without_a_chunk_are_swept(store: VectorStore, scope: Scope) -> None:
    space = space_of(Index.objects.get().uid)
    store.upsert(space, ["stray"], HashedWords().embed(["a"]), [{"tenant": 1}])
    assert mirroring.sweep_orphans(store) == 1
    assert stored(store) == uids()


# --- Files -----------------------------------------------------------------------------


def test_folders_of_rows_that_are_gone_are_removed(parts: Parts, scope: Scope) -> None:
    folder = version_folder(Version.objects.get().uid)
    kept = parts.library.keep_file(scope, make_upload(), "assistants")
    assert parts.files.path(folder, ORIGINAL).exists()
    Document.objects.all().delete()
    apps.get_model("rag", "StoredFile").objects.all().delete()
    assert FileErasure.objects.count() == 2
    assert upkeep.remove_files(parts.files, 500) == 2
    assert not FileErasure.objects.exists()
    for each in (folder, stored_folder(kept.id)):
        assert not parts.files.path(each, ORIGINAL).parent.exists()


def test_a_folder_that_cannot_be_removed_is_tried_after_all_others(
    parts: Parts, scope: Scope
) -> None:
    folders = [version_folder(letter * 32) for letter in "abc"]
    for folder in folders:
        FileErasure.objects.create(folder=folder)
    # A file in the place of a folder, which nothing here removes.
    path = parts.files.path(folders[0], ORIGINAL).parent
    path.write_text("in the way")
    for expected in (0, 1, 1, 0):
        assert upkeep.remove_files(parts.files, 1) == expected
    assert FileErasure.objects.get().folder == folders[0]


def test_folders_without_a_row_are_swept_after_an_hour(
    parts: Parts, scope: Scope
) -> None:
    known = Version.objects.get().uid
    parts.files.put(version_folder("0" * 32), ORIGINAL, b"old")
    parts.files.put(version_folder("1" * 32), ORIGINAL, b"new")
    parts.files.put(stored_folder("2" * 32), ORIGINAL, b"old")
    old_s = (timezone.now() - timedelta(hours=2)).timestamp()
    for folder in (
        version_folder(known),
        version_folder("0" * 32),
        stored_folder("2" * 32),
    ):
        os.utime(parts.files.path(folder, ORIGINAL).parent, (old_s, old_s))
    assert upkeep.sweep_folders(parts.files, timezone.now()) == 2
    left = {path.name for path in parts.files.root.glob("*/*")}
    assert left == {known, "1" * 32}


def test_versions_that_were_replaced_are_deleted(parts: Parts, scope: Scope) -> None:
    current = Version.objects.get()
    old = Version.objects.create(document=current.document, number=9, sha256="", size=1)
    parts.files.put(version_folder(old.uid), ORIGINAL, b"old")
    assert upkeep.erase_stale(parts.files, 500) == 1
    assert Version.objects.get() == current
    assert not parts.files.path(version_folder(old.uid), ORIGINAL).exists()


def test_what_waits_is_counted(parts: Parts, scope: Scope) -> None:
    assert upkeep.count_waiting() == (0, 0)
    add_document(parts, scope, "Waits.", "waits.txt")
    Chunk.objects.update(vector_state=VectorState.PENDING)
    assert upkeep.count_waiting() == (1, Chunk.objects.count())


# --- manage.py rebuild_rag_index -------------------------------------------------------


def rebuild(*options: str) -> str:
    said = StringIO()
    call_command("rebuild_rag_index", *options, stdout=said)
    return said.getvalue()


def test_a_store_that_lost_everything_is_filled_again(
    store: VectorStore, scope: Scope
) -> None:
    index = Index.objects.get()
    store.drop(space_of(index.uid))
    store.upsert(
        space_of(index.uid), ["stray"], HashedWords().embed(["a"]), [{"tenant": 1}]
    )
    said = rebuild("--collection", "handbook", "--tenant", "ours")
    assert stored(store) == uids(vector_state=VectorState.INDEXED) == uids()
    total = len(uids())
    assert f"{total} of {total} vectors written" in said
    assert keyword_scores([index.pk], "word3", limit=5)


def test_only_what_is_named_is_written_anew(
    parts: Parts, store: VectorStore, scope: Scope
) -> None:
    make_collection(parts, scope, "other")
    add_document(parts, scope, "Other words.", collection="other")
    ingest_all(parts)
    mine, other = Index.objects.order_by("pk")
    for index in (mine, other):
        store.drop(space_of(index.uid))
    rebuild("--collection", "other")
    assert stored(store, mine) == []
    assert stored(store, other) == uids(index=other)
    rebuild()
    assert stored(store, mine) == uids(index=mine)


def test_what_cannot_be_rebuilt_is_said(
    store: VectorStore, scope: Scope, settings: Settings
) -> None:
    with pytest.raises(CommandError, match="no such collection"):
        rebuild("--collection", "nothing")
    settings.CHROMA_URL = "http://127.0.0.1:9"
    with pytest.raises(CommandError, match=r"127\.0\.0\.1:9"):
        rebuild()
    settings.CHROMA_URL = ""
    with pytest.raises(CommandError, match="There is no vector store: start"):
        rebuild()
    assert uids(vector_state=VectorState.INDEXED) == uids()
