"""Which sessions a summary is due for, of what, and where it is kept."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

from django.db import transaction
from django.db.models import Count, F, OuterRef, Q, QuerySet, Subquery, Sum, Value
from django.db.models.functions import Coalesce, Left

from memory.config import Policy
from memory.models import Session, Turn
from memory.store import living
from memory.summary_prompt import MAX_TURN_CHARS, chosen
from memory.turns import StoredTurn

# A summary is due when more than either waits before the recent turns.
WAITING_TURNS = 40
WAITING_TOKENS = 4_000
LOADED_TURNS = 400  # of one session
USABLE = Q(is_superseded=False, is_partial=False)


def is_due(turns: int, tokens: int) -> bool:
    """Say whether enough waits before the recent turns."""
    return turns > WAITING_TURNS or tokens > WAITING_TOKENS


def open_sessions(
    now: datetime, *, tried_before: datetime, after: int
) -> QuerySet[Session]:
    """Give sessions by row id with turns to summarise, from the one after `after`.

    Each has the model that answered last as `answered_by`. None that has ended, whose
    tenant is disabled, or whose last summary failed since `tried_before`.
    """
    answers = Turn.objects.filter(session=OuterRef("pk")).exclude(model="")
    newest = Subquery(answers.order_by("-seq").values("model")[:1])
    is_untried = Q(summary_tried_at=None) | Q(summary_tried_at__lte=tried_before)
    return (
        Session.objects.filter(living(now), is_untried, tenant__enabled=True)
        .filter(pk__gt=after, last_seq__gt=F("summary_upto"))
        .annotate(answered_by=Coalesce(newest, Value("")))
        .order_by("pk")
    )


def waiting_in(sessions: Iterable[Session]) -> dict[int, tuple[int, int]]:
    """Count the turns that no summary has, and their tokens, by session."""
    pks = [session.pk for session in sessions]
    if not pks:
        return {}
    rows = Turn.objects.filter(USABLE, session__in=pks).order_by()
    counts = rows.filter(seq__gt=F("session__summary_upto")).values_list("session")
    found = counts.annotate(turns=Count("pk"), cost=Sum("tokens"))
    return {session: (turns, cost) for session, turns, cost in found}


def due_turns(session: Session, policy: Policy) -> list[StoredTurn]:
    """Give the turns that the next summary takes in; empty if it is not due."""
    rows = session.turns.filter(USABLE, seq__gt=session.summary_upto).order_by("seq")
    loaded = rows.defer("text").annotate(start=Left("text", MAX_TURN_CHARS))
    turns = list(loaded[: LOADED_TURNS + policy.recent_turns])
    # Where there are more than are loaded, these are not the recent ones: no harm.
    older = turns[: max(0, len(turns) - policy.recent_turns)]
    if not is_due(len(older), sum(turn.tokens for turn in older)):
        return []
    return chosen([stored(turn, turn.start) for turn in older])


def stored(turn: Turn, text: str) -> StoredTurn:
    """Give a row as a value, with the text that was read of it."""
    return StoredTurn(
        uid=turn.uid,
        seq=turn.seq,
        role=turn.role,
        text=text,
        content_hash=turn.content_hash,
        tokens=turn.tokens,
        created_s=turn.created_at.timestamp(),
    )


def keep(session: Session, turns: Sequence[StoredTurn], summary: str) -> bool:
    """Store a summary of these turns and all before.

    False, and nothing is stored, if meanwhile the session went, had another summary, or
    one of the turns was left behind.
    """
    with transaction.atomic():
        rows = Session.objects.select_for_update()
        current = rows.filter(pk=session.pk, summary_upto=session.summary_upto).first()
        seqs = [turn.seq for turn in turns]
        usable = Turn.objects.filter(USABLE, session=session.pk, seq__in=seqs)
        if current is None or usable.count() < len(seqs):
            return False
        current.summary, current.summary_upto = summary, seqs[-1]
        current.summary_tried_at = None
        current.save(update_fields=["summary", "summary_upto", "summary_tried_at"])
    return True
