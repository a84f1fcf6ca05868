"""What can be done on a collection's page besides saving its settings."""

from __future__ import annotations

from functools import partial
from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST
from typing_extensions import override

from rag.admin import reindexing, shelf, uploading
from rag.admin.rows import RowPages
from rag.admin.service import (
    Refused,
    check_switched_on,
    is_switched_on,
    library,
    refusals,
    scope_of,
)
from rag.admin.trying import Trial, TryForm, ask
from rag.admin.uploading import Brought
from rag.models import Collection, Document
from rag.records import Upload

ADD = "rag.add_document"


class CollectionActions(RowPages):
    """Uploading, trying, re-indexing, and telling how far all of it is."""

    @override
    def get_urls(self) -> list[URLPattern]:
        """Add the views of this page."""
        view = self.admin_site.admin_view
        own = [
            path(
                "<int:pk>/upload/",
                view(csrf_exempt(require_POST(self.upload))),
                name="rag_collection_upload",
            ),
            path(
                "<int:pk>/try/",
                view(require_POST(self.try_out)),
                name="rag_collection_try",
            ),
            path(
                "<int:pk>/index/<str:verb>/",
                view(require_POST(self.change_index)),
                name="rag_collection_index",
            ),
            path(
                "<int:pk>/progress/",
                view(self.progress),
                name="rag_collection_progress",
            ),
        ]
        return [*own, *super().get_urls()]

    def may_upload(self, request: HttpRequest) -> bool:
        """Say whether the page offers to bring documents."""
        return is_switched_on() and request.user.has_perm(ADD)

    # --- Documents -----------------------------------------------------------------------

    def upload(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Add documents to a collection."""
        collection = self.row_for(request, pk, ADD)
        try:
            check_switched_on()
            return uploading.receive(request, partial(self._take, collection))
        except Refused as refused:
            return self._answer(request, collection, [uploading.refusal(refused)])

    def _take(self, collection: Collection, request: HttpRequest) -> HttpResponse:
        outcomes = uploading.take_each(request, partial(self._add, request, collection))
        return self._answer(request, collection, outcomes)

    def _add(
        self, request: HttpRequest, collection: Collection, upload: Upload
    ) -> Brought:
        with refusals():
            added = library().add_document(
                scope_of(collection), collection.name, upload
            )
        row = Document.objects.get(collection=collection, uid=added.document.id)
        if added.is_new:
            self.log_addition(request, row, "Uploaded.")
        return Brought(row.filename, document=row.pk, is_new=added.is_new)

    def _answer(
        self, request: HttpRequest, collection: Collection, outcomes: list[Brought]
    ) -> HttpResponse:
        return uploading.answer(request, outcomes, back_to=page_of(collection))

    def progress(self, request: HttpRequest, pk: int) -> JsonResponse:
        """Tell a script what has become of documents and indexes."""
        return JsonResponse(shelf.progress(request, self.row_for(request, pk)))

    # --- Questions -----------------------------------------------------------------------

    def try_out(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Ask a question; a script gets the hits alone, others a page with them."""
        collection = self.row_for(request, pk, shelf.READ)
        form = TryForm(request.POST)
        trial: Trial | None = None
        problem = ""
        try:
            check_switched_on()
            if form.is_valid():
                data = form.cleaned_data
                trial = ask(collection, data["question"], data["how_many"])
        except Refused as refused:
            problem = str(refused)
        context = {
            "trial": trial,
            "problem": problem,
            "try_form": form,
            "reranker": collection.rerank_provider,
            "original": collection,
        }
        if uploading.is_script(request):
            return TemplateResponse(request, "rag/hits.html", context)
        context |= {
            **self.admin_site.each_context(request),
            **self.common_context(),
            "title": f"Try {collection}",
            "opts": self.opts,
            "media": self.media,
        }
        return TemplateResponse(request, "rag/try.html", context)

    # --- Indexes -------------------------------------------------------------------------

    def change_index(self, request: HttpRequest, pk: int, verb: str) -> HttpResponse:
        """Build another index, go back to the former one, or give one up."""
        collection = self.row_for(request, pk, shelf.CHANGE)
        try:
            check_switched_on()
            said = reindexing.do(collection, verb, request.POST)
        except Refused as refused:
            self.message_user(request, str(refused), messages.ERROR)
        else:
            self.log_change(request, collection, said)
            self.message_user(request, said, messages.SUCCESS)
        return redirect(f"{page_of(collection)}#index")


def page_of(collection: Collection) -> Any:
    """Give the address of a collection's page."""
    return reverse("admin:rag_collection_change", args=[collection.pk])
