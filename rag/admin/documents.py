"""The pages of documents: how far each is, its text, its attributes, its file."""

from __future__ import annotations

from typing import Any

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.utils.html import format_html
from typing_extensions import override

from rag.admin import erasing, figures
from rag.admin.document_actions import DocumentActions, page_of
from rag.admin.document_filters import CollectionFilter, StateFilter
from rag.admin.document_text import text_of
from rag.admin.key_names import key_name
from rag.admin.service import Refused, library, refusals, scope_of
from rag.admin.shelf import shown
from rag.admin.theme import ModelAdmin, RowForm, TextArea, display
from rag.models import Document, DocumentState


class DocumentForm(RowForm[Document]):
    """What an operator may change of a document."""

    class Meta:
        model = Document
        fields = ("attributes",)
        widgets = {"attributes": TextArea(attrs={"rows": 4})}

    def clean_attributes(self) -> dict[str, Any]:
        """Take an empty field for no attributes."""
        return self.cleaned_data["attributes"] or {}


@admin.register(Document)
class DocumentPages(DocumentActions, ModelAdmin[Document]):
    """Documents; new ones come in on the page of their collection."""

    form = DocumentForm
    list_display = (
        "filename",
        "of_collection",
        "state",
        "kind",
        "size",
        "pages",
        "chunks",
        "version",
        "added",
    )
    list_filter = (StateFilter, ("collection", CollectionFilter))
    list_select_related = ("collection__tenant", "newest", "current")
    list_before_template = "rag/above.html"
    search_fields = ("filename", "uid")
    search_help_text = "A part of a file name or id"
    ordering = ("-id",)
    show_full_result_count = False
    actions = ("erase",)
    change_form_outer_before_template = "rag/document.html"
    change_form_outer_after_template = "rag/text.html"
    readonly_fields = (
        "filename",
        "of_collection",
        "uid",
        "added",
        "added_by",
        "kind",
        "size",
        "pages",
        "chars",
        "chunks",
        "version",
        "found",
        "finished",
        "sha256",
    )
    fieldsets = (
        ("Attributes", {"fields": ("attributes",)}),
        (
            "Document",
            {"fields": ("filename", "of_collection", "uid", "added", "added_by")},
        ),
        (
            "Newest version",
            {
                "fields": (
                    ("version", "found"),
                    ("kind", "size"),
                    ("pages", "chars"),
                    ("chunks", "finished"),
                    "sha256",
                )
            },
        ),
    )

    class Media:
        css = {"all": ("rag/documents.css",)}
        js = ("rag/documents.js",)

    @override
    def get_queryset(self, request: HttpRequest) -> QuerySet[Document]:
        """Read collection and versions with the rows, on every page."""
        rows: QuerySet[Document] = super().get_queryset(request)
        return rows.select_related("collection__tenant", "newest", "current")

    @override
    def has_add_permission(self, request: HttpRequest) -> bool:
        """Say no: a document is uploaded on its collection's page."""
        return False

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
        """Show how far it is, and its text."""
        context |= {
            **self.common_context(),
            "document": shown(obj),
            "may_replace": self.may_replace(request),
            "text": text_of(obj, request.GET),
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
            return redirect("admin:rag_document_changelist")

    @override
    def save_model(
        self, request: HttpRequest, obj: Document, form: Any, change: bool
    ) -> None:
        """Have the library put other attributes in the place of what there is."""
        if "attributes" in form.changed_data:
            with refusals():
                library().change_document(
                    scope_of(obj.collection),
                    obj.collection.name,
                    obj.uid,
                    form.cleaned_data["attributes"],
                )

    @override
    def delete_view(
        self, request: HttpRequest, object_id: str, extra_context: Any = None
    ) -> HttpResponse:
        """Say what goes with the document, and delete it."""
        row = self.row_for(request, object_id, "rag.delete_document")
        rows = Document.objects.filter(pk=row.pk)
        if erasing.is_confirmed(request):
            erasing.erase_documents(self, request, rows)
            return redirect("admin:rag_collection_change", row.collection_id)
        return erasing.erase_page(
            self,
            request,
            erasing.loss_of_documents(rows),
            title=f"Delete document {row}",
            back_to=page_of(row),
            hidden=[erasing.CONFIRMED],
        )

    @admin.action(description="Delete", permissions=["delete"])
    def erase(
        self, request: HttpRequest, queryset: QuerySet[Document]
    ) -> HttpResponse | None:
        """Delete the selected documents."""
        if erasing.is_confirmed(request):
            erasing.erase_documents(self, request, queryset)
            return None
        return erasing.erase_page(
            self,
            request,
            erasing.loss_of_documents(queryset),
            title="Delete documents",
            back_to=reverse("admin:rag_document_changelist"),
            hidden=erasing.selected(request, "erase"),
        )

    @admin.display(description="Collection", ordering="collection__name")
    def of_collection(self, row: Document) -> str:
        """Lead to its collection."""
        return format_html(
            '<a href="{}" class="text-link">{}</a> of {}',
            reverse("admin:rag_collection_change", args=[row.collection_id]),
            row.collection,
            row.collection.tenant,
        )

    @display(description="State", label=figures.COLOURS)
    def state(self, row: Document) -> tuple[str, str]:
        """Say how far its newest version is."""
        document = shown(row)
        if document.state != DocumentState.EMBEDDING or document.percent is None:
            return document.state, document.state
        return document.state, f"{document.state}, {document.percent}%"

    @admin.display(description="Type")
    def kind(self, row: Document) -> str:
        """Name its type."""
        return shown(row).kind

    @admin.display(description="Size")
    def size(self, row: Document) -> str:
        """Write how large its file is."""
        return shown(row).size

    @admin.display(description="Pages")
    def pages(self, row: Document) -> str:
        """Count its pages."""
        return shown(row).pages

    @admin.display(description="Characters")
    def chars(self, row: Document) -> str:
        """Count the characters of its text."""
        return figures.count(row.newest.chars if row.newest else None)

    @admin.display(description="Chunks")
    def chunks(self, row: Document) -> str:
        """Count its chunks, as the version has them."""
        return shown(row).chunks

    @admin.display(description="Version")
    def version(self, row: Document) -> int:
        """Give the number of its newest version."""
        return shown(row).version

    @admin.display(description="Found")
    def found(self, row: Document) -> str:
        """Say which version a search finds."""
        return f"version {row.current.number}" if row.current else "not yet"

    @admin.display(description="Added (UTC)", ordering="id")
    def added(self, row: Document) -> str:
        """Say when it was first brought."""
        return shown(row).added

    @admin.display(description="Finished (UTC)")
    def finished(self, row: Document) -> str:
        """Say when the newest version was ready or failed."""
        return figures.moment(row.newest.finished_at if row.newest else None)

    @admin.display(description="Added by")
    def added_by(self, row: Document) -> str:
        """Name the key that brought it."""
        return key_name(row.owner)

    @admin.display(description="SHA-256")
    def sha256(self, row: Document) -> str:
        """Give what tells its content from any other."""
        return row.newest.sha256 if row.newest else figures.NONE
