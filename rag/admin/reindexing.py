"""What operators do with a collection's indexes: build another, go back, give up."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.http import QueryDict

from rag.admin.service import Refused, library, refusals, scope_of
from rag.admin.theme import NumberInput, RowForm, Select, TextInput
from rag.models import Collection, Index, IndexState
from rag.packaged_model import NAME, PRECISIONS

REINDEX, CANCEL, ROLLBACK, DISCARD = "reindex", "cancel", "rollback", "discard"
# What is said once it is done, and written into the collection's history.
SAID = {
    REINDEX: "Another index is being built; it serves once every document is in it.",
    CANCEL: "The index that was being built is given up.",
    ROLLBACK: "The former index catches up, and then serves again.",
    DISCARD: "The former index is discarded.",
}


class IndexForm(RowForm[Index]):
    """How the chunks of another index are made and embedded."""

    class Meta:
        model = Index
        fields = ("model", "precision", "chunk_tokens", "chunk_overlap")
        widgets = {
            "model": TextInput(attrs={"placeholder": f"{NAME} (packaged)"}),
            "precision": Select(choices=[(each, each) for each in PRECISIONS]),
            "chunk_tokens": NumberInput(),
            "chunk_overlap": NumberInput(),
        }
        labels = {
            "model": "Embedding model",
            "chunk_tokens": "Tokens of a chunk",
            "chunk_overlap": "Overlap of chunks",
        }
        help_texts = {
            "precision": "int8: faster and smaller. fp32: as the model was trained.",
            "chunk_overlap": "Tokens that a chunk shares with the one before, 0 to 32.",
        }


def index_form(collection: Collection) -> IndexForm:
    """Give the form with what serves now."""
    serving = collection.indexes.filter(state=IndexState.ACTIVE).first()
    return IndexForm(instance=serving or Index(), prefix=REINDEX)


def do(collection: Collection, verb: str, data: QueryDict) -> str:
    """Do what a button says, and give what is to be said about it.

    Raises:
        Refused: It cannot be done.

    """
    if verb not in SAID:
        raise Refused("There is nothing of this name to do.", status=404)
    scope, name = scope_of(collection), collection.name
    with refusals():
        if verb == REINDEX:
            library().reindex(scope, name, fields_in(data))
        elif verb == ROLLBACK:
            library().rollback(scope, name)
        elif verb == CANCEL:
            library().cancel_reindex(scope, name)
        else:
            library().discard_previous(scope, name)
    return SAID[verb]


def fields_in(data: QueryDict) -> Mapping[str, Any]:
    """Read what another index is to be like.

    Raises:
        Refused: Some of it cannot be.

    """
    form = IndexForm(data, prefix=REINDEX)
    if form.is_valid():
        return form.cleaned_data
    name, errors = next(iter(form.errors.items()))
    label = form.fields[name].label if name in form.fields else ""
    raise Refused(f"{label}: {' '.join(map(str, errors))}".strip(": "), status=400)
