"""Any other model, by sentence-transformers: a name or a path, on the CPU."""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from rag.embedder import EmbeddingId, Vectors
from rag.errors import EmbedderUnavailable

PRECISION = "fp32"
TEXTS_PER_RUN = 8
MAX_NAME = 150  # characters, so that the id stays below 200
READ_IN_FULL = {".json", ".txt"}
DEFAULT_MAX_TOKENS = 512  # for a model that does not say


class SentenceEmbedder:
    """A SentenceTransformer whose vectors have length 1."""

    def __init__(self, model: Any, *, name: str) -> None:
        """`model` is a SentenceTransformer."""
        self._model = model
        # Its tokenizer changes settings of its own at each call.
        self._lock = threading.Lock()
        self.max_tokens: int = model.max_seq_length or DEFAULT_MAX_TOKENS
        # By a run: a model's configuration does not always say it.
        dimension = self._encode(["one"]).shape[1]
        self.id = EmbeddingId(name, PRECISION, dimension)

    @property
    def tokenizer_json(self) -> str:
        """Give the tokenizer; what it cuts off and fills up is of no meaning.

        Raises:
            EmbedderUnavailable: It is none of the library that documents are cut with.

        """
        tokenizer = getattr(self._model, "tokenizer", None)
        backend = getattr(tokenizer, "backend_tokenizer", None)
        if backend is None:
            raise EmbedderUnavailable(
                f"The embedding model {self.id.name} has no tokenizer.json, which "
                "documents are cut with: give another one in EMBEDDING_MODEL, or leave "
                "it empty for the packaged one."
            )
        with self._lock:
            content: str = backend.to_str()
        return content

    def embed(self, texts: Sequence[str]) -> Vectors:
        """Give one row of length 1 for each text; one caller at a time."""
        if not texts:
            return np.empty((0, self.id.dimension), np.float32)
        clean = [text.encode("utf-8", "replace").decode() for text in texts]
        return self._encode(clean)

    def _encode(self, texts: Sequence[str]) -> Vectors:
        with self._lock:
            vectors = self._model.encode(
                list(texts),
                batch_size=TEXTS_PER_RUN,
                normalize_embeddings=True,
                convert_to_numpy=True,
                show_progress_bar=False,
            )
        return np.asarray(vectors, np.float32)


def load_sentence_embedder(model: str, *, allow_downloads: bool) -> SentenceEmbedder:
    """Load a model by its name or path; nothing is fetched unless `allow_downloads`.

    Raises:
        EmbedderUnavailable: It is not there, or is no such model.

    """
    path = Path(model).expanduser()
    is_path = (
        path.is_dir() or path.is_absolute() or model.startswith(("./", "../", "~"))
    )
    if is_path and not path.is_dir():
        raise EmbedderUnavailable(
            f"EMBEDDING_MODEL names the folder {model}, which does not exist: put a "
            "sentence-transformers model there, or leave EMBEDDING_MODEL empty for the "
            "packaged one."
        )
    name = _name_of_folder(path) if is_path else model[:MAX_NAME]
    _prepare_environment(allow_downloads=allow_downloads)
    try:
        import_module("torch").set_num_threads(1)  # a server has a worker for each core
        loaded = import_module("sentence_transformers").SentenceTransformer(
            str(path) if is_path else model,
            device="cpu",
            local_files_only=is_path or not allow_downloads,
        )
        return SentenceEmbedder(loaded, name=name)
    except Exception as error:  # three libraries and a model's own code, no common base
        raise EmbedderUnavailable(_problem(model, error, is_path=is_path)) from error


def _problem(model: str, error: Exception, *, is_path: bool) -> str:
    if is_path or not isinstance(error, OSError):
        reason = str(error).strip().partition("\n")[0][:200]
        return (
            f"The embedding model {model} cannot be loaded ({type(error).__name__}: "
            f"{reason}): give another one in EMBEDDING_MODEL, or leave it empty for the "
            "packaged one."
        )
    return (
        f"The embedding model {model} is not on this machine: set "
        "AILB_ALLOW_DOWNLOADS=1 to have it fetched, or put the model into a folder and "
        "name that in EMBEDDING_MODEL."
    )


def _prepare_environment(*, allow_downloads: bool) -> None:
    """Tell the libraries what they ask of the environment when they are imported."""
    os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")  # its threads and forks
    if not allow_downloads:
        os.environ["HF_HUB_OFFLINE"] = os.environ["TRANSFORMERS_OFFLINE"] = "1"


def _name_of_folder(folder: Path) -> str:
    """Name a model so that another model in the same folder has another name."""
    folder = folder.resolve()
    digest = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        digest.update(f"{path.relative_to(folder)} {path.stat().st_size}\n".encode())
        if path.suffix in READ_IN_FULL:
            digest.update(path.read_bytes())
    return f"{folder.name[: MAX_NAME - 9]}-{digest.hexdigest()[:8]}"
