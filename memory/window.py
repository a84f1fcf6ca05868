"""What fits: the recent turns that are given back, and the recalled ones (pure)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from memory.config import RECENT_SHARE, Policy
from memory.turns import ASSISTANT, CHARS_PER_TOKEN, USER, StoredTurn, has_calls

# What the recalled block costs beside its turns, and a turn's date and role in it beside
# what its own estimate holds. `memory.weaving` writes the block; a test compares.
FRAME_TOKENS = 75
LABEL_TOKENS = 5
# The heading of the summary.
SUMMARY_TOKENS = 10


@dataclass(frozen=True, slots=True)
class Budget:
    """How many tokens may be added to a request, and how many of them by recent turns."""

    tokens: int
    recent_tokens: int


def budget_of(policy: Policy, room_tokens: int | None) -> Budget:
    """Give what may be added; `room_tokens` is what the context has left, None unknown."""
    room = policy.max_tokens if room_tokens is None else room_tokens
    tokens = max(0, min(policy.max_tokens, room))
    return Budget(tokens, int(tokens * RECENT_SHARE))


def recent_window(
    turns: Sequence[StoredTurn], *, most_turns: int, budget_tokens: int
) -> tuple[StoredTurn, ...]:
    """Give the newest whole exchanges that fit, in order.

    An exchange is what a user said and the assistant answered in words. Tool calls, their
    results, partial answers and unanswered questions are never given back.
    """
    chosen: list[StoredTurn] = []
    tokens = 0
    for exchange in reversed(_exchanges(turns)):
        tokens += sum(turn.tokens for turn in exchange)
        if tokens > budget_tokens or len(chosen) + len(exchange) > most_turns:
            break
        chosen[:0] = exchange
    return tuple(chosen)


def window_of(
    turns: Sequence[StoredTurn], *, policy: Policy, budget: Budget
) -> tuple[StoredTurn, ...]:
    """Give the recent window, or all exchanges of a session that is short and fits.

    Short is what the window and the recalled turns together would hold anyway.
    """
    most = policy.recent_turns + policy.recall_turns
    is_short = policy.recent_turns and len(turns) <= most
    if is_short and sum(turn.tokens for turn in turns) <= budget.tokens:
        return recent_window(turns, most_turns=most, budget_tokens=budget.tokens)
    return recent_window(
        turns, most_turns=policy.recent_turns, budget_tokens=budget.recent_tokens
    )


def within_budget(
    turns_best_first: Sequence[StoredTurn], *, budget_tokens: int, most: int
) -> tuple[StoredTurn, ...]:
    """Give the best turns that fit into the recalled block, in the order of the session.

    A turn that is too long is passed over. The block's own words are counted.
    """
    chosen: list[StoredTurn] = []
    left = budget_tokens - FRAME_TOKENS
    for turn in turns_best_first:
        cost = turn.tokens + LABEL_TOKENS
        if len(chosen) < most and cost <= left:
            chosen.append(turn)
            left -= cost
    return tuple(sorted(chosen, key=lambda turn: turn.seq))


def summary_tokens(summary: str) -> int:
    """Estimate what a summary costs in the recalled block, 0 for none."""
    return math.ceil(len(summary) / CHARS_PER_TOKEN) + SUMMARY_TOKENS if summary else 0


def tokens_added(
    recent: Sequence[StoredTurn], recalled: Sequence[StoredTurn], summary: str = ""
) -> int:
    """Estimate what all that is woven in costs."""
    block = summary_tokens(summary)
    block += sum(turn.tokens + LABEL_TOKENS for turn in recalled)
    frame = FRAME_TOKENS if block else 0
    return sum(turn.tokens for turn in recent) + block + frame


def _exchanges(turns: Sequence[StoredTurn]) -> list[list[StoredTurn]]:
    exchanges: list[list[StoredTurn]] = []
    for turn in turns:
        is_answer = turn.role == ASSISTANT and not has_calls(turn.text)
        if turn.is_partial or not (turn.role == USER or is_answer):
            continue
        is_answered = not exchanges or exchanges[-1][-1].role == ASSISTANT
        if turn.role == USER and is_answered:
            exchanges.append([turn])
        elif exchanges:
            exchanges[-1].append(turn)
    return [exchange for exchange in exchanges if exchange[-1].role == ASSISTANT]
