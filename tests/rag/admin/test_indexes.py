"""Re-indexing, going back, giving up, and following all of it."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.test import Client
from pytest_django import Settings

from rag.admin.shelf import PAGE_DOCUMENTS
from rag.models import Collection, Index, IndexState, Version
from tests.gateway.admin.pages import text_of
from tests.rag.admin.pages import (
    COLLECTIONS,
    make_collection,
    make_document,
    page_of,
    said_in,
)

pytestmark = pytest.mark.django_db

FORM = {
    "reindex-model": "",
    "reindex-precision": "fp32",
    "reindex-chunk_tokens": "64",
    "reindex-chunk_overlap": "8",
}


def press(client: Client, row: Collection, verb: str, **data: Any) -> list[str]:
    """Press a button of the page, and give what is said."""
    url = f"{COLLECTIONS}{row.pk}/index/{verb}/"
    return said_in(client.post(url, data, follow=True))


def states(row: Collection) -> set[str]:
    """Give the states of the indexes that are kept."""
    kept = row.indexes.exclude(state=IndexState.DROPPED)
    return set(kept.values_list("state", flat=True))


def test_another_index_is_built_and_given_up(admin_client: Client) -> None:
    row = make_collection()
    (said,) = press(admin_client, row, "reindex", **FORM)
    assert said.startswith("Another index is being built")
    building = row.indexes.get(state=IndexState.BUILDING)
    assert (building.precision, building.chunk_tokens, building.chunk_overlap) == (
        "fp32",
        64,
        8,
    )
    page = text_of(admin_client.get(page_of(row)))
    for text in ("Is being built", "64 tokens, overlap 8", "Cancel the building"):
        assert text in page, text
    assert "re-indexing, 100%" in text_of(admin_client.get(COLLECTIONS))
    assert LogEntry.objects.filter(object_id=str(row.pk)).count() == 1
    assert press(admin_client, row, "cancel") == [
        "The index that was being built is given up."
    ]
    assert states(row) == {IndexState.ACTIVE}


def test_the_former_index_serves_again_or_is_discarded(admin_client: Client) -> None:
    row = make_collection()
    Index.objects.create(collection=row, state=IndexState.PREVIOUS, chunk_tokens=77)
    page = text_of(admin_client.get(page_of(row)))
    for text in ("Served before", "77 tokens", "Go back to it", "Discard it"):
        assert text in page, text
    press(admin_client, row, "rollback")
    assert row.indexes.get(state=IndexState.BUILDING).chunk_tokens == 77
    Index.objects.filter(state=IndexState.BUILDING).update(state=IndexState.PREVIOUS)
    press(admin_client, row, "discard")
    assert states(row) == {IndexState.ACTIVE}


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("chunk_tokens", "255", "at most 254"),
        ("chunk_tokens", "", "Tokens of a chunk: This field is required."),
        ("chunk_overlap", "33", "Overlap of chunks: Ensure"),
        ("precision", "int4", "Precision: Select a valid choice"),
        ("model", "x" * 501, "Embedding model: Ensure"),
    ],
)
def test_what_cannot_be_built_is_refused(
    admin_client: Client, field: str, value: str, said: str
) -> None:
    row = make_collection()
    (told,) = press(admin_client, row, "reindex", **FORM | {f"reindex-{field}": value})
    assert said in told
    assert states(row) == {IndexState.ACTIVE}


def test_what_is_not_there_cannot_be_gone_back_to(
    admin_client: Client, settings: Settings
) -> None:
    row = make_collection()
    (said,) = press(admin_client, row, "rollback")
    assert "no previous index" in said
    (said,) = press(admin_client, row, "other")
    assert "nothing of this name" in said
    settings.ENABLE_RAG = False
    (said,) = press(admin_client, row, "reindex", **FORM)
    assert "ENABLE_RAG=true" in said
    assert states(row) == {IndexState.ACTIVE}


def test_a_page_follows_documents_and_indexes(admin_client: Client) -> None:
    row = make_collection()
    document = make_document(row)
    other = make_document(make_collection("other"), "other", "other.txt")
    Version.objects.update(state="embedding", chunks=4, chunks_done=1)
    url = f"{COLLECTIONS}{row.pk}/progress/"
    told = admin_client.get(url, {"followed": f"{document.pk},{other.pk},x,"}).json()
    assert told["is_moving"]
    assert told["documents"] == {
        str(document.pk): {
            "state": "embedding",
            "reason": "",
            "percent": 25,
            "is_final": False,
        }
    }
    assert 'value="25"' in told["parts"]["rag-documents"]
    Version.objects.update(state="ready")
    assert not admin_client.get(url).json()["is_moving"]
    press(admin_client, row, "reindex", **FORM)
    told = admin_client.get(url).json()
    assert told["is_moving"]
    assert "Is being built" in told["parts"]["rag-indexes"]


def test_documents_are_turned_page_by_page(admin_client: Client) -> None:
    row = make_collection()
    made = [
        make_document(row, str(number), f"n-{number}.txt")
        for number in range(PAGE_DOCUMENTS + 3)
    ]
    page = text_of(admin_client.get(page_of(row)))
    assert "n-3.txt" in page
    assert "n-2.txt" not in page
    older = made[3].pk
    assert f'href="?older={older}#documents"' in page
    page = text_of(admin_client.get(page_of(row), {"older": older}))
    assert "n-2.txt" in page
    assert "n-3.txt" not in page
    assert f"/progress/?older={older}" in page
    response = admin_client.get(f"{COLLECTIONS}999/progress/")
    assert response.status_code == HTTPStatus.NOT_FOUND
