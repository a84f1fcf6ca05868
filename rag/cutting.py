"""From a version's text to the rows of its chunks in one index."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from hashlib import sha256
from itertools import islice
from typing import TypeVar

from django.db import transaction

from rag.chunking import CHUNKER, Chunk as CutChunk, Chunker, ChunkSize
from rag.embedder import Embedder, EmbeddingId
from rag.embedders import Embedders
from rag.embedding_lanes import EmbeddingLanes
from rag.erasure import erase_some
from rag.files import TEXT, DocumentFiles, version_folder
from rag.keyword_terms import terms_for
from rag.models import (
    Chunk,
    Cut,
    DocumentState,
    Index,
    IndexState,
    Version,
)
from rag.parsed import PageSpan

ROWS = 500  # of one transaction: SQLite's other writers wait no longer for it
KEPT_CHUNKERS = 8
LOADING_LIMIT_S = 1.0  # then whoever waits for the embedder is told that it is loaded
KEPT_INDEXES = (IndexState.ACTIVE, IndexState.BUILDING)

Item = TypeVar("Item")


class IndexStuck(Exception):
    """Nothing more comes into an index until somebody does something about it.

    The text is one plain sentence that says what is wrong and how to mend it.
    """


@dataclass(frozen=True, slots=True)
class Tools:
    """What an index is made with; the embedder is loaded."""

    lanes: EmbeddingLanes
    embedding: EmbeddingId
    chunker: Chunker


class Toolbox:
    """The tools of indexes, kept while they are used. For one thread."""

    def __init__(self, embedders: Embedders) -> None:
        """Load nothing yet."""
        self._embedders = embedders
        self._chunkers = OrderedDict[tuple[EmbeddingId, int, int], Chunker]()

    def of(self, index: Index) -> Tools:
        """Give the tools of an index.

        Raises:
            EmbedderUnavailable: There is no embedder, or it is still being loaded.
            IndexStuck: It was made in a way that is not known here any more.

        """
        lanes = self._embedders.of(index.model, index.precision)
        embedder = lanes.embedder(timeout_s=LOADING_LIMIT_S)
        check_embedding(index, embedder.id)
        if index.chunker != CHUNKER:
            raise IndexStuck(
                "This version of AILB cuts documents in another way than the one that "
                "made this index: re-index the collection."
            )
        return Tools(lanes, embedder.id, self._chunker(embedder, index))

    def _chunker(self, embedder: Embedder, index: Index) -> Chunker:
        key = (embedder.id, index.chunk_tokens, index.chunk_overlap)
        if key not in self._chunkers:
            try:
                self._chunkers[key] = Chunker(
                    embedder.tokenizer_json,
                    max_tokens=embedder.max_tokens,
                    size=ChunkSize(index.chunk_tokens, index.chunk_overlap),
                )
            except ValueError as error:
                raise IndexStuck(
                    f"{error} Re-index the collection with other chunks."
                ) from error
        self._chunkers.move_to_end(key)
        while len(self._chunkers) > KEPT_CHUNKERS:
            self._chunkers.popitem(last=False)
        return self._chunkers[key]


def check_embedding(index: Index, embedding: EmbeddingId) -> None:
    """See that an embedder's vectors may stand beside those that an index has.

    Raises:
        IndexStuck: They may not.

    """
    if index.embedding not in {"", str(embedding)}:
        raise IndexStuck(
            f"This index has vectors of {index.embedding}, and the embedding model that "
            f"is loaded makes those of {embedding}: re-index the collection, or bring "
            "the former model back."
        )


def cut(version: Version, index: Index, chunker: Chunker, files: DocumentFiles) -> bool:
    """Write a version's chunks in one index, and that these are all; safe to repeat.

    Each transaction writes at most ROWS. False when nobody wants them any more.

    Raises:
        FileNotFoundError: The version's text is missing.

    """
    text = files.read(version_folder(version.uid), TEXT).decode()
    pages = [PageSpan(*span) for span in version.page_spans]
    chunks = enumerate(chunker.chunks(text, title=version.title, pages=pages))
    written = 0
    for batch in batched(chunks, ROWS):
        rows = [_row(version, index, seq, chunk) for seq, chunk in batch]
        is_last = len(rows) < ROWS
        written += len(rows)
        if not _write(version, index, rows, total=written if is_last else None):
            return False
    return True


def _row(version: Version, index: Index, seq: int, chunk: CutChunk) -> Chunk:
    return Chunk(
        index=index,
        version=version,
        uid=chunk_uid(version, index, seq),
        seq=seq,
        start=chunk.start,
        end=chunk.end,
        page=chunk.page,
        heading_path=list(chunk.heading_path),
        tokens=chunk.tokens,
        text=chunk.text,
        terms=terms_for(
            chunk.text, title=version.title, heading_path=chunk.heading_path
        ),
    )


def chunk_uid(version: Version, index: Index, seq: int) -> str:
    """Give a chunk's id, which is the same whenever the version is cut again."""
    return sha256(f"{version.uid}/{index.uid}/{seq}".encode()).hexdigest()[:32]


def _write(
    version: Version, index: Index, rows: list[Chunk], *, total: int | None
) -> bool:
    """Write some chunks, and with the last ones how many there are in `total`."""
    with transaction.atomic():
        state = lock_index(index)
        if state not in KEPT_INDEXES or not _is_wanted(version):
            return False
        cuts = Cut.objects.filter(index=index, version=version)
        if cuts.exists():
            return True  # another process was as quick
        Chunk.objects.bulk_create(rows, ignore_conflicts=True)
        if total is not None:
            Cut.objects.create(index=index, version=version, chunks=total)
            if state == IndexState.ACTIVE:
                mine = Version.objects.filter(pk=version.pk)
                mine.update(chunks=total, chunks_done=0)
    return True


def lock_index(index: Index) -> str:
    """Give an index's state, empty when it is gone, and have nobody change it before.

    Within a transaction, and before its chunks and their versions are locked.
    """
    mine = Index.objects.select_for_update(no_key=True).filter(pk=index.pk)
    found = mine.values_list("state", "embedding").first()
    state, index.embedding = found or ("", index.embedding)
    return state


def _is_wanted(version: Version) -> bool:
    """Tell whether a version is still to be found, and have nobody withdraw it before."""
    wanted = Version.objects.select_for_update(no_key=True).filter(
        pk=version.pk, state__in=[DocumentState.EMBEDDING, DocumentState.READY]
    )
    return wanted.values_list("pk").first() is not None


def uncut(version: Version) -> None:
    """Delete what was cut of a version, some at a time, because its text is another."""
    Cut.objects.filter(version=version).delete()
    while erase_some(Chunk.objects.filter(version=version), ROWS):
        pass


def batched(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    """Give items some at a time; the last batch is not full, and may be empty."""
    iterator = iter(items)
    while True:
        batch = list(islice(iterator, size))
        yield batch
        if len(batch) < size:
            return
