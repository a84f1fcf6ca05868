"""The embedders of a process: the one that the settings name, and those of indexes."""

from __future__ import annotations

import threading
from collections.abc import Callable

from rag.embedding_lanes import EmbeddingLanes
from rag.packaged_model import NAMES


class Embedders:
    """Lanes by model and precision, each made once and loaded when first asked.

    Safe from any thread. An index keeps the model that it was built with, so there are
    several after the setting was changed.
    """

    def __init__(
        self, make: Callable[[str, str], EmbeddingLanes], *, model: str, precision: str
    ) -> None:
        """`make` gives the lanes of a model and precision; the two named are the default."""
        self._make = make
        self._lanes: dict[tuple[str, str], EmbeddingLanes] = {}
        self._lock = threading.Lock()
        self.default = self.of(model, precision)

    def of(self, model: str, precision: str) -> EmbeddingLanes:
        """Give the lanes of a model; nothing is loaded yet."""
        model = "" if model in NAMES else model  # the packaged one has several names
        with self._lock:
            lanes = self._lanes.get((model, precision))
            if lanes is None:
                lanes = self._lanes[model, precision] = self._make(model, precision)
            return lanes

    def close(self) -> None:
        """End every lane's threads."""
        with self._lock:
            for lanes in self._lanes.values():
                lanes.close()
