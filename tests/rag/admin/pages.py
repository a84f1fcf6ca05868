"""What the tests of the pages make, post and read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client

from rag.admin.service import library
from rag.files import version_folder
from rag.models import Collection, Document
from tests.rag.library_scenes import TEXT, make_scope, make_upload

COLLECTIONS = "/admin/rag/collection/"
DOCUMENTS = "/admin/rag/document/"
MARKUP = "<img src=x onerror=alert(1)>"
SCRIPT = {"HTTP_ACCEPT": "application/json"}
YES = {"post": "yes"}


def make_collection(
    name: str = "handbook", *, tenant: str = "team", **fields: object
) -> Collection:
    """Make an empty collection."""
    made = library().create_collection(make_scope(tenant), {"name": name, **fields})
    return Collection.objects.get(uid=made.uid)


def make_document(
    collection: Collection, content: str = TEXT, filename: str = "leave.txt"
) -> Document:
    """Add a document, which is queued."""
    scope = make_scope(collection.tenant.name)
    added = library().add_document(
        scope, collection.name, make_upload(content, filename)
    )
    return Document.objects.get(uid=added.document.id)


def file_of(content: str | bytes = TEXT, name: str = "leave.txt") -> SimpleUploadedFile:
    data = content.encode() if isinstance(content, str) else content
    return SimpleUploadedFile(name, data)


def folder_of(document: Document) -> Path:
    """Give where the newest version's files are."""
    assert document.newest is not None
    root: Path = settings.AILB_DOCUMENTS_DIR
    return root / version_folder(document.newest.uid)


def page_of(row: Collection | Document) -> str:
    return f"/admin/rag/{row._meta.model_name}/{row.pk}/change/"


def upload(
    client: Client,
    row: Collection | Document,
    *files: SimpleUploadedFile,
    is_script: bool = True,
    **fields: Any,
) -> Any:
    """Bring files to a collection, or in the place of a document."""
    verb = "upload" if isinstance(row, Collection) else "replace"
    url = f"/admin/rag/{row._meta.model_name}/{row.pk}/{verb}/"
    headers = SCRIPT if is_script else {}
    return client.post(url, {**fields, "file": list(files)}, **headers)  # type: ignore[arg-type]  # headers of a test


def said_in(response: Any) -> list[str]:
    """Give the messages of the page that a response leads to."""
    return [str(message) for message in response.context["messages"]]
