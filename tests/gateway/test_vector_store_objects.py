"""Collections, documents and files as OpenAI's objects; pages; what bodies may say."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, strategies as st
from openai.types import (
    FileDeleted,
    FileObject,
    VectorStore,
    VectorStoreDeleted,
    VectorStoreSearchResponse,
)
from openai.types.vector_stores import VectorStoreFile, VectorStoreFileDeleted

from gateway.errors import InvalidRequest
from gateway.views.vector_stores import objects, requests
from gateway.views.vector_stores.paging import Paging, list_object, page_of, paging_in
from rag.errors import InvalidField
from rag.fusion import Hit
from rag.records import (
    CollectionRecord,
    Counts,
    DocumentRecord,
    FileRecord,
    IndexRecord,
)

UID = "0123456789abcdef0123456789abcdef"
MADE = datetime(2026, 1, 31, 12, 0, 0, 999_999, tzinfo=UTC)
MADE_S = 1_769_860_800
INDEX = IndexRecord(
    state="active",
    model="",
    precision="int8",
    embedding="",
    dimension=None,
    chunker="markdown-1",
    chunk_tokens=120,
    chunk_overlap=8,
    done=0,
    total=0,
    problem="",
)
COLLECTION = CollectionRecord(
    uid=UID,
    name="handbook",
    description="",
    owner="",
    is_own=True,
    visibility="tenant",
    is_strict=False,
    is_required=False,
    top_k=3,
    max_tokens=2_000,
    per_document=None,
    min_score=0.0,
    relative_cut=0.0,
    joins_neighbours=True,
    counts=Counts(total=6, ready=3, failed=1, in_progress=2, size=700),
    index=INDEX,
    building=None,
    previous=None,
    created_at=MADE,
    last_used_at=None,
)
DOCUMENT = DocumentRecord(
    id=f"file-{UID}",
    collection="handbook",
    filename="a.md",
    attributes={"year": 2026.0, "final": True},
    owner="",
    state="ready",
    code="",
    reason="",
    media_type="text/markdown",
    size=70,
    sha256="",
    pages=None,
    chars=70,
    version=1,
    chunks=1,
    chunks_done=1,
    is_searchable=True,
    created_at=MADE,
    finished_at=None,
)
FILE = FileRecord(UID, "a.md", "assistants", 70, MADE)
HIT = Hit(
    chunk_ids=("1",),
    document_id=f"file-{UID}",
    filename="a.md",
    text="Rain.",
    start=0,
    end=5,
    page=None,
    tokens=2,
    score=0.75,
    parts={},
)


def strictly(model: type[Any], shown: Mapping[str, Any]) -> Any:
    """Read an object as the SDK does when it forgives nothing."""
    return model.model_validate(shown, strict=True)


def test_every_object_is_one_that_the_sdk_knows() -> None:
    store = strictly(VectorStore, objects.store_object(COLLECTION))
    assert (store.id, store.name, store.usage_bytes) == (f"vs_{UID}", "handbook", 700)
    assert (store.created_at, store.last_active_at) == (MADE_S, MADE_S)
    counts = store.file_counts
    assert (counts.in_progress, counts.completed, counts.failed) == (2, 3, 1)
    assert (counts.cancelled, counts.total) == (0, 6)
    shown = objects.store_file_object(DOCUMENT, COLLECTION)
    file = strictly(VectorStoreFile, shown)
    assert (file.id, file.vector_store_id) == (f"file-{UID}", f"vs_{UID}")
    assert file.attributes == {"year": 2026.0, "final": True}
    assert file.chunking_strategy.static.max_chunk_size_tokens == 120
    assert file.chunking_strategy.static.chunk_overlap_tokens == 8
    kept = strictly(FileObject, objects.file_object(FILE))
    assert (kept.id, kept.bytes, kept.created_at) == (f"file-{UID}", 70, MADE_S)
    found = objects.search_page(["rain"], [HIT], {HIT.document_id: {"year": 2026.0}})
    hit = strictly(VectorStoreSearchResponse, found["data"][0])
    assert (hit.content[0].text, hit.score) == ("Rain.", 0.75)
    assert hit.attributes == {"year": 2026.0}
    for model, kind in (
        (FileDeleted, "file"),
        (VectorStoreDeleted, "vector_store.deleted"),
        (VectorStoreFileDeleted, "vector_store.file.deleted"),
    ):
        assert strictly(model, objects.deleted_object("x", kind)).deleted


def test_a_store_is_in_progress_while_a_document_is() -> None:
    done = replace(COLLECTION, counts=Counts(total=1, ready=1))
    assert objects.store_object(COLLECTION)["status"] == "in_progress"
    assert objects.store_object(done)["status"] == "completed"
    used = replace(COLLECTION, last_used_at=MADE.replace(hour=13))
    assert objects.store_object(used)["last_active_at"] == MADE_S + 3600


@pytest.mark.parametrize(
    ("state", "status"),
    [
        ("queued", "in_progress"),
        ("parsing", "in_progress"),
        ("embedding", "in_progress"),
        ("ready", "completed"),
        ("failed", "failed"),
    ],
)
def test_each_state_has_its_status(state: str, status: str) -> None:
    document = replace(DOCUMENT, state=state, code="corrupt", reason="It is damaged.")
    shown = objects.store_file_object(document, COLLECTION)
    assert shown["status"] == status
    assert (shown["last_error"] is not None) == (status == "failed")


@pytest.mark.parametrize(
    ("code", "wire"),
    [
        ("unsupported_type", "unsupported_file"),
        ("encrypted", "invalid_file"),
        ("zip_bomb", "invalid_file"),
        ("out_of_memory", "invalid_file"),
        ("crashed", "server_error"),
        ("", "server_error"),
    ],
)
def test_a_failure_says_whose_it_is(code: str, wire: str) -> None:
    failed = replace(DOCUMENT, state="failed", code=code, reason="Why it failed.")
    error = objects.store_file_object(failed, COLLECTION)["last_error"]
    assert error == {"code": wire, "message": "Why it failed."}


def test_ids_of_another_form_are_nobodys() -> None:
    assert objects.uid_in(f"vs_{UID}", "vs_") == UID
    for other in (
        UID,
        f"file-{UID}",
        "vs_",
        f"vs_{UID}0",
        f"vs_vs_{UID[3:]}",
        "vs_../x",
    ):
        assert objects.uid_in(other, "vs_") is None


IDS = ["e", "d", "c", "b", "a"]  # newest first


def walk(after: str | None) -> list[tuple[str, str]]:
    if after is not None and after not in IDS:
        raise InvalidField("There is none.", "after")
    start = 0 if after is None else IDS.index(after) + 1
    return [(name, name) for name in IDS[start:]]


@pytest.mark.parametrize(
    ("paging", "page", "has_more"),
    [
        (Paging(), "edcba", False),
        (Paging(limit=2), "ed", True),
        (Paging(after="d", limit=2), "cb", True),
        (Paging(after="d", limit=3), "cba", False),
        (Paging(after="a"), "", False),
        (Paging(before="c"), "ed", False),
        (Paging(before="a", limit=2), "cb", True),
        (Paging(before="e"), "", False),
        (Paging(is_oldest_first=True, limit=2), "ab", True),
        (Paging(is_oldest_first=True, after="b", limit=3), "cde", False),
        (Paging(is_oldest_first=True, before="c"), "ab", False),
    ],
)
def test_a_page_begins_or_ends_where_it_is_said(
    paging: Paging, page: str, has_more: bool
) -> None:
    entries, more = page_of(walk, paging)
    assert ("".join(entries), more) == (page, has_more)


def test_a_list_names_its_ends() -> None:
    entries = [{"id": "b"}, {"id": "a"}]
    page = list_object(entries, has_more=True)
    assert (page["first_id"], page["last_id"], page["has_more"]) == ("b", "a", True)
    empty = list_object([], has_more=False)
    assert (empty["first_id"], empty["last_id"], empty["data"]) == (None, None, [])


@pytest.mark.parametrize(
    ("query", "param"),
    [
        ({"order": "up"}, "order"),
        ({"limit": "0"}, "limit"),
        ({"limit": "101"}, "limit"),
        ({"limit": "-1"}, "limit"),
        ({"limit": "\u0661"}, "limit"),
        ({"after": "a", "before": "b"}, "before"),
        ({"after": ""}, "after"),
        ({"before": "x" * 101}, "before"),
    ],
)
def test_a_page_that_cannot_be_is_refused(query: dict[str, str], param: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        paging_in(query)
    assert refused.value.param == param


@pytest.mark.parametrize("param", ["after", "before"])
def test_a_page_beside_an_unknown_object_is_refused(param: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        page_of(walk, paging_in({param: "x"}))
    assert refused.value.param == param
    with pytest.raises(InvalidRequest) as refused:
        page_of(walk, paging_in({param: "x", "order": "asc"}))
    assert refused.value.param == param


@pytest.mark.parametrize("after", ["c", "d"])
def test_a_page_goes_on_behind_what_the_filter_leaves_out_by_now(after: str) -> None:
    def keep(entry: str) -> bool:
        return entry != "d"

    assert page_of(walk, Paging(after=after, limit=1), keep=keep)[0] == [
        {"c": "b", "d": "c"}[after]
    ]
    oldest_first = Paging(after=after, limit=1, is_oldest_first=True)
    assert page_of(walk, oldest_first, keep=keep) == (["e"], False)


@given(st.integers(0, 12), st.integers(1, 5), st.booleans())
def test_pages_together_are_the_list(count: int, limit: int, is_asc: bool) -> None:
    listed = [str(number) for number in range(count)]

    def walk_listed(after: str | None) -> list[tuple[str, str]]:
        start = 0 if after is None else listed.index(after) + 1
        return [(name, name) for name in listed[start:]]

    seen, after, has_more = list[str](), None, True
    while has_more:
        paging = Paging(after=after, limit=limit, is_oldest_first=is_asc)
        page, has_more = page_of(walk_listed, paging)
        seen += page
        after = page[-1] if page else None
        assert len(page) == limit or not has_more
    assert seen == (listed[::-1] if is_asc else listed)


def test_a_store_may_be_made_of_nothing_at_all() -> None:
    assert requests.new_store_in({}) == requests.NewStore(None, "", (), None)
    empty: dict[str, Any] = {
        "name": None,
        "metadata": {},
        "expires_after": None,
        "file_ids": [],
    }
    assert requests.new_store_in(empty) == requests.NewStore(None, "", (), None)


STATIC = {
    "type": "static",
    "static": {"max_chunk_size_tokens": 100, "chunk_overlap_tokens": 10},
}


def test_a_static_strategy_says_tokens_and_overlap() -> None:
    assert requests.chunking_in(STATIC) == requests.Chunking(100, 10)
    assert requests.chunking_in({"type": "auto"}) is None
    assert requests.chunking_in(None) is None


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"metadata": {"a": "b"}}, "metadata"),
        ({"metadata": "a"}, "metadata"),
        ({"expires_after": {"anchor": "last_active_at", "days": 1}}, "expires_after"),
        ({"name": 1}, "name"),
        ({"description": []}, "description"),
        ({"file_ids": "file-1"}, "file_ids"),
        ({"file_ids": ["a", 1]}, "file_ids[1]"),
        ({"file_ids": ["a"] * 501}, "file_ids"),
        ({"chunking_strategy": "auto"}, "chunking_strategy"),
        ({"chunking_strategy": {}}, "chunking_strategy.type"),
        ({"chunking_strategy": {"type": "other"}}, "chunking_strategy.type"),
        ({"chunking_strategy": {"type": "static"}}, "chunking_strategy.static"),
        (
            {"chunking_strategy": {"type": "auto", "static": {}}},
            "chunking_strategy.static",
        ),
        (
            {
                "chunking_strategy": {
                    "type": "static",
                    "static": {"max_chunk_size_tokens": 100},
                }
            },
            "chunking_strategy.static.chunk_overlap_tokens",
        ),
        (
            {
                "chunking_strategy": {
                    "type": "static",
                    "static": {
                        "max_chunk_size_tokens": True,
                        "chunk_overlap_tokens": 0,
                    },
                }
            },
            "chunking_strategy.static.max_chunk_size_tokens",
        ),
    ],
)
def test_a_store_that_cannot_be_kept_as_asked_is_refused(
    body: dict[str, Any], param: str
) -> None:
    with pytest.raises(InvalidRequest) as refused:
        requests.new_store_in(body)
    assert refused.value.param == param


def test_a_search_may_be_of_several_texts() -> None:
    asked = requests.question_in({"query": ["rain", "wind"]})
    assert (asked.text, asked.most, asked.min_score) == ("rain\nwind", 10, 0.0)
    options = {"ranker": "auto", "score_threshold": 0.5}
    asked = requests.question_in(
        {"query": "rain", "max_num_results": 50, "ranking_options": options}
    )
    assert (asked.queries, asked.most, asked.min_score) == (("rain",), 50, 0.5)


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({}, "query"),
        ({"query": " "}, "query"),
        ({"query": []}, "query"),
        ({"query": 1}, "query"),
        ({"query": ["a", 1]}, "query[1]"),
        ({"query": "a" * 10_001}, "query"),
        ({"query": "a", "max_num_results": 0}, "max_num_results"),
        ({"query": "a", "max_num_results": 51}, "max_num_results"),
        ({"query": "a", "rewrite_query": True}, "rewrite_query"),
        ({"query": "a", "rewrite_query": "no"}, "rewrite_query"),
        ({"query": "a", "ranking_options": []}, "ranking_options"),
        (
            {"query": "a", "ranking_options": {"ranker": "default-2024-11-15"}},
            "ranking_options.ranker",
        ),
        (
            {"query": "a", "ranking_options": {"score_threshold": 2}},
            "ranking_options.score_threshold",
        ),
        (
            {"query": "a", "ranking_options": {"hybrid_search": {}}},
            "ranking_options.hybrid_search",
        ),
    ],
)
def test_a_search_that_cannot_be_made_as_asked_is_refused(
    body: dict[str, Any], param: str
) -> None:
    with pytest.raises(InvalidRequest) as refused:
        requests.question_in(body)
    assert refused.value.param == param


def test_attributes_are_those_of_documents() -> None:
    body = {"file_id": "file-1", "attributes": None}
    assert requests.new_store_file_in(body).attributes == {}
    with pytest.raises(InvalidRequest) as refused:
        requests.new_store_file_in({"file_id": "file-1", "attributes": {"a": []}})
    assert refused.value.param == "attributes"
