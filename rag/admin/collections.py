"""The pages of collections: their documents, questions to try, indexes and settings."""

from __future__ import annotations

from typing import Any

from django.contrib import admin, messages
from django.db import IntegrityError
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import redirect
from django.urls import reverse
from typing_extensions import override

from rag.admin import erasing, figures
from rag.admin.collection_actions import CollectionActions
from rag.admin.collection_form import (
    CHUNK_FIELDS,
    LOCKED,
    OPERATORS_FIELDS,
    CollectionForm,
    NewCollectionForm,
)
from rag.admin.collection_list import (
    COLOURS,
    CollectionList,
    document_words,
    index_state,
    index_words,
)
from rag.admin.key_names import key_name
from rag.admin.reindexing import index_form
from rag.admin.service import Refused, library, refusals, scope_of
from rag.admin.shelf import context_of, may_read, shelf_of
from rag.admin.theme import ChangeList, ModelAdmin, display
from rag.admin.trying import try_form
from rag.collection_fields import READERS
from rag.models import Collection, Visibility

SHARED = "All tenants can read another collection of this name already: rename one."
READERS_WORDS = {
    Visibility.TENANT.value: "its tenant",
    Visibility.KEYS.value: "named keys",
    Visibility.EVERYBODY.value: "all tenants",
}


@admin.register(Collection)
class CollectionPages(CollectionActions, ModelAdmin[Collection]):
    """Collections of documents; each one's page is where its documents come in."""

    form = CollectionForm
    list_display = ("name", "tenant", "documents", "size", "index", "read_by", "used")
    list_filter = ("tenant", "visibility")
    list_select_related = ("tenant",)
    list_before_template = "rag/above.html"
    search_fields = ("name", "description")
    search_help_text = "A part of a name or description"
    show_full_result_count = False
    actions = ("erase",)
    autocomplete_fields = ("tenant", "readers", "rerank_provider")
    conditional_fields = {"readers": "visibility == 'keys'"}
    readonly_fields = ("created", "used", "made_by")
    change_form_outer_before_template = "rag/collection.html"
    settings_fieldsets: Any = (
        ("Who may read", {"fields": ("visibility", "readers")}),
        (
            "What a chat is given",
            {
                "fields": (
                    "top_k",
                    "max_tokens",
                    "per_document",
                    "min_score",
                    "relative_cut",
                    "joins_neighbours",
                )
            },
        ),
        ("Answers", {"fields": ("is_strict", "is_required")}),
        ("Reranking", {"fields": ("rerank_provider", "rerank_model")}),
    )
    fieldsets = (
        ("Settings", {"fields": ("name", "tenant", "description")}),
        *settings_fieldsets,
        ("Life", {"fields": ("created", "used", "made_by")}),
    )
    add_fieldsets = (
        (None, {"fields": ("name", "tenant", "description")}),
        ("Chunks", {"fields": CHUNK_FIELDS, "description": LOCKED}),
        *settings_fieldsets,
    )

    class Media:
        css = {"all": ("rag/documents.css",)}
        js = ("rag/documents.js",)

    @override
    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        """Count the documents with the list."""
        return CollectionList

    @override
    def get_queryset(self, request: HttpRequest) -> QuerySet[Collection]:
        """Read the tenant with the rows, on every page."""
        return super().get_queryset(request).select_related("tenant")

    @override
    def get_form(
        self,
        request: HttpRequest,
        obj: Collection | None = None,
        change: bool = False,
        **kwargs: Any,
    ) -> Any:
        """Ask a new collection how its chunks are made."""
        if obj is None:
            kwargs["form"] = NewCollectionForm
        return super().get_form(request, obj, change, **kwargs)

    @override
    def get_fieldsets(self, request: HttpRequest, obj: Collection | None = None) -> Any:
        """Leave out what a new row does not have yet."""
        return self.add_fieldsets if obj is None else self.fieldsets

    @override
    def get_readonly_fields(
        self, request: HttpRequest, obj: Collection | None = None
    ) -> Any:
        """Keep a collection where it was made."""
        return (
            self.readonly_fields if obj is None else (*self.readonly_fields, "tenant")
        )

    @override
    def get_actions(self, request: HttpRequest) -> dict[str, Any]:
        """Offer one way to delete, the one that says what goes."""
        every: dict[str, Any] = super().get_actions(request)
        every.pop("delete_selected", None)
        return every

    @override
    def changelist_view(
        self, request: HttpRequest, extra_context: Any = None
    ) -> HttpResponse:
        """Say when documents are switched off."""
        return super().changelist_view(
            request, {**self.common_context(), **(extra_context or {})}
        )

    @override
    def render_change_form(
        self,
        request: HttpRequest,
        context: Any,
        add: bool = False,
        change: bool = False,
        form_url: str = "",
        obj: Any = None,
    ) -> HttpResponse:
        """Show documents, the box to try questions in, and indexes."""
        context |= self.common_context()
        if obj is not None:
            context |= context_of(request, shelf_of(request, obj))
            context |= {
                "may_read": may_read(request),
                "may_upload": self.may_upload(request),
                "try_form": try_form(obj),
                "index_form": index_form(obj),
                "reranker": obj.rerank_provider,
            }
        return super().render_change_form(request, context, add, change, form_url, obj)

    @override
    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: Any = None,
    ) -> HttpResponse:
        """Say what came between the form's check and its saving."""
        try:
            return super().changeform_view(request, object_id, form_url, extra_context)
        except Refused as refused:
            self.message_user(request, str(refused), messages.ERROR)
            return redirect(request.get_full_path())

    @override
    def save_model(
        self, request: HttpRequest, obj: Collection, form: Any, change: bool
    ) -> None:
        """Have the library make or change it, and set what only operators set."""
        names = form.changed_data if change else form.cleaned_data
        wanted = {name: form.cleaned_data[name] for name in names if name in READERS}
        with refusals():
            if change:
                former = form.initial["name"]
                if wanted:
                    library().change_collection(scope_of(obj), former, wanted)
            else:
                wanted |= {name: form.cleaned_data[name] for name in CHUNK_FIELDS}
                made = library().create_collection(scope_of(obj), wanted)
                obj.pk = Collection.objects.values_list("pk", flat=True).get(
                    uid=made.uid
                )
        theirs = {
            name: getattr(obj, name) for name in OPERATORS_FIELDS if name in names
        }
        if theirs:
            try:
                Collection.objects.filter(pk=obj.pk).update(**theirs)
            except IntegrityError as error:
                raise Refused(SHARED, status=409) from error
        obj.refresh_from_db()

    @override
    def response_post_save_add(
        self, request: HttpRequest, obj: Collection
    ) -> HttpResponseRedirect:
        """Go on to the new collection's page, where documents are uploaded."""
        return redirect("admin:rag_collection_change", obj.pk)

    @override
    def delete_view(
        self, request: HttpRequest, object_id: str, extra_context: Any = None
    ) -> HttpResponse:
        """Say what goes with the collection, and delete it in parts."""
        row = self.row_for(request, object_id, "rag.delete_collection")
        rows = Collection.objects.filter(pk=row.pk)
        listing = reverse("admin:rag_collection_changelist")
        if erasing.is_confirmed(request):
            erasing.erase_collections(self, request, rows)
            return redirect(listing)
        return erasing.erase_page(
            self,
            request,
            erasing.loss_of_collections(rows),
            title=f"Delete collection {row}",
            back_to=reverse("admin:rag_collection_change", args=[row.pk]),
            hidden=[erasing.CONFIRMED],
        )

    @admin.action(description="Delete", permissions=["delete"])
    def erase(
        self, request: HttpRequest, queryset: QuerySet[Collection]
    ) -> HttpResponse | None:
        """Delete the selected collections."""
        if erasing.is_confirmed(request):
            erasing.erase_collections(self, request, queryset)
            return None
        return erasing.erase_page(
            self,
            request,
            erasing.loss_of_collections(queryset),
            title="Delete collections",
            back_to=reverse("admin:rag_collection_changelist"),
            hidden=erasing.selected(request, "erase"),
        )

    @admin.display(description="Documents")
    def documents(self, row: Any) -> str:
        """Say how many documents it has."""
        return document_words(row.told.counts)

    @admin.display(description="Size")
    def size(self, row: Any) -> str:
        """Write how large its files are."""
        return figures.size(row.told.counts.size)

    @display(description="Index", label=COLOURS)
    def index(self, row: Any) -> tuple[str, str]:
        """Say what state its indexes are in."""
        return index_state(row.told), index_words(row.told)

    @admin.display(description="Read by", ordering="visibility")
    def read_by(self, row: Collection) -> str:
        """Say who may read it."""
        return READERS_WORDS[row.visibility]

    @admin.display(description="Last searched (UTC)", ordering="last_used_at")
    def used(self, row: Collection) -> str:
        """Say when a question was last asked."""
        return figures.moment(row.last_used_at)

    @admin.display(description="Made (UTC)")
    def created(self, row: Collection) -> str:
        """Say when it was made."""
        return figures.moment(row.created_at)

    @admin.display(description="Made by")
    def made_by(self, row: Collection) -> str:
        """Name the key that made it."""
        return key_name(row.owner)
