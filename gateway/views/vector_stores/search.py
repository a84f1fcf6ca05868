"""`/v1/vector_stores/{id}/search`."""

from __future__ import annotations

from django.http import HttpResponseBase
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request

from gateway.runtime import runtime
from gateway.views.documents.base import scope_of
from gateway.views.documents.collections import filter_in
from gateway.views.rendering import render
from gateway.views.vector_stores import schema
from gateway.views.vector_stores.base import VectorStoresView, refusals, store_of
from gateway.views.vector_stores.objects import search_page
from gateway.views.vector_stores.requests import SEARCH_FIELDS, question_in


class StoreSearchView(VectorStoresView):
    """`/v1/vector_stores/{id}/search`."""

    @extend_schema(**schema.SEARCH_STORE)
    async def post(self, request: Request, vector_store_id: str) -> HttpResponseBase:
        """Find the chunks that answer a question, best first."""
        asked = question_in(self.fields(SEARCH_FIELDS))
        filters = filter_in(asked.filters)
        store = await self.in_library(
            lambda library, scope: store_of(library, scope, vector_store_id)
        )
        with refusals():
            found = await runtime.retrieving.search(
                scope_of(self.principal), (store.name,), asked.text, asked.most, filters
            )
        hits = [hit for hit in found.hits if hit.score >= asked.min_score]
        of_documents = {hit.document_id for hit in hits}
        attributes = await self.in_library(
            lambda library, scope: library.attributes_of(
                scope, store.name, of_documents
            )
        )
        page = search_page(list(asked.queries), hits, attributes)
        page["ailb"] = {"status": found.status.value, "problem": found.problem or None}
        return render(page)
