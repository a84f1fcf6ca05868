"""Files that pages bring: to a collection, and in the place of a document."""

from __future__ import annotations

import re
from http import HTTPStatus

import pytest
from django.contrib.admin.models import LogEntry
from django.test import Client
from pytest_django import Settings

from gateway.upload_routes import brings_file
from rag.admin import uploading
from rag.admin.service import Refused
from rag.models import Document, DocumentState, Version
from tests.gateway.admin.pages import text_of
from tests.memory.admin.rows import client_with
from tests.rag.admin.pages import (
    COLLECTIONS,
    MARKUP,
    SCRIPT,
    file_of,
    folder_of,
    make_collection,
    make_document,
    page_of,
    said_in,
    upload,
)
from tests.rag.library_scenes import TEXT

pytestmark = pytest.mark.django_db


def names() -> set[str]:
    return set(Document.objects.values_list("filename", flat=True))


def test_a_form_without_scripts_brings_several_files(admin_client: Client) -> None:
    collection = make_collection()
    files = [file_of(), file_of("Trains go.", "b.md"), file_of(b"\x7fELF\0", "c.bin")]
    response = upload(admin_client, collection, *files, is_script=False)
    assert response.url == page_of(collection)
    page = admin_client.get(response.url)
    leave, trains, binary = sorted(said_in(page))[::-1]
    assert leave == "leave.txt: added; it is indexed in the background."
    assert binary == "b.md: added; it is indexed in the background."
    assert trains.startswith("c.bin: This file cannot be read")
    assert names() == {"leave.txt", "b.md"}
    states = Version.objects.values_list("state", flat=True)
    assert set(states) == {DocumentState.QUEUED}
    document = Document.objects.get(filename="leave.txt")
    assert (folder_of(document) / "original").read_text() == TEXT
    assert LogEntry.objects.filter(object_repr="leave.txt").exists()


def test_a_script_is_told_what_became_of_a_file(admin_client: Client) -> None:
    collection = make_collection()
    (file,) = upload(admin_client, collection, file_of()).json()["files"]
    row = Document.objects.get()
    assert (file["name"], file["document"], file["is_refused"]) == (
        "leave.txt",
        row.pk,
        False,
    )
    (again,) = upload(admin_client, collection, file_of(name="b.txt")).json()["files"]
    assert again["said"] == "the collection has this very content already."
    assert again["document"] == row.pk
    assert names() == {"leave.txt"}


@pytest.mark.parametrize(
    ("files", "status", "said"),
    [
        ([file_of(b"\x7fELF\0\1\2" * 9)], 422, "This file cannot be read"),
        ([file_of("")], 422, "This file is empty"),
        ([file_of("x" * 101)], 413, "It is larger than the 0 MB that are allowed"),
        ([], 400, "Choose a file first."),
    ],
)
def test_a_refusal_says_why(
    admin_client: Client,
    settings: Settings,
    files: list[object],
    status: int,
    said: str,
) -> None:
    settings.AILB_MAX_DOCUMENT_BYTES = 100
    collection = make_collection()
    response = upload(admin_client, collection, *files)  # type: ignore[arg-type]  # a list of files
    assert response.status_code == status
    (file,) = response.json()["files"]
    assert file["said"].startswith(said)
    assert file["is_refused"]
    assert names() == set()


def test_a_form_keeps_no_more_than_one_file_may_have(
    admin_client: Client, settings: Settings
) -> None:
    settings.AILB_MAX_DOCUMENT_BYTES = 100
    collection = make_collection()
    files = [file_of("x" * 60), file_of("y" * 60, "b.txt"), file_of("z" * 30, "c.txt")]
    told = upload(admin_client, collection, *files).json()["files"]
    assert [file["name"] for file in told if file["is_refused"]] == ["b.txt"]
    assert "together" in told[0]["said"]
    assert names() == {"leave.txt", "c.txt"}


def test_too_many_files_bring_nothing(admin_client: Client) -> None:
    document = make_document(make_collection())
    response = upload(admin_client, document, file_of("one"), file_of("two"))
    assert response.status_code == HTTPStatus.BAD_REQUEST
    assert Version.objects.count() == 1


def test_a_forged_form_is_refused(admin_client: Client) -> None:
    collection = make_collection()
    document = make_document(collection)
    client = Client(enforce_csrf_checks=True)
    client.cookies = admin_client.cookies
    for row in (collection, document):
        refused = upload(client, row, file_of("forged"))
        assert refused.status_code == HTTPStatus.FORBIDDEN
    page = text_of(client.get(page_of(collection)))
    token = re.findall(r'name="csrfmiddlewaretoken" value="(\w+)"', page)[0]
    assert Version.objects.count() == 1
    for row in (collection, document):
        taken = upload(
            client, row, file_of(f"for {row.pk} {row}"), csrfmiddlewaretoken=token
        )
        assert taken.status_code == HTTPStatus.OK
    assert Document.objects.count() == 2
    document.refresh_from_db()
    assert document.newest is not None
    assert document.newest.number == 2


def test_nobody_brings_files_without_the_right(admin_client: Client) -> None:
    collection = make_collection()
    document = make_document(collection)
    clerk = client_with("view_collection", "view_document")
    assert "data-rag-upload" not in text_of(clerk.get(page_of(collection)))
    assert "data-rag-upload" not in text_of(clerk.get(page_of(document)))
    assert "data-rag-upload" in text_of(admin_client.get(page_of(collection)))
    for row in (collection, document):
        for client in (clerk, Client()):
            response = upload(client, row, file_of("other"))
            assert response.status_code in {HTTPStatus.FORBIDDEN, HTTPStatus.FOUND}
    assert Version.objects.count() == 1


def test_the_right_to_add_documents_is_enough_beside_seeing_the_collection(
    db: None,
) -> None:
    collection = make_collection()
    client = client_with("view_collection", "add_document")
    assert upload(client, collection, file_of()).status_code == HTTPStatus.OK
    page = text_of(client.get(page_of(collection)))
    assert "data-rag-upload" in page
    assert "needs the permission to view documents" in page
    assert "leave.txt" not in page


def test_switched_off_it_says_how_to_switch_it_on(
    admin_client: Client, settings: Settings
) -> None:
    collection = make_collection()
    document = make_document(collection)
    settings.ENABLE_RAG = False
    for row in (collection, document):
        response = upload(admin_client, row, file_of("other"))
        assert response.status_code == HTTPStatus.BAD_REQUEST
        assert "ENABLE_RAG=true" in response.json()["files"][0]["said"]
        page = text_of(admin_client.get(page_of(row)))
        assert "set ENABLE_RAG=true" in page
        assert "data-rag-upload" not in page
        assert "data-rag-try" not in page
    for url in (COLLECTIONS, "/admin/rag/document/"):
        assert "set ENABLE_RAG=true" in text_of(admin_client.get(url))
    assert Version.objects.count() == 1


def test_a_document_is_replaced(admin_client: Client) -> None:
    document = make_document(make_collection())
    response = upload(admin_client, document, file_of("New.", "new.txt"))
    assert response.json()["files"][0]["document"] == document.pk
    document.refresh_from_db()
    assert document.newest is not None
    assert (document.filename, document.newest.number) == ("new.txt", 2)


def test_names_are_shown_as_they_are_written(admin_client: Client) -> None:
    collection = make_collection()
    upload(admin_client, collection, file_of(name=f"{MARKUP}.txt"), is_script=False)
    for url in (page_of(collection), "/admin/rag/document/"):
        page = text_of(admin_client.get(url))
        assert MARKUP not in page
        assert "onerror=alert(1)&gt;" in page


def test_few_forms_are_read_at_a_time(
    admin_client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uploading, "WAIT_S", 0.01)
    collection = make_collection()
    with uploading.place(), uploading.place():
        response = upload(admin_client, collection, file_of())
        assert response.status_code == HTTPStatus.SERVICE_UNAVAILABLE
        with pytest.raises(Refused, match="try again"), uploading.place():
            pass
    assert upload(admin_client, collection, file_of()).status_code == HTTPStatus.OK


def test_the_server_lets_these_files_in(admin_client: Client) -> None:
    for row in (make_collection(), make_document(make_collection("other"))):
        page = text_of(admin_client.get(page_of(row)))
        action = re.findall(r'action="([^"]+)" enctype="multipart', page)[0]
        assert brings_file(b"POST", action.encode())


def test_only_a_post_brings_files(admin_client: Client) -> None:
    collection = make_collection()
    response = admin_client.get(f"{COLLECTIONS}{collection.pk}/upload/", **SCRIPT)  # type: ignore[arg-type]  # headers of a test
    assert response.status_code == HTTPStatus.METHOD_NOT_ALLOWED
    for pk in (0, 999):
        response = admin_client.post(f"{COLLECTIONS}{pk}/upload/", {"file": file_of()})
        assert response.status_code == HTTPStatus.NOT_FOUND
