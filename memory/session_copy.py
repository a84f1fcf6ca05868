"""One session's turns in memory: texts, keyword index and vectors, kept up to date."""

from __future__ import annotations

import threading
import time
from array import array
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from django.db.models import QuerySet

from memory.matrix import Flags, Similarities, VectorMatrix
from memory.models import EmbeddingState, Session, Turn
from memory.ranking import TurnIndex
from memory.store import COLUMNS, TAIL_TURNS, stored_turn
from memory.turns import StoredTurn, unit_of
from rag.embedder import EmbeddingId, Vectors
from rag.packed_vectors import unpack

CHUNK_TURNS = 2_000
TURN_BYTES = 900  # what a turn takes beside its text, its keywords and its vector
VECTOR_COLUMNS = ("seq", "embedding_state", "vector__embedding", "vector__data")


class OutOfTime(Exception):
    """The deadline came first. What was read is kept, and the next call goes on."""


class SessionGone(Exception):
    """The session was deleted while it was read."""


class SessionCopy:
    """The turns of a session that were not superseded when they were read, in order.

    Every method is called with `lock` held. Positions count from 0 and stay.
    """

    def __init__(self, session_pk: int) -> None:
        """Begin empty; `refresh` reads."""
        self.lock = threading.Lock()
        self.turns = list[StoredTurn]()
        self.keywords = TurnIndex()
        self._session_pk = session_pk
        self._version = -1  # of the session when everything was read; -1: not yet
        self._position_of_seq = dict[int, int]()
        self._seqs = array("q")
        self._position_of_uid = dict[str, int]()
        self._is_live = bytearray()  # 0: superseded since it was read
        self._is_usable = bytearray()  # 0: superseded or partial
        self._matrix: VectorMatrix | None = None
        self._embedding: EmbeddingId | None = None
        self._vectors_at: int | None = None  # version at which all were asked for
        self._text_bytes = 0

    @property
    def nbytes(self) -> int:
        """About what the copy takes."""
        matrix = self._matrix.nbytes if self._matrix else 0
        turns = TURN_BYTES * len(self.turns) + self._text_bytes
        return turns + self.keywords.nbytes + matrix

    @property
    def usable(self) -> Flags:
        """Say of each turn whether it may be recalled."""
        return np.frombuffer(bytes(self._is_usable), np.bool_)

    def live_turns(self) -> list[StoredTurn]:
        """Give the turns that are not superseded, partial ones too."""
        if all(self._is_live):
            return list(self.turns)
        flags = zip(self.turns, self._is_live, strict=True)
        return [turn for turn, is_live in flags if is_live]

    def refresh(self, session: Session, *, until_s: float) -> None:
        """Read what came since the last time; `until_s` is on the monotonic clock.

        Raises:
            OutOfTime: There is more to read.
            SessionGone: The session is not there any more.

        """
        if self._version == session.version:
            return
        before = len(self.turns)
        is_at_once = self._read_turns(until_s)
        if before or not is_at_once:
            self._drop_superseded(before)
        self._version = session.version

    def dense(
        self, vector: Vectors, embedding: EmbeddingId, *, until_s: float
    ) -> Similarities:
        """Give each turn's cosine with a unit vector, NaN for a turn that has none.

        Vectors that are still to be read from the database are, the newest first, until
        the time is over.
        """
        if self._matrix is None or self._embedding != embedding:
            self._matrix = VectorMatrix(embedding.dimension)
            self._embedding, self._vectors_at = embedding, None
        self._matrix.grow(len(self.turns))
        if self._vectors_at != self._version:
            self._read_vectors(self._matrix, str(embedding), until_s)
        return self._matrix.similarities(vector)

    def scattered(self, found: Sequence[tuple[str, float]]) -> Similarities:
        """Give what a vector store found as `dense` does: NaN for the others."""
        scores = np.full(len(self.turns), np.nan)
        for uid, similarity in found:
            if (position := self._position_of_uid.get(uid)) is not None:
                scores[position] = similarity
        return scores

    def mask_of(self, turns: Iterable[StoredTurn]) -> Flags:
        """Give flags that are set at the positions of these turns, where they are here."""
        mask = np.zeros(len(self.turns), np.bool_)
        wanted = np.array([turn.seq for turn in turns], np.int64)
        seqs = np.frombuffer(self._seqs.tobytes(), np.int64)
        positions = np.searchsorted(seqs, wanted)
        is_here = positions < len(seqs)
        is_here[is_here] = seqs[positions[is_here]] == wanted[is_here]
        mask[positions[is_here]] = True
        return mask

    def _read_turns(self, until_s: float) -> bool:
        """Read what is newer than what is here; True when one query gave everything."""
        is_first = True
        while rows := self._newer_rows():
            for row in rows:
                self._append(stored_turn(row))
            self.keywords.extend(unit_of(row[2], row[3]) for row in rows)
            if len(rows) < CHUNK_TURNS:
                return is_first
            is_first = False
            if time.monotonic() >= until_s:
                self._version = -1
                raise OutOfTime
        return is_first

    def _newer_rows(self) -> list[tuple[Any, ...]]:
        last = self.turns[-1].seq if self.turns else 0
        rows = self._rows().filter(seq__gt=last, is_superseded=False)
        return list(rows.values_list(*COLUMNS)[:CHUNK_TURNS])

    def _rows(self) -> QuerySet[Turn]:
        return Turn.objects.filter(session_id=self._session_pk).order_by("seq")

    def _append(self, turn: StoredTurn) -> None:
        position = len(self.turns)
        self.turns.append(turn)
        self._position_of_seq[turn.seq] = position
        self._seqs.append(turn.seq)
        self._position_of_uid[turn.uid] = position
        self._is_live.append(1)
        self._is_usable.append(not turn.is_partial)
        self._text_bytes += len(turn.text)

    def _drop_superseded(self, before: int) -> None:
        """Mark what was superseded since; `before` counts the turns there were then.

        A write supersedes within the newest TAIL_TURNS only, and each one raises the
        version: so many times that number of turns before those just read are looked at.
        The version is read after the turns and before the flags, so that no write can
        come between unseen.
        """
        sessions = Session.objects.filter(pk=self._session_pk)
        version = sessions.values_list("version", flat=True).first()
        if version is None:
            raise SessionGone
        flagged = self._rows().filter(is_superseded=True)
        if self._version >= 0:
            live = [at for at in range(before) if self._is_live[at]]
            reach = TAIL_TURNS * (version - self._version)
            if reach < len(live):
                flagged = flagged.filter(seq__gte=self.turns[live[-reach]].seq)
        for seq in flagged.values_list("seq", flat=True):
            if (position := self._position_of_seq.get(seq)) is not None:
                self._is_live[position] = self._is_usable[position] = 0

    def _read_vectors(
        self, matrix: VectorMatrix, embedding: str, until_s: float
    ) -> None:
        lacking = matrix.lacking()
        while len(lacking):
            some, lacking = lacking[-CHUNK_TURNS:], lacking[:-CHUNK_TURNS]
            first, last = self.turns[some[0]].seq, self.turns[some[-1]].seq
            rows = self._rows().filter(seq__gte=first, seq__lte=last)
            self._fill(matrix, embedding, list(rows.values_list(*VECTOR_COLUMNS)))
            if len(lacking) and time.monotonic() >= until_s:
                return
        self._vectors_at = self._version

    def _fill(
        self, matrix: VectorMatrix, embedding: str, rows: Sequence[tuple[Any, ...]]
    ) -> None:
        positions, data = list[int](), list[bytes]()
        for seq, state, made_by, vector in rows:
            position = self._position_of_seq.get(seq)
            if position is None:
                continue
            if made_by == embedding:
                positions.append(position)
                data.append(vector)
            elif state == EmbeddingState.FAILED:
                matrix.give_up(position)
        if data:
            matrix.put(positions, unpack(data))
