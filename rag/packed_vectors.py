"""Vectors as rows keep them: 16-bit little-endian floats, half the size and as good."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from rag.embedder import Vectors

STORED = np.dtype("<f2")


def pack(vector: Vectors) -> bytes:
    """Give a vector as its row keeps it."""
    return vector.astype(STORED).tobytes()


def unpack(rows: Sequence[bytes | memoryview]) -> Vectors:
    """Give the vectors of rows of one embedding, one row each; at least one."""
    joined = b"".join(rows)
    return np.frombuffer(joined, STORED).reshape(len(rows), -1).astype(np.float32)
