"""Documents are brought once, replaced whole, and deleted with all that they left."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TypeVar

import pytest
from django.conf import settings
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from rag.erasure import stale_versions
from rag.errors import (
    CollectionNotFound,
    DocumentNotFound,
    DocumentNotReady,
    DocumentRefused,
    InvalidField,
)
from rag.files import ORIGINAL, TEXT, version_folder
from rag.models import (
    Chunk,
    ChunkVector,
    Collection,
    Cut,
    Document,
    DocumentState,
    FileErasure,
    Index,
    VectorState,
    Version,
    Visibility,
)
from rag.records import DocumentRecord, Upload
from rag.scope import Scope
from rag.uploads import Target, check_upload, insert
from tests.rag.library_scenes import (
    TEXT as LEAVE,
    Parts,
    add_document,
    make_collection,
    make_scope,
    make_upload,
    running_parts,
)

ROOT = Path(__file__).resolve().parents[2]
THREADS = 4

Result = TypeVar("Result")

pytestmark = pytest.mark.django_db


@pytest.fixture
def parts(tmp_path: Path) -> Iterator[Parts]:
    with running_parts(tmp_path / "documents") as parts:
        yield parts


@pytest.fixture
def scope(parts: Parts) -> Scope:
    scope = make_scope()
    make_collection(parts, scope)
    return scope


def make_ready(parts: Parts, uid: str, *, chunks: int = 3) -> Version:
    """Have a document's newest version be found, as indexing does."""
    document = Document.objects.select_related("newest").get(uid=uid)
    version = document.newest
    assert version is not None
    index = Index.objects.get(collection=document.collection_id, state="active")
    made = Chunk.objects.bulk_create(
        Chunk(
            index=index, version=version, uid=f"{version.pk}/{seq}", seq=seq,
            start=seq, end=seq + 1, tokens=1, text="x", terms="x",
            vector_state=VectorState.INDEXED,
        )
        for seq in range(chunks)
    )  # fmt: skip
    ChunkVector.objects.bulk_create(ChunkVector(chunk=each, data=b"x") for each in made)
    Cut.objects.create(index=index, version=version, chunks=chunks)
    original = parts.files.read(version_folder(version.uid), ORIGINAL)
    parts.files.put(version_folder(version.uid), TEXT, original)
    version.state, version.finished_at = DocumentState.READY, timezone.now()
    version.save()
    document.current = version
    document.save()
    return version


def fail(uid: str, *, code: str = "crashed") -> None:
    Version.objects.filter(document__uid=uid).update(
        state=DocumentState.FAILED, code=code, reason="It broke.", attempts=3
    )


def folders(parts: Parts) -> int:
    return len(list((parts.files.root / "versions").iterdir()))


# --- Bringing ---------------------------------------------------------------------------


def test_a_document_waits_for_its_indexing(parts: Parts, scope: Scope) -> None:
    added = add_document(parts, scope, LEAVE, "../Leave \u202e2026.txt", year=2026)
    assert added == parts.library.document(scope, "handbook", added.id)
    assert (added.state, added.filename) == ("queued", "Leave 2026.txt")
    assert (added.size, added.version) == (len(LEAVE), 1)
    assert (added.media_type, added.is_searchable) == ("text/plain", False)
    assert added.attributes == {"year": 2026}
    path, _ = parts.library.document_file(scope, "handbook", added.id)
    assert path.read_text() == LEAVE
    with pytest.raises(DocumentNotReady):
        parts.library.document_text(scope, "handbook", added.id)


def test_the_same_content_is_brought_once(parts: Parts, scope: Scope) -> None:
    first = add_document(parts, scope)
    again = parts.library.add_document(scope, "handbook", make_upload(LEAVE, "b.txt"))
    assert (again.document, again.is_new) == (first, False)
    make_collection(parts, scope, "plans")
    other = add_document(parts, scope, collection="plans")
    assert other.id != first.id
    assert folders(parts) == Version.objects.count() == 2


def test_what_is_ready_stays_so_when_it_is_brought_again(
    parts: Parts, scope: Scope
) -> None:
    first = add_document(parts, scope)
    make_ready(parts, first.id)
    add_document(parts, scope)
    again = add_document(parts, scope, LEAVE, "other.txt", year=1)
    assert (again.id, again.state, again.is_searchable) == (first.id, "ready", True)
    assert (again.filename, again.attributes) == ("leave.txt", {})


def test_what_failed_is_tried_again_when_it_is_brought_again(
    parts: Parts, scope: Scope
) -> None:
    first = add_document(parts, scope)
    version = make_ready(parts, first.id)
    Document.objects.update(current=None)
    Chunk.objects.filter(seq=0).update(vector_state=VectorState.FAILED)
    fail(first.id)
    parts.files.remove(version_folder(version.uid))
    again = add_document(parts, scope)
    assert (again.id, again.state, again.code, again.reason) == (
        first.id,
        "queued",
        "",
        "",
    )
    version.refresh_from_db()
    assert version.attempts == 0
    assert Chunk.objects.get(seq=0).vector_state == VectorState.PENDING
    assert parts.files.read(version_folder(version.uid), ORIGINAL) == LEAVE.encode()


@pytest.mark.parametrize(
    ("content", "filename", "code"),
    [
        (b"", "empty.txt", "no_text"),
        (b"x" * (settings.AILB_MAX_DOCUMENT_BYTES + 1), "big.txt", "too_large"),
        (b"\x7fELF\x00\x00", "program.pdf", "unsupported_type"),
        (
            b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
            + "EncryptedPackage".encode("utf-16-le"),
            "secret.docx",
            "encrypted",
        ),
    ],
)
def test_what_is_never_taken_is_refused_at_once(
    parts: Parts, scope: Scope, content: bytes, filename: str, code: str
) -> None:
    with pytest.raises(DocumentRefused) as refused:
        add_document(parts, scope, content, filename)
    assert refused.value.code == code
    assert not Document.objects.exists()
    assert not parts.files.root.exists()


def test_attributes_that_are_none_are_refused(parts: Parts, scope: Scope) -> None:
    wrong = Upload("a.txt", b"x", {"year": [2026]})  # type: ignore[dict-item]  # what is refused
    with pytest.raises(InvalidField) as refused:
        parts.library.add_document(scope, "handbook", wrong)
    assert refused.value.param == "attributes"
    added = add_document(parts, scope)
    wrongs: tuple[object, ...] = ([], {"year": None}, {"": 1}, {"a": "\ud800"})
    for attributes in wrongs:
        with pytest.raises(InvalidField):
            parts.library.change_document(scope, "handbook", added.id, attributes)
    changed = parts.library.change_document(scope, "handbook", added.id, {"a": True})
    assert changed == parts.library.document(scope, "handbook", added.id)
    assert changed.attributes == {"a": True}


def test_an_id_that_is_given_tells_which_document_it_is(
    parts: Parts, scope: Scope
) -> None:
    def add(uid: str, content: str) -> tuple[DocumentRecord, bool]:
        upload = make_upload(content)
        added = parts.library.add_document(scope, "handbook", upload, document_id=uid)
        return added.document, added.is_new

    one, is_new = add("file-1", "same")
    assert (one.id, is_new) == ("file-1", True)
    assert add("file-1", "same") == (one, False)
    two, is_new = add("file-2", "same")
    assert (two.id, is_new) == ("file-2", True)
    changed, is_new = add("file-1", "other")
    assert (changed.id, changed.version, is_new) == ("file-1", 2, True)
    for uid in ("", "~1", "a/b", "x" * 65):
        with pytest.raises(InvalidField):
            add(uid, "same")


# --- Replacing --------------------------------------------------------------------------


def test_what_is_replaced_is_found_until_the_new_is_ready(
    parts: Parts, scope: Scope
) -> None:
    added = add_document(parts, scope, LEAVE, year=2026)
    first = make_ready(parts, added.id)
    replaced = parts.library.replace_document(
        scope, "handbook", added.id, make_upload("Sixteen weeks.", "new.txt")
    )
    assert replaced.is_new
    document = replaced.document
    assert document == parts.library.document(scope, "handbook", added.id)
    assert (document.id, document.version, document.state) == (added.id, 2, "queued")
    assert (document.filename, document.is_searchable) == ("new.txt", True)
    assert document.attributes == {"year": 2026}
    assert parts.library.document_text(scope, "handbook", added.id) == LEAVE
    path, _ = parts.library.document_file(scope, "handbook", added.id)
    assert path.read_text() == "Sixteen weeks."
    assert Document.objects.get().current == first
    assert Chunk.objects.count() == 3


def test_a_version_that_never_became_ready_goes_with_the_next(
    parts: Parts, scope: Scope
) -> None:
    added = add_document(parts, scope)
    first = make_ready(parts, added.id)
    for content in ("second", "third", "fourth"):
        parts.library.replace_document(
            scope, "handbook", added.id, make_upload(content)
        )
    numbers = list(Version.objects.values_list("number", flat=True))
    assert numbers == [1, 4]
    assert folders(parts) == 2
    assert not stale_versions().exists()
    assert Chunk.objects.filter(version=first).count() == 3
    assert not FileErasure.objects.exists()


def test_nobody_works_on_a_version_once_a_newer_one_is_there(
    parts: Parts, scope: Scope
) -> None:
    added = add_document(parts, scope)
    version = make_ready(parts, added.id)
    Document.objects.update(current=None)
    Version.objects.update(state=DocumentState.EMBEDDING)
    collection = Collection.objects.get()
    content = check_upload(make_upload("newer"))
    target = Target(collection, content, uid=added.id, new=None)
    insert(Version(sha256=content.sha256, size=5), target)
    version.refresh_from_db()
    assert (version.state, version.code) == (DocumentState.FAILED, "erased")
    assert not Cut.objects.exists()


def test_the_content_brought_last_is_not_new_but_what_came_with_it_is(
    parts: Parts, scope: Scope
) -> None:
    added = add_document(parts, scope, "first", year=1)
    make_ready(parts, added.id)
    upload = make_upload("second", "b.txt", year=2)
    assert parts.library.replace_document(scope, "handbook", added.id, upload).is_new
    again = parts.library.replace_document(
        scope, "handbook", added.id, make_upload("second", "c.txt", year=3)
    )
    assert not again.is_new
    assert (again.document.filename, again.document.attributes) == (
        "c.txt",
        {"year": 3},
    )
    # What is found now was brought before: it is to come back.
    back = parts.library.replace_document(
        scope, "handbook", added.id, make_upload("first")
    )
    assert (back.is_new, back.document.version) == (True, 3)


def test_what_is_not_there_cannot_be_replaced(parts: Parts, scope: Scope) -> None:
    for uid in ("none", "\0", "\ud800", "x" * 9_999):
        with pytest.raises(DocumentNotFound):
            parts.library.replace_document(scope, "handbook", uid, make_upload())
        with pytest.raises(DocumentNotFound):
            parts.library.document(scope, "handbook", uid)
    assert not parts.files.root.exists()


# --- Reading ----------------------------------------------------------------------------


def test_pages_go_on_where_they_ended_though_documents_go(
    parts: Parts, scope: Scope
) -> None:
    ids = [add_document(parts, scope, f"text {n}", f"{n}.txt").id for n in range(7)]
    page = parts.library.documents(scope, "handbook", limit=3)
    seen = [document.id for document in page.documents]
    while page.next:
        parts.library.delete_document(scope, "handbook", seen[-1])
        page = parts.library.documents(scope, "handbook", after=page.next, limit=3)
        seen += [document.id for document in page.documents]
    assert seen == ids[::-1]
    after = parts.library.documents(scope, "handbook", after=ids[2], limit=3)
    assert [document.id for document in after.documents] == [ids[0]]
    assert after.next is None


@pytest.mark.parametrize(
    "after", ["", "none", "~", "~x", "~" + "9" * 30, "\0", "\ud800"]
)
def test_a_page_after_nothing_is_refused(
    parts: Parts, scope: Scope, after: str
) -> None:
    with pytest.raises(InvalidField) as refused:
        parts.library.documents(scope, "handbook", after=after)
    assert refused.value.param == "after"


def test_another_tenant_reads_what_is_shown_and_changes_nothing(
    parts: Parts, scope: Scope
) -> None:
    added = add_document(parts, make_scope(owner="k"))
    make_ready(parts, added.id)
    library, theirs = parts.library, make_scope("theirs")
    reading = (
        lambda: library.documents(theirs, "handbook"),
        lambda: library.document(theirs, "handbook", added.id),
        lambda: library.document_text(theirs, "handbook", added.id),
        lambda: library.document_file(theirs, "handbook", added.id),
    )
    writing = (
        lambda: library.add_document(theirs, "handbook", make_upload("new")),
        lambda: library.replace_document(
            theirs, "handbook", added.id, make_upload("new")
        ),
        lambda: library.change_document(theirs, "handbook", added.id, {"a": 1}),
        lambda: library.delete_document(theirs, "handbook", added.id),
    )
    for use in reading + writing:
        with pytest.raises(CollectionNotFound):
            use()
    Collection.objects.update(visibility=Visibility.EVERYBODY)
    for use in writing:
        with pytest.raises(CollectionNotFound):
            use()
    for use in reading:
        assert use()
    assert library.document(theirs, "handbook", added.id).owner == ""
    assert library.document(make_scope(), "handbook", added.id).owner == "k"


def test_an_offset_in_the_text_is_one_in_what_was_read(
    parts: Parts, scope: Scope
) -> None:
    text = "a\r\nb\rc\u2028\U0001f600\n"
    added = add_document(parts, scope, text)
    make_ready(parts, added.id)
    assert parts.library.document_text(scope, "handbook", added.id) == text


def test_a_file_that_is_gone_is_told_and_healed(parts: Parts, scope: Scope) -> None:
    added = add_document(parts, scope)
    version = make_ready(parts, added.id)
    parts.files.remove(version_folder(version.uid))
    for read in (parts.library.document_file, parts.library.document_text):
        with pytest.raises(DocumentNotReady, match="bring it again"):
            read(scope, "handbook", added.id)
    add_document(parts, scope)
    path, _ = parts.library.document_file(scope, "handbook", added.id)
    assert path.read_text() == LEAVE


# --- Deleting ---------------------------------------------------------------------------


def test_a_deleted_document_leaves_nothing_behind(parts: Parts, scope: Scope) -> None:
    kept = add_document(parts, scope, "kept", "kept.txt")
    make_ready(parts, kept.id)
    gone = add_document(parts, scope)
    make_ready(parts, gone.id)
    parts.library.replace_document(scope, "handbook", gone.id, make_upload("newer"))
    parts.library.delete_document(scope, "handbook", gone.id)
    rows = [
        model.objects.count() for model in (Document, Version, Cut, Chunk, ChunkVector)
    ]
    assert rows == [1, 1, 1, 3, 3]
    assert folders(parts) == 1
    assert not FileErasure.objects.exists()
    with pytest.raises(DocumentNotFound):
        parts.library.delete_document(scope, "handbook", gone.id)
    assert parts.library.document(scope, "handbook", kept.id).is_searchable


def test_more_chunks_than_one_transaction_takes_are_deleted(
    parts: Parts, scope: Scope
) -> None:
    added = add_document(parts, scope)
    make_ready(parts, added.id, chunks=4_500)
    with CaptureQueriesContext(connection) as queries:
        parts.library.delete_document(scope, "handbook", added.id)
    deletes = [each["sql"] for each in queries if 'FROM "rag_chunk"' in each["sql"]]
    sizes = [sql.count(",") + 1 for sql in deletes if sql.startswith("DELETE")]
    assert sizes[:3] == [2_000, 2_000, 500]
    assert not Chunk.objects.exists()
    assert not ChunkVector.objects.exists()
