"""The packaged model in ONNX Runtime: small, quick to start, and without torch."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from rag import packaged_model
from rag.embedder import EmbeddingId, Vectors
from rag.errors import EmbedderUnavailable

# 256 word pieces of at most 100 characters: what is behind is never read, and a long
# document takes no longer than its beginning.
MAX_CHARS = 32_768
ERRORS_ONLY = 3  # onnxruntime's log severity


class OnnxEmbedder:
    """Embeds with one thread of the processor, so that a server's workers share it well.

    Each text is a run of its own: int8's dynamic scales are taken over a whole run, so a
    text's neighbours in a batch would change its vector (cosine down to 0.978), and a
    batch on one thread is hardly faster but takes twice the memory.
    """

    def __init__(self, weights: Path, tokenizer: Path, *, precision: str) -> None:
        """Load an exported file and the tokenizer.json that belongs to it.

        Raises whatever the two libraries raise for files that they cannot read.
        """
        name, dimension = packaged_model.NAME, packaged_model.DIMENSION
        self.id = EmbeddingId(name, precision, dimension)
        self.max_tokens = packaged_model.MAX_TOKENS
        self._tokenizer = import_module("tokenizers").Tokenizer.from_file(
            str(tokenizer)
        )
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(self.max_tokens)
        self._session = _session(weights)

    @property
    def tokenizer_json(self) -> str:
        """Give the tokenizer; what it cuts off is of no meaning."""
        content: str = self._tokenizer.to_str()
        return content

    def embed(self, texts: Sequence[str]) -> Vectors:
        """Give one row of length 1 for each text."""
        vectors = np.empty((len(texts), self.id.dimension), np.float32)
        for row, text in enumerate(texts):
            vectors[row] = self._embed_one(text)
        return vectors

    def _embed_one(self, text: str) -> Vectors:
        # A lone surrogate has no place in UTF-8, and a client may send one.
        clean = text[:MAX_CHARS].encode("utf-8", "replace").decode()
        # Not encode_batch: that one starts threads, which a fork would not survive.
        ids = np.array([self._tokenizer.encode(clean).ids], np.int64)
        feeds = {"input_ids": ids, "attention_mask": np.ones_like(ids)}
        row: Vectors = self._session.run(None, feeds)[0][0]
        return row


def load_onnx_embedder(*, precision: str, folders: Sequence[Path]) -> OnnxEmbedder:
    """Load the packaged model's export; see `rag.embedding.load_embedder`.

    Raises:
        EmbedderUnavailable: It is neither there nor can it be made, or cannot be read.

    """
    tokenizer = packaged_model.model_folder() / "tokenizer.json"
    export = packaged_model.find_export(folders)
    if export is None:
        export = packaged_model.export_in_child(folders[-1])
    weights = export / f"{precision}.onnx"
    try:
        embedder = OnnxEmbedder(weights, tokenizer, precision=precision)
        embedder.embed(["The first run is slow, and shows that the files are good."])
    except Exception as error:  # the libraries' own classes share no base
        raise EmbedderUnavailable(
            f"The embedding model's file {weights} cannot be used "
            f"({type(error).__name__}): remove its folder, and it is made again."
        ) from error
    return embedder


def _session(weights: Path) -> Any:
    onnxruntime = import_module("onnxruntime")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    # Both keep memory of the largest run so far, for texts of its very length.
    options.enable_cpu_mem_arena = options.enable_mem_pattern = False
    options.log_severity_level = ERRORS_ONLY
    return onnxruntime.InferenceSession(
        str(weights), options, providers=["CPUExecutionProvider"]
    )
