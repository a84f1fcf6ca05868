"""What can be done on a document's page besides saving its attributes."""

from __future__ import annotations

from functools import partial
from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import redirect
from django.template.loader import render_to_string
from django.urls import URLPattern, path, reverse
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST
from typing_extensions import override

from rag.admin import uploading
from rag.admin.downloading import download
from rag.admin.rows import RowPages
from rag.admin.service import (
    Refused,
    check_switched_on,
    is_switched_on,
    library,
    refusals,
    scope_of,
)
from rag.admin.shelf import shown, told
from rag.admin.uploading import Brought
from rag.models import Document
from rag.records import Upload

CHANGE = "rag.change_document"


class DocumentActions(RowPages):
    """Downloading, replacing, and telling how far that is."""

    @override
    def get_urls(self) -> list[URLPattern]:
        """Add the views of this page."""
        view = self.admin_site.admin_view
        own = [
            path(
                "<int:pk>/replace/",
                view(csrf_exempt(require_POST(self.replace))),
                name="rag_document_replace",
            ),
            path("<int:pk>/file/", view(self.download), name="rag_document_file"),
            path(
                "<int:pk>/progress/", view(self.progress), name="rag_document_progress"
            ),
        ]
        return [*own, *super().get_urls()]

    def may_replace(self, request: HttpRequest) -> bool:
        """Say whether the page offers to bring the document anew."""
        return is_switched_on() and request.user.has_perm(CHANGE)

    def download(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Give the file that was brought last."""
        document = self.row_for(request, pk)
        try:
            return download(document)
        except Refused as refused:
            self.message_user(request, str(refused), messages.ERROR)
            return redirect(page_of(document))

    def replace(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Bring a document anew."""
        document = self.row_for(request, pk, CHANGE)
        try:
            check_switched_on()
            return uploading.receive(request, partial(self._take, document))
        except Refused as refused:
            outcomes = [uploading.refusal(refused)]
            return uploading.answer(request, outcomes, back_to=page_of(document))

    def _take(self, document: Document, request: HttpRequest) -> HttpResponse:
        outcomes = uploading.take_each(
            request, partial(self._replace, request, document), most=1
        )
        return uploading.answer(request, outcomes, back_to=page_of(document))

    def _replace(
        self, request: HttpRequest, document: Document, upload: Upload
    ) -> Brought:
        with refusals():
            added = library().replace_document(
                scope_of(document.collection),
                document.collection.name,
                document.uid,
                upload,
            )
        if added.is_new:
            self.log_change(
                request, document, f"Replaced: version {added.document.version}."
            )
        return Brought(
            added.document.filename, document=document.pk, is_new=added.is_new
        )

    def progress(self, request: HttpRequest, pk: int) -> JsonResponse:
        """Tell a script how far the document is."""
        document = self.row_for(request, pk)
        row = shown(document)
        context = {"document": row}
        part = render_to_string("rag/document_state.html", context, request)
        return JsonResponse(
            {
                "is_moving": not row.is_final,
                "parts": {"rag-state": part},
                "documents": {str(document.pk): told(document)},
            }
        )


def page_of(document: Document) -> Any:
    """Give the address of a document's page."""
    return reverse("admin:rag_document_change", args=[document.pk])
