"""How a request's messages lie on the stored turns, and what is to be written (pure).

A client either sends only its new message, or the history as well (all of it, or the end
of it). Where it can be read in two ways, the reading is taken that loses nothing: turns are
left behind only on a run of messages that holds both a user's and an assistant's words.
"""

from __future__ import annotations

import itertools
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from memory.matching import end_of, is_said
from memory.turns import ASSISTANT, USER, Said, StoredTurn, has_calls
from rag.terms import word_count

# Of a history that was never seen before, the end is enough.
MOST_NEW = 50
# So many known messages in a row are the session's own; fewer may be coincidence.
KNOWN_STRETCH = 3
# A question shorter than this is searched for together with the one before it.
SHORT_QUESTION_WORDS = 5


@dataclass(frozen=True, slots=True)
class Alignment:
    """How a request's messages lie on the stored turns of its session.

    `question` is the last user message, None when there is none. `is_client_managed`: the
    client sent messages before it. `question_seq` is the stored turn that is this very
    question: a retry, a later round of a tool loop, or an answer that is asked for again.
    Stored turns up to `last_before` (0: none) stand before the question; of them `sent`,
    by content hash, were sent by the client as well. `asked_before` is the user message
    before the question, empty for none. `new` are the messages that are not stored, in
    order, and `supersede` the seqs of stored turns that the request leaves behind.
    """

    question: Said | None
    is_client_managed: bool
    question_seq: int | None
    last_before: int
    sent: frozenset[str]
    asked_before: str
    new: tuple[Said, ...]
    supersede: frozenset[int]

    @property
    def query(self) -> str:
        """Give what to search for; a short question needs the one before it."""
        asked = self.question.text if self.question else ""
        if self.asked_before and word_count(asked) < SHORT_QUESTION_WORDS:
            return f"{self.asked_before}\n{asked}"
        return asked


@dataclass(frozen=True, slots=True)
class WritePlan:
    """What to do to a session: flag `supersede`, by seq, then append `new` in order.

    `has_answer`: the last of `new` is the answer to the request.
    """

    new: tuple[Said, ...]
    has_answer: bool
    supersede: frozenset[int]


@dataclass(frozen=True, slots=True)
class _Request:
    """A request's messages: before the question, the question, after it."""

    history: Sequence[Said]
    question: Said | None
    rounds: Sequence[Said]


@dataclass(frozen=True, slots=True)
class _Place:
    """Where the question lies: after `kept` turns, and there is it when it is stored."""

    kept: int
    is_stored: bool = False
    is_sure: bool = False


def align(
    stored: Sequence[StoredTurn],
    incoming: Sequence[Said],
    *,
    request_id: str,
    is_retry: bool,
    known: Collection[str] = frozenset(),
) -> Alignment:
    """Lay a request on the turns of its session that are not superseded, in order.

    The last few hundred turns are enough; `known` are content hashes of earlier ones.
    """
    request = _divided(incoming)
    place = _placed(stored, request, request_id=request_id, is_retry=is_retry)
    rest, left = _followed(stored, place, request)
    before = stored[: place.kept]
    return Alignment(
        question=request.question,
        is_client_managed=bool(request.history),
        question_seq=stored[place.kept].seq if place.is_stored else None,
        last_before=_seq_before(stored, place.kept),
        sent=frozenset(said.content_hash for said in request.history),
        asked_before=_asked(request.history) if request.history else _asked(before),
        new=_unstored(stored, request.history, place, known=known) + rest,
        supersede=frozenset(turn.seq for turn in left),
    )


def plan(
    stored: Sequence[StoredTurn],
    incoming: Sequence[Said],
    answer: Said | None,
    *,
    request_id: str,
    is_retry: bool,
    is_partial: bool = False,
    known: Collection[str] = frozenset(),
) -> WritePlan:
    """Say what to write of a finished request; see `align` for `stored` and `known`.

    An answer that is missing or partial replaces no complete one.
    """
    request = _divided(incoming)
    place = _placed(stored, request, request_id=request_id, is_retry=is_retry)
    rest, left = _followed(stored, place, request)
    history = _unstored(stored, request.history, place, known=known)
    behind = left
    if place.is_stored and not rest:
        if answer is None or (is_partial and _is_answered(left)):
            return WritePlan(history, has_answer=False, supersede=frozenset())
        if not is_partial and _begins_with(left, answer):
            answer, behind = None, left[1:]
    return WritePlan(
        new=history + rest + ((answer,) if answer else ()),
        has_answer=answer is not None,
        supersede=frozenset(turn.seq for turn in behind),
    )


def _divided(incoming: Sequence[Said]) -> _Request:
    for index in range(len(incoming) - 1, -1, -1):
        if incoming[index].role == USER:
            return _Request(incoming[:index], incoming[index], incoming[index + 1 :])
    return _Request(incoming, None, ())


def _placed(
    stored: Sequence[StoredTurn],
    request: _Request,
    *,
    request_id: str,
    is_retry: bool,
) -> _Place:
    """Find the question among the stored turns, or where it belongs."""
    question, end = request.question, end_of(stored, request.history)
    if end is not None:
        is_stored = question is not None and _begins_with(
            stored[end : end + 1], question
        )
        return _Place(end, is_stored=is_stored, is_sure=True)
    last = _last_user(stored)
    if question is None or last is None or not is_said(stored[last], question):
        return _Place(len(stored))
    is_same_request = is_retry or request_id == stored[last].request_id != ""
    if is_same_request or request.rounds or not _is_answered(stored[last + 1 :]):
        return _Place(last, is_stored=True)
    return _Place(len(stored))


def _followed(
    stored: Sequence[StoredTurn], place: _Place, request: _Request
) -> tuple[tuple[Said, ...], Sequence[StoredTurn]]:
    """Give what of the question and its rounds is new, and the stored turns left."""
    if not place.is_stored:
        asked = () if request.question is None else (request.question,)
        return asked + tuple(request.rounds), stored[place.kept :]
    later, same = stored[place.kept + 1 :], 0
    for turn, said in zip(later, request.rounds, strict=False):
        if not is_said(turn, said):
            break
        same += 1
    return tuple(request.rounds[same:]), later[same:]


def _unstored(
    stored: Sequence[StoredTurn],
    history: Sequence[Said],
    place: _Place,
    *,
    known: Collection[str],
) -> tuple[Said, ...]:
    """Give the messages of a history that the session lacks, at most the last 50.

    What stands before a known stretch is not new: it is old, or was cut off before, and
    could not be put in its place. A question that is stored came with its history.
    """
    if place.is_stored or place.is_sure:
        return ()
    hashes = {turn.content_hash for turn in stored}
    answered = {
        turn.content_hash
        for turn, following in itertools.pairwise(stored)
        if turn.role == USER and following.role == ASSISTANT
    }
    new: list[Said] = []
    stretch, asked = 0, ""
    for said in history:
        is_rewritten = said.role == ASSISTANT and asked in answered
        is_known = (
            is_rewritten or said.content_hash in hashes or said.content_hash in known
        )
        stretch, asked = stretch + 1 if is_known else 0, said.content_hash
        if not is_known:
            new.append(said)
        elif stretch >= KNOWN_STRETCH:
            new.clear()
    return tuple(new[-MOST_NEW:])


def _begins_with(turns: Sequence[StoredTurn], said: Said) -> bool:
    return bool(turns) and not turns[0].is_partial and is_said(turns[0], said)


def _is_answered(turns: Sequence[StoredTurn]) -> bool:
    return any(
        turn.role == ASSISTANT and not turn.is_partial and not has_calls(turn.text)
        for turn in turns
    )


def _last_user(stored: Sequence[StoredTurn]) -> int | None:
    for index in range(len(stored) - 1, -1, -1):
        if stored[index].role == USER:
            return index
    return None


def _seq_before(stored: Sequence[StoredTurn], kept: int) -> int:
    if kept:
        return stored[kept - 1].seq
    # Of a long session only the end is at hand.
    return stored[0].seq - 1 if stored else 0


def _asked(before: Sequence[Said | StoredTurn]) -> str:
    for message in reversed(before):
        if message.role == USER:
            return message.text
    return ""
