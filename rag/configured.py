"""The embedder's lanes and the vector store as the settings say."""

from __future__ import annotations

import atexit
import threading
from functools import partial
from pathlib import Path

from django.apps import apps
from django.conf import settings

from rag.embedder_files import find_problem
from rag.embedders import Embedders
from rag.embedding import load_embedder
from rag.embedding_lanes import EmbeddingLanes
from rag.files import DocumentFiles
from rag.library import Library
from rag.packaged_model import INSTALLED
from rag.vectorstore import TIMEOUT_S, VectorStore


def make_embedders() -> Embedders:
    """Make the lanes to the embedder that the settings name; loads nothing yet."""
    return Embedders(
        make_lanes,
        model=settings.EMBEDDING_MODEL,
        precision=settings.AILB_EMBEDDING_PRECISION,
    )


def make_lanes(model: str, precision: str) -> EmbeddingLanes:
    """Make the lanes to one embedder; loads nothing yet."""
    return EmbeddingLanes(
        partial(
            load_embedder,
            model=model,
            precision=precision,
            allow_downloads=settings.AILB_ALLOW_DOWNLOADS,
            folders=export_folders(),
        )
    )


def export_folders() -> list[Path]:
    """Say where the packaged model's exports are looked for."""
    return [INSTALLED, settings.AILB_DATA_DIR / "embedders"]


def embedder_problem() -> str:
    """Say why the embedder that the settings name could not be loaded; empty: it could."""
    return find_problem(
        model=settings.EMBEDDING_MODEL,
        precision=settings.AILB_EMBEDDING_PRECISION,
        allow_downloads=settings.AILB_ALLOW_DOWNLOADS,
        folders=export_folders(),
    )


def make_store(*, timeout_s: float = TIMEOUT_S) -> VectorStore | None:
    """Make the vector store of this installation, None without one; connects later.

    Several installations may use one server: each has a database of its own there. A
    request to it may take `timeout_s`.

    Raises:
        django.db.Error: The database, which knows the installation's name, is away.

    """
    url = settings.CHROMA_URL or local_url()
    if not url:
        return None
    installation = apps.get_model("gateway", "Installation").objects.get()
    database = f"ailb-{installation.uid}"
    return VectorStore(url, database=database, timeout_s=timeout_s)


def make_library() -> Library:
    """Make a library, which the caller closes; loads nothing yet.

    Raises like `make_store`.
    """
    store = make_store()  # first: it may raise
    return Library(
        make_embedders(),
        store,
        files=DocumentFiles(settings.AILB_DOCUMENTS_DIR),
        model=settings.EMBEDDING_MODEL,
        precision=settings.AILB_EMBEDDING_PRECISION,
    )


class SharedLibrary:
    """The library of a process that has no other: made when first asked for.

    Safe from any thread.
    """

    def __init__(self) -> None:
        self._made: Library | None = None
        self._lock = threading.Lock()

    def get(self) -> Library:
        """Give the library, which is closed when the process ends.

        Raises like `make_store`, and tries anew when it is asked again.
        """
        with self._lock:
            if self._made is None:
                self._made = make_library()
                atexit.register(self._made.close)
            return self._made


_shared = SharedLibrary()


def shared_library() -> Library:
    """Give the library that the pages of this process share; see `SharedLibrary`."""
    return _shared.get()


def local_url() -> str:
    """Give the address of the server that `serve` runs on this data directory, if any."""
    try:
        return str(settings.AILB_CHROMA_URL_FILE.read_text(encoding="utf-8").strip())
    except FileNotFoundError:
        return ""
