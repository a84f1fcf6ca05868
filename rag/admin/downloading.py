"""A document's file, given back as it was brought."""

from __future__ import annotations

from django.http import HttpResponse
from django.utils.http import content_disposition_header

from rag.admin.service import library, refusals, scope_of
from rag.models import Document


def download(document: Document) -> HttpResponse:
    """Give the file that was brought last, to be saved; a browser never opens it.

    Raises:
        Refused: It is not where it should be.

    """
    collection = document.collection
    with refusals():
        place, told = library().document_file(
            scope_of(collection), collection.name, document.uid
        )
        # In memory: no file here is larger than a document may be.
        data = place.read_bytes()
    disposition = content_disposition_header(as_attachment=True, filename=told.filename)
    return HttpResponse(
        data,
        content_type="application/octet-stream",
        headers={
            "Content-Disposition": disposition or "attachment",
            "Content-Security-Policy": "sandbox; default-src 'none'",
            "X-Content-Type-Options": "nosniff",
        },
    )
