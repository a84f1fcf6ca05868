"""What a session knows that helps with a request: read, ranked, cut, woven in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from memory import store
from memory.alignment import Alignment, align
from memory.config import Policy
from memory.exchange import RecallRequest, RecallStatus, Recollection
from memory.models import Session
from memory.search import SessionSearch, score
from memory.session_copy import OutOfTime, SessionGone
from memory.settings_field import read_settings
from memory.turns import StoredTurn, said_in
from memory.weaving import weave
from memory.window import (
    Budget,
    budget_of,
    summary_tokens,
    tokens_added,
    window_of,
    within_budget,
)
from rag.fencing import delimiter_of

OFF = Recollection(RecallStatus.OFF)
MISS = Recollection(RecallStatus.MISS)
# Best turns that are offered for each that is wanted: some are too long for the budget.
OFFERED = 4
# Newest turns that are looked at for each that the window may hold: tool turns lie between.
WINDOW_REACH = 20


@dataclass(frozen=True, slots=True)
class Material:
    """What there is to choose from, and what was chosen of it so far.

    `candidates` are the turns before the question that the client did not send; `window`
    those given verbatim, `older` the others. `left_tokens` remain for recalled ones.
    """

    session: Session
    aligned: Alignment
    candidates: Sequence[StoredTurn]
    window: Sequence[StoredTurn]
    older: Sequence[StoredTurn]
    summary: str
    left_tokens: int
    wanted: int
    problem: str


class Recall:
    """Answers requests, each in one call; thread-safe."""

    def __init__(self, search: SessionSearch, secret: str) -> None:
        """`secret` makes the fences that those who write turns cannot guess."""
        self._search = search
        self._secret = secret

    def recollect(self, request: RecallRequest, *, until_s: float) -> Recollection:
        """Read what helps, until a time on the monotonic clock.

        Raises:
            django.db.Error: The database is away.

        """
        if not request.policy.is_enabled:
            return OFF
        now = datetime.fromtimestamp(request.now_s, UTC)
        session = store.find_session(request.scope, request.session_id, now=now)
        if session is None:
            return MISS
        policy = read_settings(session.settings).over(request.policy)
        if not policy.is_enabled:
            return OFF
        try:
            material = self._gather(request, session, policy, until_s=until_s)
            return self._answer(request, material, until_s=until_s)
        except SessionGone:
            return MISS

    def _gather(
        self,
        request: RecallRequest,
        session: Session,
        policy: Policy,
        *,
        until_s: float,
    ) -> Material:
        problem = ""
        try:
            with self._search.reading(session, until_s=until_s) as copy:
                stored = copy.live_turns()
        except OutOfTime:
            stored = store.tail(session)
            problem = "the session could not be read in time"
        aligned = align(
            stored[-store.TAIL_TURNS :],
            said_in(request.messages),
            request_id=request.request_id,
            is_retry=request.is_retry,
        )
        last, sent = aligned.last_before, aligned.sent
        candidates = [
            turn
            for turn in stored
            if turn.seq <= last
            and not turn.is_partial
            and turn.content_hash not in sent
        ]
        budget = budget_of(policy, request.room_tokens)
        window: Sequence[StoredTurn] = ()
        if not aligned.is_client_managed:
            window = _window(candidates, policy, budget)
        given = {turn.seq for turn in window}
        older = [turn for turn in candidates if turn.seq not in given]
        left_tokens = budget.tokens - tokens_added(window, ())
        summary = session.summary if older else ""
        if summary_tokens(summary) > left_tokens:
            summary = ""
        return Material(
            session=session,
            aligned=aligned,
            candidates=candidates,
            window=window,
            older=older,
            summary=summary,
            left_tokens=left_tokens - summary_tokens(summary),
            wanted=policy.recall_turns,
            problem=problem,
        )

    def _answer(
        self, request: RecallRequest, material: Material, *, until_s: float
    ) -> Recollection:
        question = material.aligned.question
        if question is None:
            return MISS
        recalled, problem = self._recalled(material, until_s=until_s)
        summary = material.summary
        if not (recalled or material.window or summary):
            return Recollection(_status(is_hit=False, problem=problem), problem=problem)
        last = material.candidates[-1].seq if material.candidates else 0
        messages = weave(
            request.messages,
            recent=material.window,
            recalled=recalled,
            summary=summary,
            delimiter=delimiter_of(
                self._secret, str(material.session.pk), question.content_hash, str(last)
            ),
        )
        return Recollection(
            _status(is_hit=True, problem=problem),
            messages,
            has_block=bool(recalled or summary),
            recent=len(material.window),
            recalled=len(recalled),
            tokens=tokens_added(material.window, recalled, summary),
            problem=problem,
        )

    def _recalled(
        self, material: Material, *, until_s: float
    ) -> tuple[Sequence[StoredTurn], str]:
        """Choose older turns, in order; and say what kept the choice from being good."""
        is_wanted = material.older and material.wanted and material.left_tokens > 0
        if material.problem or not is_wanted:
            return (), material.problem
        try:
            return self._choose(material, until_s=until_s)
        except OutOfTime:
            return (), "the session could not be searched in time"

    def _choose(
        self, material: Material, *, until_s: float
    ) -> tuple[Sequence[StoredTurn], str]:
        session, query = material.session, material.aligned.query
        question = self._search.question(query, until_s=until_s)
        near = self._search.near(session, question, until_s=until_s)
        with self._search.reading(session, until_s=until_s) as copy:
            usable = copy.mask_of(material.candidates)
            scores = score(copy, question, near, usable=usable, until_s=until_s)
            among = copy.mask_of(material.older)
            best = [
                copy.turns[found.position]
                for found in scores.best(OFFERED * material.wanted, among=among)
                if found.score > 0
            ]
        chosen = within_budget(
            best, budget_tokens=material.left_tokens, most=material.wanted
        )
        return chosen, question.problem


def _window(
    candidates: Sequence[StoredTurn], policy: Policy, budget: Budget
) -> Sequence[StoredTurn]:
    reach = WINDOW_REACH * (policy.recent_turns + 1) + policy.recall_turns
    return window_of(candidates[-reach:], policy=policy, budget=budget)


def _status(*, is_hit: bool, problem: str) -> RecallStatus:
    if problem:
        return RecallStatus.DEGRADED
    return RecallStatus.HIT if is_hit else RecallStatus.MISS
