"""The rolling summary of long sessions: made in the background, within its own budget."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any, Protocol

from memory.config import Policy
from memory.models import Session
from memory.stored_policies import StoredPolicies, read_policies
from memory.summary_budget import SummaryBudget
from memory.summary_prompt import MAX_SUMMARY_TOKENS, cost_of, prompt, summary_in
from memory.summary_rows import due_turns, is_due, keep, open_sessions, waiting_in
from memory.turns import StoredTurn

logger = logging.getLogger(__name__)

# A session whose summary failed waits so long, and twice as long each time after.
RETRY_AFTER = timedelta(minutes=15)
MAX_RETRY_AFTER = timedelta(days=1)
MAX_DOUBLINGS = 10
# What one call of `advance` does at most.
LOOKED_AT = 200  # sessions
ASKED_AT_ONCE = 4  # summaries


class Summarise(Protocol):
    """Asks a model by its name, on behalf of a tenant, and gives the answer's text.

    Blocking, with a deadline of its own. Whatever it raises counts as a failure.
    """

    def __call__(
        self,
        model: str,
        prompt_messages: list[dict[str, str]],
        *,
        max_tokens: int,
        tenant_id: int,
    ) -> str:
        """Ask once."""


class Summaries:
    """Goes round the sessions and keeps their summaries; for one thread."""

    def __init__(self, summarise: Summarise) -> None:
        """`summarise` asks the model."""
        self._summarise = summarise
        self._budget = SummaryBudget()
        self._after = 0  # the row id of the session that was looked at last
        self._failures: dict[int, int] = {}

    def advance(self, now: datetime) -> int:
        """Look at the next sessions and ask for what is due; gives how many were made.

        A model that fails is not asked again in this call.

        Raises:
            django.db.Error: The database is away.

        """
        policies = read_policies()
        if not policies.policies.wants_summaries:
            return 0
        made, asked = 0, 0
        silent: set[str] = set()
        for session, policy in self._candidates(policies, now):
            if asked == ASKED_AT_ONCE:
                break
            self._after = session.pk
            model = policy.summary_model
            if model in silent or self._waits(session, now):
                continue
            turns = due_turns(session, policy)
            messages = self._affordable(session, turns, now)
            if not messages:
                continue
            asked += 1
            summary = self._ask(session, model, messages)
            if summary:
                made += keep(session, turns, summary)
                self._failures.pop(session.pk, None)
            else:
                silent.add(model)
                self._note_failure(session, now)
        return made

    def _affordable(
        self, session: Session, turns: Sequence[StoredTurn], now: datetime
    ) -> list[dict[str, str]]:
        """Give what to ask for, and spend it; empty if nothing is due or affordable."""
        if not turns:
            return []
        messages = prompt(turns, former=session.summary, delimiter=secrets.token_hex(6))
        is_taken = self._budget.take(session.tenant_id, cost_of(messages), now=now)
        return messages if is_taken else []

    def _candidates(
        self, policies: StoredPolicies, now: datetime
    ) -> Iterator[tuple[Session, Policy]]:
        """Give the next sessions that may be due, by row id, beginning anew at the end."""
        sessions: list[Any] = list(
            open_sessions(now, tried_before=now - RETRY_AFTER, after=self._after)[
                :LOOKED_AT
            ]
        )
        wanted = [
            (session, policy)
            for session in sessions
            for policy in [policies.of_session(session, model=session.answered_by)]
            if policy.is_enabled and policy.summary_model
        ]
        waiting = waiting_in([session for session, _ in wanted])
        for session, policy in wanted:
            turns, tokens = waiting.get(session.pk, (0, 0))
            if is_due(turns - policy.recent_turns, tokens):
                yield session, policy
        # Only here, when all of them were looked at.
        self._after = sessions[-1].pk if len(sessions) == LOOKED_AT else 0

    def _ask(self, session: Session, model: str, messages: list[dict[str, str]]) -> str:
        """Give the model's summary, empty if it failed."""
        try:
            answer = self._summarise(
                model,
                messages,
                max_tokens=MAX_SUMMARY_TOKENS,
                tenant_id=session.tenant_id,
            )
        except Exception as error:  # noqa: BLE001 - an edge: what is injected may raise anything
            reason = type(error).__name__  # its words might quote what was said
        else:
            if summary := summary_in(answer):
                return summary
            reason = f"the answer of {len(answer)} characters is empty or too long"
        logger.warning(
            "no summary: the former one is kept",
            extra={"session": session.pk, "model": model, "reason": reason},
        )
        return ""

    def _waits(self, session: Session, now: datetime) -> bool:
        """Say whether it is too soon after a failure."""
        if session.summary_tried_at is None:
            return False
        again = min(self._failures.get(session.pk, 1), MAX_DOUBLINGS) - 1
        wait = min(RETRY_AFTER * (1 << again), MAX_RETRY_AFTER)
        return now < session.summary_tried_at + wait

    def _note_failure(self, session: Session, now: datetime) -> None:
        self._failures[session.pk] = self._failures.get(session.pk, 0) + 1
        Session.objects.filter(pk=session.pk).update(summary_tried_at=now)
