"""Loads the embedder that the settings name."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rag.embedder import Embedder, EmbeddingId, Vectors
from rag.onnx_embedder import load_onnx_embedder
from rag.packaged_model import NAMES
from rag.sentence_embedder import load_sentence_embedder

__all__ = ["Embedder", "EmbeddingId", "Vectors", "load_embedder"]


def load_embedder(
    *, model: str, precision: str, allow_downloads: bool, folders: Sequence[Path]
) -> Embedder:
    """Load `model`: a name or a path for sentence-transformers, "" for the packaged one.

    The packaged one runs in ONNX Runtime, at `precision` (`int8` or `fp32`). Its exported
    weights are looked for in `folders`, in this order; if they are in none, they are
    made in the last one, by a child process, which takes about ten seconds. Any other
    model runs in torch at fp32 and is fetched only if `allow_downloads`.

    Raises:
        EmbedderUnavailable: It cannot be had; the text says how to mend it.

    """
    if model in NAMES:
        return load_onnx_embedder(precision=precision, folders=folders)
    return load_sentence_embedder(model, allow_downloads=allow_downloads)
