"""What memory and documents stand on, made once a process and only when it is needed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from django.conf import settings

from gateway.database_threads import DatabaseThreads

if TYPE_CHECKING:  # they bring numpy: not before the first session or collection
    from memory.service import Memory
    from rag.embedding_lanes import EmbeddingLanes
    from rag.library import Library

CLOSE_LIMIT_S = 1.0


@dataclass(frozen=True, slots=True)
class Parts:
    """Memory and the documents, with the lanes to the embedder that both use first.

    The library holds the embedders and the store of vectors, and closes them.
    """

    memory: Memory
    library: Library
    lanes: EmbeddingLanes


def make_parts() -> Parts:
    """Import what is needed and put it together as the settings say; loads no model yet.

    Blocks. Raises django.db.Error while the database is away.
    """
    # Numpy and what embeds: most processes never need them.
    from memory.service import Memory  # noqa: PLC0415
    from rag.configured import make_embedders, make_store  # noqa: PLC0415
    from rag.files import DocumentFiles  # noqa: PLC0415
    from rag.library import Library  # noqa: PLC0415

    store = make_store()  # first: it may raise
    embedders = make_embedders()
    return Parts(
        memory=Memory(embedders.default, store, secret=settings.SECRET_KEY),
        library=Library(
            embedders,
            store,
            files=DocumentFiles(settings.AILB_DOCUMENTS_DIR),
            model=settings.EMBEDDING_MODEL,
            precision=settings.AILB_EMBEDDING_PRECISION,
        ),
        lanes=embedders.default,
    )


class SharedParts:
    """The parts of a process: whoever asks first has them made. In one event loop."""

    def __init__(self, make: Callable[[], Parts]) -> None:
        """`make` blocks, and is called again after it has failed."""
        self._make = make
        self._made: Parts | None = None
        self._making = asyncio.Lock()
        self._threads = DatabaseThreads(1, name="ailb-parts")

    @property
    def made(self) -> Parts | None:
        """The parts, None while nobody has needed them."""
        return self._made

    async def get(self) -> Parts:
        """Give the parts; the embedder begins to load with them.

        Raises whatever making them raises.
        """
        if self._made is None:
            async with self._making:
                if self._made is None:
                    parts = await self._threads.run(self._make)
                    parts.lanes.start()
                    self._made = parts
        return self._made

    async def aclose(self) -> None:
        """Close what is open; after the last use."""
        if self._made is not None:
            with suppress(TimeoutError):
                async with asyncio.timeout(CLOSE_LIMIT_S):
                    await self._threads.run(self._made.library.close)
        await self._threads.aclose(limit_s=CLOSE_LIMIT_S)
