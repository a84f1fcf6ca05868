"""Who may read and change which collection, and what may be set on one."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.apps import apps
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from rag.catalogue import (
    OperatorScope,
    find_readable,
    find_readable_all,
    find_writable,
    readable,
)
from rag.errors import CollectionNotFound, InvalidField, NameTaken
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
    Visibility,
)
from rag.scope import Scope
from tests.rag.library_scenes import (
    Parts,
    add_document,
    make_collection,
    make_scope,
    running_parts,
)

pytestmark = pytest.mark.django_db


@pytest.fixture
def parts(tmp_path: Path) -> Iterator[Parts]:
    with running_parts(tmp_path) as parts:
        yield parts


def make_key(scope: Scope, name: str) -> Scope:
    """Give the scope of a new key of a tenant."""
    key = apps.get_model("gateway", "ApiKey").objects.create(
        tenant_id=scope.tenant_id, name=name, public_id=name, digest=name
    )
    return Scope(scope.tenant_id, key.public_id)


def show(name: str, visibility: Visibility, *, readers: tuple[str, ...] = ()) -> None:
    """Say who may read a collection."""
    collection = Collection.objects.get(name=name)
    collection.visibility = visibility
    collection.save()
    keys = apps.get_model("gateway", "ApiKey").objects
    collection.readers.set(keys.filter(public_id__in=readers))


def names(scope: Scope) -> list[str]:
    return [collection.name for collection in readable(scope)]


# --- Who may ----------------------------------------------------------------------------


def test_a_collection_is_its_tenants_until_it_is_shown(parts: Parts) -> None:
    ours, theirs = make_scope("ours"), make_scope("theirs")
    key, other_key = make_key(theirs, "k1"), make_key(theirs, "k2")
    make_collection(parts, ours)
    assert names(ours) == ["handbook"]
    assert names(theirs) == names(key) == []

    show("handbook", Visibility.KEYS, readers=("k1",))
    assert names(key) == ["handbook"]
    assert names(other_key) == names(ours) == names(theirs) == []
    assert names(OperatorScope(ours.tenant_id)) == ["handbook"]
    assert names(OperatorScope(theirs.tenant_id)) == []

    show("handbook", Visibility.EVERYBODY)
    assert names(ours) == names(theirs) == names(other_key) == ["handbook"]


def test_only_the_own_tenant_may_change_what_it_may_read(parts: Parts) -> None:
    ours, theirs = make_scope("ours"), make_scope("theirs")
    make_collection(parts, ours)
    show("handbook", Visibility.EVERYBODY)
    assert find_writable(ours, "handbook").name == "handbook"
    for change in (
        lambda: parts.library.change_collection(theirs, "handbook", {"top_k": 5}),
        lambda: parts.library.delete_collection(theirs, "handbook"),
        lambda: add_document(parts, theirs),
    ):
        with pytest.raises(CollectionNotFound) as refused:
            change()
        assert str(refused.value) == ""
    show("handbook", Visibility.KEYS)
    with pytest.raises(CollectionNotFound):
        find_writable(ours, "handbook")


def test_a_scope_that_is_narrowed_reads_and_makes_nothing_else(parts: Parts) -> None:
    ours = make_scope()
    for name in ("handbook", "salaries"):
        make_collection(parts, ours, name)
    narrowed = make_scope(collections=["handbook", "plans"])
    assert names(narrowed) == ["handbook"]
    assert names(make_scope(collections=[])) == []
    with pytest.raises(CollectionNotFound):
        find_readable(narrowed, "salaries")
    with pytest.raises(CollectionNotFound):
        make_collection(parts, narrowed, "other")
    with pytest.raises(CollectionNotFound):
        parts.library.change_collection(narrowed, "handbook", {"name": "other"})
    make_collection(parts, narrowed, "plans")
    assert names(narrowed) == ["handbook", "plans"]


def test_the_own_collection_wins_over_others_of_its_name(parts: Parts) -> None:
    ours, theirs = make_scope("ours"), make_scope("theirs")
    public = make_collection(parts, theirs)
    show("handbook", Visibility.EVERYBODY)
    assert find_readable(ours, "handbook").uid == public.uid
    own = make_collection(parts, ours)
    assert find_readable(ours, "handbook").uid == own.uid
    assert [each.uid for each in find_readable_all(ours, ["handbook"])] == [own.uid]
    assert [each.uid for each in parts.library.collections(ours)] == [own.uid]
    assert [each.uid for each in parts.library.collections(theirs)] == [public.uid]
    assert parts.library.collection_of_uid(ours, public.uid).is_own is False


def test_several_are_found_in_one_query_or_not_at_all(parts: Parts) -> None:
    ours = make_scope()
    for name in ("a", "b"):
        make_collection(parts, ours, name)
    with CaptureQueriesContext(
        connection,
    ) as queries:
        found = find_readable_all(ours, ["b", "a", "b"])
    assert [collection.name for collection in found] == ["b", "a"]
    assert len(queries) == 1
    with pytest.raises(CollectionNotFound):
        find_readable_all(ours, ["a", "c"])


@pytest.mark.parametrize("name", ["", "\0", "\ud800", "x" * 9_999, "%", "../x"])
def test_a_name_that_none_can_have_is_not_found(parts: Parts, name: str) -> None:
    make_collection(parts, make_scope())
    with pytest.raises(CollectionNotFound):
        find_readable(make_scope(), name)
    with pytest.raises(CollectionNotFound):
        parts.library.collection_of_uid(make_scope(), name)


def test_keys_of_other_tenants_are_not_told(parts: Parts) -> None:
    make_collection(parts, make_scope("ours", owner="k"))
    show("handbook", Visibility.EVERYBODY)
    assert parts.library.collection(make_scope("ours"), "handbook").owner == "k"
    assert parts.library.collection(make_scope("theirs"), "handbook").owner == ""


# --- What is set ------------------------------------------------------------------------


def test_a_name_is_enough(parts: Parts) -> None:
    made = make_collection(parts, make_scope(), "  Pla\u0308ne (2026) ")
    assert made == parts.library.collection(make_scope(), "Pl\u00e4ne (2026)")
    assert (made.top_k, made.max_tokens, made.per_document) == (3, 2_000, None)
    assert made.index is not None
    assert (made.index.state, made.index.chunk_tokens) == ("active", 200)
    assert made.index.chunker
    assert (made.building, made.previous) == (None, None)


def test_everything_may_be_set_at_once(parts: Parts) -> None:
    fields: dict[str, Any] = {
        "description": " What we promise.\x00 ", "chunk_tokens": 254,
        "chunk_overlap": 32, "is_strict": True, "is_required": True, "top_k": 20,
        "max_tokens": 200_000, "per_document": 1, "min_score": 1, "relative_cut": 0.5,
        "joins_neighbours": False,
    }  # fmt: skip
    made = make_collection(parts, make_scope(), **fields)
    assert made.index is not None
    told = {**made.as_dict(), **made.index.as_dict()}
    for field, value in {**fields, "description": "What we promise."}.items():
        assert told[field] == value, field
    cleared = parts.library.change_collection(
        make_scope(), "handbook", {"per_document": None, "name": "Handbook"}
    )
    assert cleared == parts.library.collection(make_scope(), "Handbook")
    assert cleared.per_document is None


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("name", ""), ("name", "a/b"), ("name", "_a"), ("name", 5), ("name", "x" * 101),
        ("name", None), ("description", 5), ("description", "x" * 4_001),
        ("top_k", 0), ("top_k", 21), ("top_k", True), ("top_k", "3"), ("top_k", 3.0),
        ("top_k", None), ("max_tokens", 99), ("max_tokens", 10**400),
        ("per_document", 0), ("per_document", 10**9), ("min_score", -0.1),
        ("min_score", math.nan), ("min_score", math.inf), ("min_score", 10**400),
        ("min_score", False), ("relative_cut", 1.01), ("is_strict", 1),
        ("joins_neighbours", None), ("chunk_tokens", 31), ("chunk_tokens", 255),
        ("chunk_tokens", None), ("chunk_overlap", 33), ("chunk_overlap", -1),
        ("visibility", "everybody"), ("tenant", 1), ("", 1),
    ],
)  # fmt: skip
def test_what_cannot_be_set_is_refused_by_its_name(
    parts: Parts, field: str, value: object
) -> None:
    with pytest.raises(InvalidField) as refused:
        parts.library.create_collection(make_scope(), {"name": "a", field: value})
    assert refused.value.param == field
    assert refused.value.message.endswith(("_", "."))
    assert not Collection.objects.exists()


def test_an_overlap_is_at_most_half_a_chunk(parts: Parts) -> None:
    with pytest.raises(InvalidField) as refused:
        make_collection(parts, make_scope(), chunk_tokens=40, chunk_overlap=21)
    assert refused.value.param == "chunk_overlap"


def test_a_collection_without_a_name_is_refused(parts: Parts) -> None:
    with pytest.raises(InvalidField) as refused:
        parts.library.create_collection(make_scope(), {})
    assert refused.value.param == "name"


def test_how_chunks_are_made_is_locked(parts: Parts) -> None:
    make_collection(parts, make_scope())
    with pytest.raises(InvalidField, match="re-index") as refused:
        parts.library.change_collection(make_scope(), "handbook", {"chunk_tokens": 100})
    assert refused.value.param == "chunk_tokens"


def test_a_name_is_given_once_a_tenant(parts: Parts) -> None:
    for tenant in ("ours", "theirs"):
        make_collection(parts, make_scope(tenant))
    make_collection(parts, make_scope(), "plans")
    with pytest.raises(NameTaken):
        make_collection(parts, make_scope())
    with pytest.raises(NameTaken, match="'plans'"):
        parts.library.change_collection(make_scope(), "handbook", {"name": "plans"})
    assert Collection.objects.count() == 3
    assert Index.objects.count() == 3


# --- How far it is ----------------------------------------------------------------------


def make_ready(uid: str, *, index: Index, chunks: int = 1) -> Version:
    """Have a document found, with chunks that have their vectors."""
    document = Document.objects.get(uid=uid)
    version = document.newest
    assert version is not None
    version.state, document.current = DocumentState.READY, version
    version.save()
    document.save()
    cut(version, index, chunks=chunks)
    return version


def cut(
    version: Version,
    index: Index,
    *,
    chunks: int = 1,
    state: VectorState = VectorState.INDEXED,
) -> None:
    Cut.objects.create(index=index, version=version, chunks=chunks)
    Chunk.objects.bulk_create(
        Chunk(
            index=index, version=version, uid=f"{version.pk}/{index.pk}/{seq}", seq=seq,
            start=seq, end=seq + 1, tokens=1, text="x", terms="x", vector_state=state,
        )
        for seq in range(chunks)
    )  # fmt: skip


def test_a_collection_tells_how_far_its_documents_are(parts: Parts) -> None:
    ours = make_scope()
    make_collection(parts, ours)
    make_collection(parts, ours, "empty")
    documents = [add_document(parts, ours, f"text {n}", f"{n}.txt") for n in range(4)]
    active = Index.objects.get(collection__name="handbook")
    versions = [make_ready(each.id, index=active) for each in documents[:2]]
    Version.objects.filter(document__uid=documents[2].id).update(state="failed")
    building = Index.objects.create(collection=active.collection)
    cut(versions[0], building)
    cut(versions[1], building, state=VectorState.PENDING)

    told = parts.library.collection(ours, "handbook").counts
    assert (told.total, told.ready, told.failed, told.in_progress) == (4, 2, 1, 1)
    assert told.size == 4 * len("text n")
    empty, handbook = parts.library.collections(ours)
    assert (empty.name, empty.counts.total) == ("empty", 0)
    assert handbook.counts == told
    assert handbook.index is not None
    assert handbook.building is not None
    assert (handbook.index.done, handbook.index.total) == (2, 4)
    assert (handbook.building.done, handbook.building.total) == (1, 2)


def test_a_list_needs_no_query_a_collection(parts: Parts) -> None:
    ours = make_scope()
    for number in range(5):
        make_collection(parts, ours, f"c{number}")
        add_document(parts, ours, collection=f"c{number}")
    with CaptureQueriesContext(connection) as queries:
        assert len(parts.library.collections(ours)) == 5
    assert len(queries) <= 4


# --- Deleting ---------------------------------------------------------------------------


def test_a_deleted_collection_leaves_nothing_behind(
    parts: Parts, tmp_path: Path
) -> None:
    ours = make_scope()
    for name in ("handbook", "plans"):
        make_collection(parts, ours, name)
        index = Index.objects.get(collection__name=name)
        for number in range(3):
            added = add_document(
                parts, ours, f"text {number}", f"{number}.txt", collection=name
            )
            make_ready(added.id, index=index, chunks=5)
    Index.objects.create(
        collection=Collection.objects.get(name="handbook"),
        state=IndexState.PREVIOUS,
        activated_at=timezone.now(),
    )
    parts.library.delete_collection(ours, "handbook")
    assert [each.name for each in parts.library.collections(ours)] == ["plans"]
    kept = parts.library.collection(ours, "plans")
    assert (kept.counts.total, kept.counts.ready) == (3, 3)
    rows = [model.objects.count() for model in (Index, Document, Version, Cut, Chunk)]
    assert rows == [1, 3, 3, 3, 15]
    assert len(list((tmp_path / "versions").iterdir())) == 3
    with pytest.raises(CollectionNotFound):
        parts.library.delete_collection(ours, "handbook")
