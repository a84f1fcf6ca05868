"""A tenant keeps files, and nobody else sees them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from django.conf import settings

from rag.errors import DocumentRefused, FileNotKept, InvalidField
from rag.files import ORIGINAL, stored_folder
from rag.models import FileErasure, StoredFile
from rag.records import Upload
from tests.rag.library_scenes import (
    Parts,
    make_collection,
    make_scope,
    make_upload,
    running_parts,
)

pytestmark = pytest.mark.django_db
ANY_BYTES = bytes(range(256))


@pytest.fixture
def parts(tmp_path: Path) -> Iterator[Parts]:
    with running_parts(tmp_path / "documents") as parts:
        yield parts


def test_a_file_is_kept_as_it_came_of_whatever_type(parts: Parts) -> None:
    scope = make_scope(owner="k")
    kept = parts.library.keep_file(
        scope, make_upload(ANY_BYTES, "a/b.bin"), "user_data"
    )
    assert (kept.filename, kept.size, kept.purpose) == ("b.bin", 256, "user_data")
    assert parts.library.kept_file(scope, kept.id) == kept
    assert parts.library.kept_file_data(scope, kept.id) == ANY_BYTES
    assert StoredFile.objects.get().owner == "k"
    again = parts.library.keep_file(scope, make_upload(ANY_BYTES, "b.bin"), "user_data")
    assert again.id != kept.id


def test_files_come_in_pages_and_by_purpose(parts: Parts) -> None:
    scope = make_scope()
    purposes = ["assistants", "user_data"]
    ids = [
        parts.library.keep_file(scope, make_upload(f"{n}"), purposes[n % 2]).id
        for n in range(5)
    ]
    page, has_more = parts.library.kept_files(scope, limit=3)
    assert ([each.id for each in page], has_more) == (ids[:1:-1], True)
    page, has_more = parts.library.kept_files(scope, after=page[-1].id, limit=3)
    assert ([each.id for each in page], has_more) == (ids[1::-1], False)
    page, _ = parts.library.kept_files(scope, purpose="user_data")
    assert [each.id for each in page] == [ids[3], ids[1]]
    assert parts.library.kept_files(scope, purpose="\0") == ([], False)


def test_another_tenant_sees_none_of_it(parts: Parts) -> None:
    kept = parts.library.keep_file(make_scope(), make_upload(), "assistants")
    theirs = make_scope("theirs")
    assert parts.library.kept_files(theirs) == ([], False)
    for file_id in (kept.id, "none", "", "\0", "\ud800"):
        for use in (
            parts.library.kept_file,
            parts.library.kept_file_data,
            parts.library.delete_file,
        ):
            with pytest.raises(FileNotKept):
                use(theirs, file_id)
        with pytest.raises(InvalidField):
            parts.library.kept_files(theirs, after=file_id)
    assert parts.library.kept_file_data(make_scope(), kept.id)


def test_a_deleted_file_is_gone_but_not_the_document_made_of_it(parts: Parts) -> None:
    scope = make_scope()
    make_collection(parts, scope)
    kept = parts.library.keep_file(scope, make_upload(), "assistants")
    data = parts.library.kept_file_data(scope, kept.id)
    upload = Upload(kept.filename, data, {})
    parts.library.add_document(scope, "handbook", upload, document_id=kept.id)
    parts.library.delete_file(scope, kept.id)
    assert not (parts.files.root / stored_folder(kept.id)).exists()
    assert not FileErasure.objects.exists()
    with pytest.raises(FileNotKept):
        parts.library.kept_file(scope, kept.id)
    path, _ = parts.library.document_file(scope, "handbook", kept.id)
    assert path.read_bytes() == data


def test_a_file_whose_bytes_are_lost_is_none(parts: Parts) -> None:
    kept = parts.library.keep_file(make_scope(), make_upload(), "assistants")
    parts.files.path(stored_folder(kept.id), ORIGINAL).unlink()
    with pytest.raises(FileNotKept):
        parts.library.kept_file_data(make_scope(), kept.id)


@pytest.mark.parametrize(
    ("size", "code"),
    [(0, "no_text"), (settings.AILB_MAX_DOCUMENT_BYTES + 1, "too_large")],
)
def test_a_file_of_no_size_that_is_allowed_is_refused(
    parts: Parts, size: int, code: str
) -> None:
    with pytest.raises(DocumentRefused) as refused:
        parts.library.keep_file(make_scope(), make_upload(b"x" * size), "assistants")
    assert refused.value.code == code


@pytest.mark.parametrize("purpose", ["", "x" * 33, "a\0"])
def test_a_purpose_is_a_short_word(parts: Parts, purpose: str) -> None:
    with pytest.raises(InvalidField):
        parts.library.keep_file(make_scope(), make_upload(), purpose)
    assert not parts.files.root.exists()
