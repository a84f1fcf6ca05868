"""The pages of documents: the list, the text, attributes, the file, deleting."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from gateway.keyring import create_key
from rag.admin.document_text import PAGE_CHARS
from rag.models import Document, DocumentState, Version
from tests.gateway.admin.pages import errors_in, saved, text_of
from tests.memory.admin.rows import client_with
from tests.rag.admin.pages import (
    DOCUMENTS,
    MARKUP,
    YES,
    folder_of,
    make_collection,
    make_document,
    page_of,
)

pytestmark = pytest.mark.django_db


def make_ready(
    content: str, *, filename: str = "leave.txt", **version: Any
) -> Document:
    """Make a document whose text is known, without any chunks."""
    document = make_document(make_collection(), content, filename)
    (folder_of(document) / "text").write_text(content, encoding="utf-8")
    Version.objects.filter(document=document).update(
        state=DocumentState.READY, chars=len(content), **version
    )
    Document.objects.filter(pk=document.pk).update(current=document.newest)
    document.refresh_from_db()
    return document


def found_by(client: Client, **query: str) -> set[str]:
    rows: Any = client.get(DOCUMENTS, query).context["cl"].result_list
    return {row.filename for row in rows}


def test_the_list_says_how_far_each_is(admin_client: Client) -> None:
    collection = make_collection()
    for name, fields in {
        "a.pdf": {"state": "embedding", "chunks": 1200, "chunks_done": 300},
        "b.pdf": {"state": "failed", "media_type": "application/pdf", "pages": 117},
        "c.pdf": {"state": "ready", "size": 5 * 1024**2, "number": 4},
    }.items():
        document = make_document(collection, name, name)
        Version.objects.filter(document=document).update(**fields)
    page = text_of(admin_client.get(DOCUMENTS))
    for text in ("embedding, 25%", "failed", "PDF", ">117<", "5.0\xa0MB", "1,200"):
        assert text in page, text
    assert "add/" not in page.split("result_list")[1]


def test_the_list_is_narrowed(admin_client: Client) -> None:
    collection = make_collection()
    make_document(collection, "one", "one.txt")
    two = make_document(make_collection("other"), "two", "two.txt")
    Version.objects.filter(document=two).update(state="failed")
    assert found_by(admin_client, q="one") == {"one.txt"}
    assert found_by(admin_client, q=two.uid) == {"two.txt"}
    assert found_by(admin_client, state="failed") == {"two.txt"}
    by = {"collection__id__exact": str(collection.pk)}
    assert found_by(admin_client, **by) == {"one.txt"}
    assert "handbook of team" in text_of(admin_client.get(DOCUMENTS, by))


def test_the_list_asks_as_much_for_many_documents(admin_client: Client) -> None:
    collection = make_collection()
    counts = []
    for number in range(3):
        make_document(collection, str(number), f"{number}.txt")
        admin_client.get(DOCUMENTS)
        with CaptureQueriesContext(connection) as queries:
            admin_client.get(DOCUMENTS)
        counts.append(len(queries))
        assert not [each for each in queries if '"rag_chunk"' in each["sql"]]
    assert counts[1] == counts[2]


def test_the_page_says_what_the_document_is(admin_client: Client) -> None:
    document = make_ready("Fourteen weeks.", pages=2, media_type="application/pdf")
    key, _ = create_key(name="bot", tenant=document.collection.tenant)
    Document.objects.filter(pk=document.pk).update(owner=key.public_id)
    page = text_of(admin_client.get(page_of(document)))
    assert document.newest is not None
    for text in (
        document.newest.sha256,
        document.uid,
        f"bot ({key.public_id})",
        "handbook</a> of team",
        "Fourteen weeks.",
        "version 1",
    ):
        assert text in page, text


def test_a_failed_replacement_says_why_and_what_is_found(admin_client: Client) -> None:
    document = make_ready("Fourteen weeks.")
    newest = Version.objects.create(
        document=document, number=2, sha256="0" * 64, size=1, state="failed"
    )
    Version.objects.filter(pk=newest.pk).update(reason=f"It is damaged {MARKUP}.")
    Document.objects.filter(pk=document.pk).update(newest=newest)
    page = text_of(admin_client.get(page_of(document)))
    assert "It is damaged &lt;img" in page
    assert "Version 1 is still found." in page
    Version.objects.filter(pk=newest.pk).update(state="parsing")
    page = text_of(admin_client.get(page_of(document)))
    assert "Version 1 is found until this one is ready." in page


def test_the_text_is_turned_part_by_part(admin_client: Client) -> None:
    text = "".join(f"[{number:06d}]" for number in range(2 * PAGE_CHARS // 8))
    document = make_ready(text, page_spans=[[1, 0, 100], [2, 100, len(text)]])
    page = text_of(admin_client.get(page_of(document)))
    assert text[:PAGE_CHARS] in page
    assert text[PAGE_CHARS : PAGE_CHARS + 8] not in page
    assert "pages 1 to 2" in page
    assert f"?part={PAGE_CHARS}#text" in page
    page = text_of(admin_client.get(page_of(document), {"part": PAGE_CHARS}))
    assert text[PAGE_CHARS:] in page
    assert "?part=0#text" in page
    for bad in ("x", "-1", "9" * 30, str(len(text) + 1)):
        page = text_of(admin_client.get(page_of(document), {"part": bad}))
        assert text[:PAGE_CHARS] in page


def test_a_place_in_the_text_is_marked(admin_client: Client) -> None:
    document = make_ready("a" * 20_000 + MARKUP + "b" * 20_000)
    span = {"from": "20000", "to": str(20_000 + len(MARKUP))}
    page = text_of(admin_client.get(page_of(document), span))
    assert "<mark>&lt;img src=x onerror=alert(1)&gt;</mark>" in page
    assert "a" * 600 + "<mark>" in page


def test_a_document_that_is_not_read_yet_says_so(admin_client: Client) -> None:
    document = make_document(make_collection())
    page = text_of(admin_client.get(page_of(document)))
    assert "has not been read yet" in page
    assert "queued" in page


def test_attributes_are_checked_and_saved(admin_client: Client) -> None:
    document = make_document(make_collection())
    url = page_of(document)
    assert saved(admin_client.post(url, {"attributes": '{"year": 2026, "ok": true}'}))
    document.refresh_from_db()
    assert document.attributes == {"year": 2026, "ok": True}
    for bad, said in {
        "{": "valid JSON",
        "[1]": "JSON object",
        '{"a": [1]}': "is a text, a number",
        "{" + ",".join(f'"{n}": 1' for n in range(17)) + "}": "at most 16",
    }.items():
        errors = errors_in(admin_client.post(url, {"attributes": bad}))
        assert said in " ".join(errors["attributes"]), bad
    document.refresh_from_db()
    assert document.attributes == {"year": 2026, "ok": True}
    emptied = {"attributes": "", "initial-attributes": '{"year": 2026, "ok": true}'}
    assert saved(admin_client.post(url, emptied))
    document.refresh_from_db()
    assert document.attributes == {}


def test_the_file_is_given_back_to_be_saved(admin_client: Client) -> None:
    document = make_document(make_collection(), "<script>1</script>", "ä b.html")
    response = admin_client.get(f"{DOCUMENTS}{document.pk}/file/")
    assert response.content == b"<script>1</script>"
    assert response["content-type"] == "application/octet-stream"
    assert response["content-disposition"] == (
        "attachment; filename*=utf-8''%C3%A4%20b.html"
    )
    assert response["x-content-type-options"] == "nosniff"
    assert response["content-security-policy"].startswith("sandbox")
    (folder_of(document) / "original").unlink()
    response = admin_client.get(f"{DOCUMENTS}{document.pk}/file/", follow=True)
    assert "bring it again" in text_of(response)


def test_deleting_leaves_nothing(admin_client: Client) -> None:
    document = make_ready("Fourteen weeks.")
    folder = folder_of(document)
    url = f"{DOCUMENTS}{document.pk}/delete/"
    page = text_of(admin_client.get(url))
    assert "leave.txt of handbook" in page
    assert Document.objects.exists()
    response = admin_client.post(url, YES)
    assert response.url == page_of(document.collection)  # type: ignore[attr-defined]  # a redirect
    assert not Document.objects.exists()
    assert not folder.exists()
    assert LogEntry.objects.filter(object_repr="leave.txt").count() == 1


def test_all_that_a_search_finds_is_deleted_across_pages(admin_client: Client) -> None:
    collection = make_collection()
    for number in range(52):
        Document.objects.create(
            collection=collection, uid=f"u{number}", filename=f"s-{number}"
        )
    kept = make_document(collection)
    first = Document.objects.filter(filename="s-0").get()
    data = {
        "action": "erase",
        "_selected_action": [first.pk],
        "select_across": "1",
    }
    page = text_of(admin_client.post(f"{DOCUMENTS}?q=s-", data))
    assert "52 documents" in page
    assert "and 32 more" in page
    admin_client.post(f"{DOCUMENTS}?q=s-", data | YES)
    assert list(Document.objects.all()) == [kept]


def test_nothing_is_seen_or_done_without_the_right() -> None:
    document = make_ready("Fourteen weeks.")
    reader = client_with("view_document")
    page = text_of(reader.get(page_of(document)))
    assert "Fourteen weeks." in page
    for hidden in ("data-rag-upload", 'name="_save"', 'name="attributes"'):
        assert hidden not in page, hidden
    assert reader.get(f"{DOCUMENTS}{document.pk}/file/").status_code == HTTPStatus.OK
    data = {"action": "erase", "_selected_action": [document.pk], **YES}
    reader.post(DOCUMENTS, data)
    for path in ("change/", "delete/", "replace/"):
        response = reader.post(f"{DOCUMENTS}{document.pk}/{path}", YES)
        assert response.status_code == HTTPStatus.FORBIDDEN, path
    reader.logout()
    for path in ("change/", "delete/", "file/", "progress/"):
        response = reader.get(f"{DOCUMENTS}{document.pk}/{path}")
        assert response.status_code == HTTPStatus.FOUND, path
    assert Document.objects.exists()


def test_a_member_of_staff_without_rights_sees_nothing(db: None) -> None:
    document = make_ready("Fourteen weeks.")
    stranger = client_with("view_collection")
    for path in ("change/", "delete/", "file/", "progress/"):
        response = stranger.get(f"{DOCUMENTS}{document.pk}/{path}")
        assert response.status_code == HTTPStatus.FORBIDDEN, path


def test_a_document_is_followed(admin_client: Client) -> None:
    document = make_document(make_collection())
    url = f"{DOCUMENTS}{document.pk}/progress/"
    assert admin_client.get(url).json()["is_moving"]
    Version.objects.update(state="failed", reason=MARKUP)
    told = admin_client.get(url).json()
    assert not told["is_moving"]
    assert MARKUP not in told["parts"]["rag-state"]
    assert told["documents"][str(document.pk)]["reason"] == MARKUP
