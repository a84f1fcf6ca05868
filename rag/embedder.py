"""What an embedder is, and the id that tells its vectors from all others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt
from typing_extensions import override

Vectors = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class EmbeddingId:
    """Which vectors may be compared: only those of equal ids.

    `precision` is how the weights are kept, `int8` or `fp32`; `dimension` is the length
    of a vector. As text at most 200 characters.
    """

    name: str
    precision: str
    dimension: int

    @override
    def __str__(self) -> str:
        return f"{self.name}/{self.precision}/{self.dimension}"


class Embedder(Protocol):
    """Turns texts into vectors. Blocking, and safe to call from several threads."""

    @property
    def id(self) -> EmbeddingId:
        """Name its vectors."""

    @property
    def max_tokens(self) -> int:
        """How much of a text it reads; what is behind that does not count."""

    @property
    def tokenizer_json(self) -> str:
        """Give its tokenizer, as the content of a tokenizer.json.

        Raises:
            EmbedderUnavailable: It has none that can be had so.

        """

    def embed(self, texts: Sequence[str]) -> Vectors:
        """Give one row of length 1 for each text, shape (len(texts), dimension)."""
