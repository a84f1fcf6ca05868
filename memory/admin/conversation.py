"""A session's turns as its page shows them: some at a time, read only."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from django.db.models import QuerySet
from django.db.models.functions import Left, Length
from django.http import HttpRequest

from memory.models import EmbeddingState, Session, Turn

PAGE_TURNS = 50
MAX_SHOWN_CHARS = 10_000  # of one turn; the export has all of it
READ = "memory.view_turn"


@dataclass(frozen=True, slots=True)
class ShownTurn:
    """One turn; `marks` are words that set it apart, `cut_chars` what is not shown."""

    row: Turn
    text: str
    cut_chars: int
    marks: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Conversation:
    """A page of turns in order; `said` is what was looked for, empty for nothing.

    `page` counts from 1 to `pages`; where something was looked for there is one.
    """

    turns: tuple[ShownTurn, ...]
    page: int
    pages: int
    said: str
    is_cut: bool = False

    @property
    def previous(self) -> int:
        """The page before; 0 for none."""
        return self.page - 1

    @property
    def next(self) -> int:
        """The page after; 0 for none."""
        return self.page + 1 if self.page < self.pages else 0


def may_read(request: HttpRequest) -> bool:
    """Say whether the user may read what was said."""
    return request.user.has_perm(READ)


def conversation(request: HttpRequest, session: Session) -> Conversation:
    """Give the page that the URL asks for, the newest by default."""
    said = request.GET.get("said", "").strip()
    turns = session.turns.order_by("seq")
    if said:
        found = shown(turns.filter(text__icontains=said)[: PAGE_TURNS + 1])
        is_cut = len(found) > PAGE_TURNS
        return Conversation(found[:PAGE_TURNS], 1, 1, said, is_cut=is_cut)
    pages = max(1, -(-session.last_seq // PAGE_TURNS))
    page = asked_page(request.GET.get("turns", ""), pages)
    # By number, not by offset: the last page is as near as the first.
    first = (page - 1) * PAGE_TURNS + 1
    return Conversation(
        shown(turns.filter(seq__gte=first, seq__lt=first + PAGE_TURNS)), page, pages, ""
    )


def asked_page(asked: str, pages: int) -> int:
    """Read the number of a page; the last for what is none."""
    if not asked.isascii() or not asked.isdigit():
        return pages
    return min(max(int(asked[:9]), 1), pages)


def shown(turns: QuerySet[Turn]) -> tuple[ShownTurn, ...]:
    """Read turns, their texts no longer than a page can bear."""
    rows = turns.defer("text").annotate(
        start=Left("text", MAX_SHOWN_CHARS), chars=Length("text")
    )
    return tuple(
        ShownTurn(
            row=row,
            text=row.start,
            cut_chars=max(0, row.chars - MAX_SHOWN_CHARS),
            marks=tuple(marks_of(row)),
        )
        for row in rows
    )


def marks_of(row: Turn) -> Iterator[str]:
    """Say what is special about a turn."""
    if row.is_superseded:
        yield "superseded"
    if row.is_partial:
        yield "partial"
    if row.embedding_state == EmbeddingState.PENDING:
        yield "waits for its vector"
    if row.embedding_state == EmbeddingState.FAILED:
        yield "cannot be embedded"
