"""Vectors and spaces for the tests of the vector store."""

from __future__ import annotations

from itertools import count

import numpy as np

from rag.vectorstore import VectorStore, space_name

DIMENSION = 16
_numbers = count(1)


def fresh_space() -> str:
    return space_name("memory", f"test-{next(_numbers)}")


def vectors(number: int, dimension: int = DIMENSION, seed: int = 1) -> np.ndarray:
    made = np.random.default_rng(seed).normal(size=(number, dimension))
    units: np.ndarray = made / np.linalg.norm(made, axis=1, keepdims=True)
    return units.astype(np.float32)


def names(number: int, prefix: str = "id") -> list[str]:
    return [f"{prefix}-{each}" for each in range(number)]


def fill(store: VectorStore, space: str, number: int) -> np.ndarray:
    """Write vectors of ten sessions in turn; give them."""
    made = vectors(number)
    sessions = (each % 10 for each in range(number))
    scopes: list[dict[str, str | int]] = [
        {"session": s, "tenant": "t"} for s in sessions
    ]
    store.upsert(space, names(number), made, scopes)
    return made


def listed(store: VectorStore, space: str) -> list[str]:
    return [each for page in store.ids(space) for each in page]
