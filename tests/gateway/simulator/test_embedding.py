"""Embeddings: deterministic, of length 1, alike for alike texts."""

from __future__ import annotations

import math

from hypothesis import given, strategies as st

from gateway.simulator.embedding import embed


def cosine(one: list[float], other: list[float]) -> float:
    return sum(a * b for a, b in zip(one, other, strict=True))


@given(st.text(max_size=100), st.integers(1, 64))
def test_a_vector_has_length_one_and_its_dimensions(text: str, dimensions: int) -> None:
    vector = embed(text, dimensions=dimensions)
    assert len(vector) == dimensions
    assert math.isclose(math.sqrt(sum(x * x for x in vector)), 1.0, abs_tol=1e-9)
    assert vector == embed(text, dimensions=dimensions)


def test_texts_that_share_words_are_closer_than_texts_that_share_none() -> None:
    cat, kitten, tax = map(
        embed, ["the black cat sleeps", "a black cat eats", "income duties rise"]
    )
    assert cosine(cat, kitten) > cosine(cat, tax) + 0.3
