"""The box that questions are tried in: what a chat would be given, and why."""

from __future__ import annotations

import time
from dataclasses import dataclass
from urllib.parse import urlencode

from django import forms
from django.urls import reverse

from rag.admin.service import library, refusals, scope_of
from rag.admin.theme import NumberInput, TextInput
from rag.choosing import choose
from rag.fusion import Hit
from rag.models import Collection, Document
from rag.questions import RetrievalRequest, RetrievalStatus, Retrieved

LIMIT_S = 20.0  # the embedder may have to be loaded first
MAX_QUESTION_CHARS = 2_000
MAX_HITS = 20
SAID = {
    RetrievalStatus.HIT: "",
    RetrievalStatus.MISS: "Nothing was found.",
    RetrievalStatus.DEGRADED: "The search was not complete.",
    RetrievalStatus.OFF: "Nothing was searched.",
}


class TryForm(forms.Form):
    """A question, and how many passages are wanted."""

    question = forms.CharField(
        max_length=MAX_QUESTION_CHARS,
        widget=TextInput(attrs={"placeholder": "A question, as a user would ask it"}),
        error_messages={"required": "Type a question first."},
    )
    how_many = forms.IntegerField(
        label="Passages",
        min_value=1,
        max_value=MAX_HITS,
        widget=NumberInput(attrs={"class": "rag-number"}),
    )


@dataclass(frozen=True, slots=True)
class ShownHit:
    """A hit; `parts` are what its score is made of, each 0 to 1; `url` shows it in place."""

    number: int
    hit: Hit
    score: str
    parts: tuple[tuple[str, str], ...]
    url: str


@dataclass(frozen=True, slots=True)
class Trial:
    """What a question found; `said` sums it up in a sentence or two, `took_ms` in all."""

    question: str
    hits: tuple[ShownHit, ...]
    said: str
    took_ms: int


def try_form(collection: Collection) -> TryForm:
    """Give the form as it stands on the page."""
    return TryForm(initial={"how_many": collection.top_k})


def ask(collection: Collection, question: str, how_many: int) -> Trial:
    """Ask a collection as a chat does, but that nobody reranks what was found.

    Raises:
        Refused: It is gone.

    """
    began_s = time.monotonic()
    request = RetrievalRequest(
        scope=scope_of(collection),
        collections=(collection.name,),
        query=question,
        top_k=how_many,
    )
    with refusals():
        found = library().candidates(request, until_s=began_s + LIMIT_S)
    retrieved = choose(found, None)
    return Trial(
        question=question,
        hits=shown_hits(collection, retrieved.hits),
        said=sum_up(retrieved),
        took_ms=round(1000 * (time.monotonic() - began_s)),
    )


def sum_up(retrieved: Retrieved) -> str:
    """Say how the question ended; empty where the hits say it all."""
    return " ".join(filter(None, (SAID[retrieved.status], retrieved.problem)))


def shown_hits(collection: Collection, hits: tuple[Hit, ...]) -> tuple[ShownHit, ...]:
    """Give hits with the way to their documents."""
    uids = {hit.document_id for hit in hits}
    mine = Document.objects.filter(collection=collection, uid__in=uids)
    pks = dict(mine.values_list("uid", "pk"))
    return tuple(
        ShownHit(
            number=number,
            hit=hit,
            score=f"{hit.score:.2f}",
            parts=tuple((name, f"{part:.2f}") for name, part in hit.parts.items()),
            url=place_url(pks.get(hit.document_id), hit.start, hit.end),
        )
        for number, hit in enumerate(hits, 1)
    )


def place_url(pk: int | None, start: int, end: int) -> str:
    """Give where a document's page shows a part of its text; empty without one."""
    if pk is None:  # deleted since
        return ""
    page = reverse("admin:rag_document_change", args=[pk])
    return f"{page}?{urlencode({'from': start, 'to': end})}#text"
