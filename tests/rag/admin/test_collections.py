"""The pages of collections: the list, the form, deleting."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from pytest_django import Settings

from gateway.models import ApiKey, Provider, Tenant
from rag.models import Collection, Document, IndexState, Version, Visibility
from tests.gateway.admin.pages import api_key, errors_in, provider, saved, text_of
from tests.memory.admin.rows import client_with
from tests.rag.admin.pages import (
    COLLECTIONS,
    MARKUP,
    YES,
    folder_of,
    make_collection,
    make_document,
    page_of,
)
from tests.rag.library_scenes import make_scope

pytestmark = pytest.mark.django_db

FORM: dict[str, Any] = {
    "name": "handbook",
    "description": "",
    "visibility": "tenant",
    "top_k": "3",
    "max_tokens": "2000",
    "per_document": "",
    "min_score": "0",
    "relative_cut": "0",
    "joins_neighbours": "on",
    "rerank_provider": "",
    "rerank_model": "",
}


def add(client: Client, **fields: Any) -> Any:
    """Post the form of a new collection as the page gives it, but for these fields."""
    tenant = make_scope("team").tenant_id
    sizes = {"chunk_tokens": "200", "chunk_overlap": "0"}
    return client.post(
        f"{COLLECTIONS}add/", {**FORM, "tenant": tenant, **sizes, **fields}
    )


def change(client: Client, row: Collection, **fields: Any) -> Any:
    return client.post(page_of(row), {**FORM, **fields})


def test_the_list_says_what_is_in_each(admin_client: Client) -> None:
    collection = make_collection(description=MARKUP)
    make_document(collection)
    failed = make_document(collection, "Other.", "b.txt")
    Version.objects.filter(document=failed).update(state="failed", size=3 * 1024**2)
    make_collection("empty", tenant="other")
    Collection.objects.filter(name="empty").update(visibility=Visibility.EVERYBODY)
    page = text_of(admin_client.get(COLLECTIONS))
    for text in (
        "0 ready documents, 1 in progress, 1 failed",
        "3.0\xa0MB",
        "serves",
        "its tenant",
        "all tenants",
        ">team<",
    ):
        assert text in page, text
    found = admin_client.get(COLLECTIONS, {"q": "emp"}).context["cl"].result_list
    assert [row.name for row in found] == ["empty"]


def test_the_list_asks_as_much_for_many_collections(admin_client: Client) -> None:
    counts = []
    for number in range(3):
        collection = make_collection(f"c-{number}")
        make_document(collection)
        admin_client.get(COLLECTIONS)
        with CaptureQueriesContext(connection) as queries:
            admin_client.get(COLLECTIONS)
        counts.append(len(queries))
        assert not [each for each in queries if '"rag_chunk"' in each["sql"]]
    assert counts[1] == counts[2]


def test_a_name_and_a_tenant_make_a_collection(admin_client: Client) -> None:
    response = add(admin_client)
    row = Collection.objects.get()
    assert response.url == page_of(row)
    index = row.indexes.get()
    assert (row.name, row.tenant.name) == ("handbook", "team")
    assert (index.state, index.chunk_tokens, index.chunk_overlap) == (
        IndexState.ACTIVE,
        200,
        0,
    )
    assert LogEntry.objects.filter(object_id=str(row.pk)).count() == 1


def test_a_new_collection_is_made_as_the_form_says(admin_client: Client) -> None:
    key, prov = api_key(), provider()
    response = add(
        admin_client,
        description="All rules.",
        chunk_tokens="100",
        chunk_overlap="10",
        visibility="keys",
        readers=[key.pk],
        top_k="7",
        is_strict="on",
        rerank_provider=prov.pk,
        rerank_model="order",
    )
    assert saved(response)
    row = Collection.objects.get()
    assert (row.description, row.top_k, row.is_strict) == ("All rules.", 7, True)
    assert (row.visibility, list(row.readers.all())) == ("keys", [key])
    assert (row.rerank_provider, row.rerank_model) == (prov, "order")
    index = row.indexes.get()
    assert (index.chunk_tokens, index.chunk_overlap) == (100, 10)


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("name", "a/b", "begins with a letter"),
        ("name", "", "required"),
        ("chunk_tokens", "255", "at most 254"),
        ("chunk_tokens", "31", "from 32"),
        ("chunk_overlap", "33", "from 0 to 32"),
        ("chunk_overlap", "", "required"),
        ("top_k", "21", "less than or equal to 20"),
        ("per_document", "0", "greater than or equal to 1"),
        ("min_score", "nan", "Enter a number"),
        ("description", "x" * 4001, "at most 4,000 characters"),
        ("rerank_model", "order", ""),
    ],
)
def test_a_bad_field_says_what_is_wrong_with_it(
    admin_client: Client, field: str, value: str, said: str
) -> None:
    errors = errors_in(add(admin_client, **{field: value}))
    at = "rerank_provider" if field == "rerank_model" else field
    assert said in " ".join(errors[at])
    assert not Collection.objects.exists()


def test_a_name_that_is_taken_is_refused(admin_client: Client) -> None:
    row = make_collection()
    assert errors_in(add(admin_client))
    assert errors_in(change(admin_client, make_collection("b"), name="handbook"))
    make_collection("handbook", tenant="other")
    Collection.objects.exclude(pk=row.pk).update(name="shared")
    assert Collection.objects.filter(name="handbook").count() == 1


def test_settings_are_changed_and_the_chunks_are_locked(admin_client: Client) -> None:
    row = make_collection(chunk_tokens=100)
    page = text_of(admin_client.get(page_of(row)))
    assert "100 tokens, overlap 0" in page
    assert 'name="chunk_tokens"' not in page
    assert "re-index" in page.lower()
    response = change(
        admin_client,
        row,
        name="rules",
        top_k="9",
        per_document="2",
        min_score="0.25",
        chunk_tokens="50",
        tenant=make_scope("other").tenant_id,
    )
    assert saved(response)
    row.refresh_from_db()
    assert (row.name, row.top_k, row.per_document, row.min_score) == (
        "rules",
        9,
        2,
        0.25,
    )
    assert row.tenant.name == "team"
    assert row.indexes.get().chunk_tokens == 100


def test_readers_are_kept_where_keys_are_named_alone(admin_client: Client) -> None:
    row, key = make_collection(), api_key()
    change(admin_client, row, visibility="keys", readers=[key.pk])
    row.refresh_from_db()
    assert (row.visibility, list(row.readers.all())) == ("keys", [key])
    change(admin_client, row, visibility="tenant", readers=[key.pk])
    row.refresh_from_db()
    assert (row.visibility, list(row.readers.all())) == ("tenant", [])


def test_a_reranker_is_a_provider_with_a_model(admin_client: Client) -> None:
    row, prov = make_collection(), provider()
    errors = errors_in(change(admin_client, row, rerank_provider=prov.pk))
    assert "Name the model" in errors["rerank_model"][0]
    assert saved(
        change(admin_client, row, rerank_provider=prov.pk, rerank_model="order")
    )
    page = text_of(admin_client.get(page_of(row)))
    assert "has acme order it once more" in page
    Provider.objects.all().delete()
    row.refresh_from_db()
    assert row.rerank_provider is None


def test_deleting_says_what_goes_and_leaves_nothing(admin_client: Client) -> None:
    row, other = make_collection(), make_collection("other")
    document, kept = make_document(row), make_document(other)
    folder = folder_of(document)
    url = f"{COLLECTIONS}{row.pk}/delete/"
    page = text_of(admin_client.get(url))
    for text in (
        "1 collection<",
        "1 document<",
        "1 file, 43\xa0bytes",
        "handbook of team",
    ):
        assert text in page, text
    assert folder.exists()
    assert admin_client.post(url, YES).status_code == HTTPStatus.FOUND
    assert list(Document.objects.all()) == [kept]
    assert list(Collection.objects.all()) == [other]
    assert not folder.exists()
    assert folder_of(kept).exists()
    assert LogEntry.objects.get(object_id=str(row.pk)).is_deletion()


@pytest.mark.django_db(transaction=True)
def test_deleting_is_done_in_several_transactions(admin_client: Client) -> None:
    row = make_collection()
    make_document(row)
    url = f"{COLLECTIONS}{row.pk}/delete/"
    with CaptureQueriesContext(connection) as queries:
        admin_client.post(url, YES)
    sqls = [each["sql"] for each in queries]
    removed = next(
        n for n, sql in enumerate(sqls) if 'DELETE FROM "rag_document"' in sql
    )
    assert sqls[:removed].count("COMMIT") >= 2
    assert "COMMIT" in sqls[removed:]
    assert not Collection.objects.exists()


def test_selected_collections_are_deleted_after_a_question(
    admin_client: Client,
) -> None:
    rows = [make_collection(name) for name in ("a", "b")]
    make_collection("c")
    folder = folder_of(make_document(rows[0]))
    data = {"action": "erase", "_selected_action": [row.pk for row in rows]}
    page = text_of(admin_client.post(COLLECTIONS, data))
    assert "2 collections" in page
    assert Collection.objects.count() == 3
    response = admin_client.post(COLLECTIONS, data | YES, follow=True)
    assert [str(each) for each in response.context["messages"]] == [
        "2 collections were deleted."
    ]
    assert [row.name for row in Collection.objects.all()] == ["c"]
    assert not folder.exists()


def test_nothing_is_done_without_the_right() -> None:
    row = make_collection()
    make_document(row)
    client = client_with("view_collection")
    page = text_of(client.get(page_of(row)))
    assert "leave.txt" not in page
    for hidden in ("Re-index", "data-rag-try", "data-rag-upload", 'name="_save"'):
        assert hidden not in page, hidden
    data = {"action": "erase", "_selected_action": [row.pk], **YES}
    client.post(COLLECTIONS, data)
    for path, status in {
        f"{row.pk}/change/": HTTPStatus.FORBIDDEN,
        f"{row.pk}/delete/": HTTPStatus.FORBIDDEN,
        f"{row.pk}/upload/": HTTPStatus.FORBIDDEN,
        f"{row.pk}/try/": HTTPStatus.FORBIDDEN,
        f"{row.pk}/index/reindex/": HTTPStatus.FORBIDDEN,
        f"{row.pk}/index/discard/": HTTPStatus.FORBIDDEN,
        "add/": HTTPStatus.FORBIDDEN,
    }.items():
        assert client.post(COLLECTIONS + path, YES).status_code == status, path
    assert client.get(f"{COLLECTIONS}{row.pk}/progress/").json()["parts"].keys() == {
        "rag-indexes"
    }
    stranger = client_of_nobody()
    for path in ("progress/", "delete/", "change/"):
        response = stranger.get(f"{COLLECTIONS}{row.pk}/{path}")
        assert response.status_code == HTTPStatus.FORBIDDEN, path
    assert Collection.objects.filter(name="handbook").exists()


def client_of_nobody() -> Client:
    """Log a member of staff in who may do nothing."""
    from django.contrib.auth.models import User  # noqa: PLC0415

    client = Client()
    client.force_login(User.objects.create_user("nobody", is_staff=True))
    return client


def test_a_collection_can_be_deleted_while_documents_are_switched_off(
    admin_client: Client, settings: Settings
) -> None:
    row = make_collection()
    settings.ENABLE_RAG = False
    assert "Re-index" not in text_of(admin_client.get(page_of(row)))
    admin_client.post(f"{COLLECTIONS}{row.pk}/delete/", YES)
    assert not Collection.objects.exists()


def test_the_sidebar_leads_to_both_lists(admin_client: Client) -> None:
    page = text_of(admin_client.get("/admin/"))
    assert f'href="{COLLECTIONS}"' in page
    assert 'href="/admin/rag/document/"' in page
    assert f'href="{COLLECTIONS}add/"' in page or "Collections" in page


def test_a_tenant_goes_with_its_collections(admin_client: Client) -> None:
    row, kept = make_collection(), make_collection("other", tenant="other")
    make_document(row)
    url = f"/admin/gateway/tenant/{row.tenant_id}/delete/"
    assert admin_client.post(url, YES).status_code == HTTPStatus.FOUND
    assert list(Collection.objects.all()) == [kept]
    assert not Version.objects.exists()
    assert Tenant.objects.filter(name="other").exists()
    assert not ApiKey.objects.exists()
