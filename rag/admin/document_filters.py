"""How the list of documents is narrowed: to a collection, to a state."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from typing_extensions import override

from rag.models import Collection, Document, DocumentState


class StateFilter(admin.SimpleListFilter):
    """By the state of the newest version."""

    title = "state"
    parameter_name = "state"

    @override
    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """Offer every state."""
        return [(state.value, str(state.label)) for state in DocumentState]

    @override
    def queryset(
        self, request: HttpRequest, queryset: QuerySet[Document]
    ) -> QuerySet[Document]:
        """Keep the documents of one state."""
        asked = self.value()
        if asked not in DocumentState.values:
            return queryset
        return queryset.filter(newest__state=asked)


class CollectionFilter(admin.RelatedFieldListFilter):
    """By collection, whose name alone may be that of several."""

    @override
    def field_choices(
        self, field: Any, request: HttpRequest, model_admin: Any
    ) -> list[tuple[Any, Any]]:
        """Name the tenant, too."""
        rows = Collection.objects.select_related("tenant").order_by("name", "pk")
        return [(row.pk, f"{row} of {row.tenant}") for row in rows]
