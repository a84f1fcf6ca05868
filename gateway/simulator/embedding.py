"""Deterministic unit vectors from text: alike for texts that share words. Pure."""

from __future__ import annotations

import math
import re
from hashlib import blake2b

DIMENSIONS = 384
_WORD = re.compile(r"\w+")


def embed(text: str, *, dimensions: int = DIMENSIONS) -> list[float]:
    """Return a vector of length 1 (the zero-word text included).

    Feature hashing (Weinberger et al., 2009): each word adds or subtracts 1 at a
    place its hash names. So equal texts have equal vectors and texts that share words
    are closer than texts that share none, which is all a test of search needs.
    """
    vector = [0.0] * dimensions
    for word in _WORD.findall(text.lower()) or [text]:
        digest = int.from_bytes(blake2b(word.encode(), digest_size=8).digest())
        vector[digest % dimensions] += 1.0 if digest >> 63 else -1.0
    norm = math.sqrt(sum(x * x for x in vector))
    if norm == 0:
        vector[0] = norm = 1.0
    return [x / norm for x in vector]
