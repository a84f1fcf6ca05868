"""The form of a collection, which refuses just what the library refuses."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django import forms
from django.conf import settings
from typing_extensions import override

from rag.admin.theme import NumberInput, RowForm, TextArea
from rag.chunking import ChunkSize
from rag.collection_fields import (
    READERS,
    normalised,
    read_chunk_size,
    read_fields,
)
from rag.errors import InvalidField
from rag.models import Collection, Index, Visibility

CHUNK_FIELDS = ("chunk_tokens", "chunk_overlap")
# What only operators set; the library's clients cannot.
OPERATORS_FIELDS = ("visibility", "rerank_provider", "rerank_model")
LOCKED = (
    "How chunks are made is locked once the collection is there: re-index it to change "
    "that."
)
TAKEN = "The tenant has a collection of this name already: take another name."
NO_MODEL = "Name the model that the provider is to be asked for."
NO_PROVIDER = "Name the provider that is to be asked for this model."


class CollectionForm(RowForm[Collection]):
    """A collection's settings."""

    class Meta:
        model = Collection
        fields = "__all__"
        widgets = {"description": TextArea(attrs={"rows": 3})}

    @override
    def clean(self) -> dict[str, Any]:
        """Refuse a name that is taken, and readers where none are named."""
        data = super().clean() or self.cleaned_data
        if self._is_taken(data):
            self.add_error("name", TAKEN)
        if data.get("visibility") != Visibility.KEYS and "readers" in data:
            data["readers"] = data["readers"].none()
        self._check_rerank(data)
        return data

    def _post_clean(self) -> None:
        """Refuse what the columns take and the library does not."""
        super()._post_clean()  # type: ignore[misc]  # unknown to the stubs
        for name in READERS.keys() & self.cleaned_data.keys():
            self._check(read_fields, {name: self.cleaned_data[name]})

    def _check(self, read: Any, fields: Mapping[str, object], **known: Any) -> None:
        """Have a reader of the library read fields, and say what it says at its place."""
        try:
            read(fields, **known)
        except InvalidField as error:
            field = self.fields.get(error.param)
            label = str(field.label) if field else error.param
            text = error.message.replace(f"'{error.param}'", f"'{label}'")
            self.add_error(error.param if field else None, text)

    def _is_taken(self, data: Mapping[str, Any]) -> bool:
        """Say whether the tenant has another collection of the new name.

        Django compares names as they were typed, and not at all where the tenant is no
        field of the form.
        """
        tenant = data.get("tenant") or getattr(self.instance, "tenant", None)
        name = normalised(data.get("name") or "")
        others = Collection.objects.exclude(pk=self.instance.pk)
        return bool(name) and others.filter(tenant=tenant, name=name).exists()

    def _check_rerank(self, data: Mapping[str, Any]) -> None:
        if not {"rerank_provider", "rerank_model"} <= data.keys():
            return
        provider, model = data["rerank_provider"], data["rerank_model"]
        if provider and not model:
            self.add_error("rerank_model", NO_MODEL)
        if model and not provider:
            self.add_error("rerank_provider", NO_PROVIDER)


class NewCollectionForm(CollectionForm):
    """The same with how its chunks are made, which cannot be changed later."""

    chunk_tokens = forms.IntegerField(
        label="Tokens of a chunk",
        initial=ChunkSize().tokens,
        widget=NumberInput(),
        help_text=str(Index._meta.get_field("chunk_tokens").help_text),
    )
    chunk_overlap = forms.IntegerField(
        label="Overlap of chunks",
        initial=ChunkSize().overlap,
        widget=NumberInput(),
        help_text="Tokens that a chunk shares with the one before, 0 to 32.",
    )

    @override
    def _post_clean(self) -> None:
        """Refuse chunks that the embedding model cannot read."""
        super()._post_clean()
        data = self.cleaned_data
        size = {name: data[name] for name in CHUNK_FIELDS if name in data}
        if len(size) == len(CHUNK_FIELDS):
            model = settings.EMBEDDING_MODEL
            self._check(read_chunk_size, size, default=ChunkSize(), model=model)
