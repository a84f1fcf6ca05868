"""The vectors of one session in memory, a row for each of its turns (no I/O)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from rag.embedder import Vectors

Flags = npt.NDArray[np.bool_]
Positions = npt.NDArray[np.int64]
Similarities = npt.NDArray[np.float64]

SMALLEST = 64  # rows there is room for at first


class VectorMatrix:
    """Unit vectors of one embedding id; a row of NaN where a turn has none.

    Room doubles when it is used up, so that appending stays cheap.
    """

    def __init__(self, dimension: int) -> None:
        """Begin without rows."""
        self._rows = np.empty((0, dimension), np.float32)
        self._may_come = np.empty(0, np.bool_)
        self._count = 0

    def __len__(self) -> int:
        """Count the rows, empty ones too."""
        return self._count

    @property
    def nbytes(self) -> int:
        """What the room takes."""
        return self._rows.nbytes + self._may_come.nbytes

    def grow(self, count: int) -> None:
        """Have at least so many rows; new ones are empty, and may still come."""
        if count > len(self._rows):
            room = max(count, 2 * len(self._rows), SMALLEST)
            rows = np.full((room, self._rows.shape[1]), np.nan, np.float32)
            rows[: self._count] = self._rows[: self._count]
            may_come = np.ones(room, np.bool_)
            may_come[: self._count] = self._may_come[: self._count]
            self._rows, self._may_come = rows, may_come
        self._count = max(count, self._count)

    def put(self, positions: list[int], vectors: Vectors) -> None:
        """Fill rows; vectors of another dimension are passed over."""
        if vectors.shape[1] == self._rows.shape[1]:
            self._rows[positions] = vectors
            self._may_come[positions] = False

    def give_up(self, position: int) -> None:
        """Expect no vector for a row."""
        self._may_come[position] = False

    def lacking(self) -> Positions:
        """Give the empty rows that may still be filled, in order."""
        return np.flatnonzero(self._may_come[: self._count])

    def similarities(self, vector: Vectors) -> Similarities:
        """Give each row's cosine with a unit vector, NaN for an empty row."""
        with np.errstate(invalid="ignore"):  # that is what NaN is there for
            return (self._rows[: self._count] @ vector).astype(np.float64)
