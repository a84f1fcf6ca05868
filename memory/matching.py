"""Where the end of a client's history lies among the stored turns (pure)."""

from __future__ import annotations

from collections.abc import Sequence

from memory.turns import ASSISTANT, USER, Said, StoredTurn, has_calls

# Longer runs are not told apart: it keeps the comparison of repetitive histories short.
LONGEST_RUN = 100
# A shorter run that is not the whole history may be coincidence.
SURE_RUN = 4


def is_said(turn: StoredTurn, said: Said) -> bool:
    """Say whether a stored turn is this very message, but for spacing."""
    return turn.content_hash == said.content_hash


def end_of(stored: Sequence[StoredTurn], history: Sequence[Said]) -> int | None:
    """Find the turn after the longest run of the history's end, the latest of equals.

    None when no run is sure: what follows it would be left behind. A sure run holds a
    user's and an assistant's words (a fixed greeting does not), and is the whole
    history, or long, or at the end of what is stored.
    """
    best, best_length = 0, 0
    for end in range(len(stored), 0, -1):
        length = _run_length(stored, end, history)
        if length > best_length:
            best, best_length = end, length
    if best_length < min(len(history), SURE_RUN) and best < len(stored):
        return None
    run = zip(
        history[len(history) - best_length :],
        stored[best - best_length : best],
        strict=True,
    )
    roles = {said.role for said, turn in run if is_said(turn, said)}
    return best if {USER, ASSISTANT} <= roles else None


def _run_length(stored: Sequence[StoredTurn], end: int, history: Sequence[Said]) -> int:
    """Count how many turns before `end` are the last of the history."""
    length, most = 0, min(end, len(history), LONGEST_RUN)
    while length < most and _is_at(stored, end - 1 - length, history, -1 - length):
        length += 1
    return length


def _is_at(
    stored: Sequence[StoredTurn], index: int, history: Sequence[Said], back: int
) -> bool:
    """Say whether a turn is the history's message, counted from its end.

    An assistant's words may differ after the same user message: clients trim and
    decorate answers.
    """
    turn, said = stored[index], history[back]
    if is_said(turn, said):
        return True
    if turn.role != ASSISTANT or said.role != ASSISTANT or has_calls(turn.text):
        return False
    if index == 0 or -back == len(history):
        return False
    asked = history[back - 1]
    return asked.role == USER and is_said(stored[index - 1], asked)
