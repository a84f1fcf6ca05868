"""Collections and documents as values that leave `rag`, ready for JSON (pure)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from rag.attributes import Value


def iso(moment: datetime | None) -> str | None:
    """Give a time as ISO 8601, None for none."""
    return moment.isoformat() if moment else None


@dataclass(frozen=True, slots=True)
class IndexRecord:
    """An index: how its chunks are made, and how far it is.

    `embedding` is empty before the first vector. `done` of `total` documents are in it.
    """

    state: str
    model: str
    precision: str
    embedding: str
    dimension: int | None
    chunker: str
    chunk_tokens: int
    chunk_overlap: int
    done: int
    total: int
    problem: str

    def as_dict(self) -> dict[str, object]:
        """Give what a listing shows."""
        return {
            "state": self.state,
            "embedding": self.embedding or None,
            "dimension": self.dimension,
            "chunker": self.chunker,
            "chunk_tokens": self.chunk_tokens,
            "chunk_overlap": self.chunk_overlap,
            "documents_done": self.done,
            "documents_total": self.total,
            "problem": self.problem,
        }


@dataclass(frozen=True, slots=True)
class Counts:
    """A collection's documents by the state of their newest version; `size` in bytes."""

    total: int = 0
    ready: int = 0
    failed: int = 0
    in_progress: int = 0
    size: int = 0


@dataclass(frozen=True, slots=True)
class CollectionRecord:
    """A collection with its settings and where its indexes stand.

    `is_own` says whether it is the asking tenant's, which alone may change it. `owner`
    is the public id of the key that made it, empty for none.
    """

    uid: str
    name: str
    description: str
    owner: str
    is_own: bool
    visibility: str
    is_strict: bool
    is_required: bool
    top_k: int
    max_tokens: int
    per_document: int | None
    min_score: float
    relative_cut: float
    joins_neighbours: bool
    counts: Counts
    index: IndexRecord | None
    building: IndexRecord | None
    previous: IndexRecord | None
    created_at: datetime
    last_used_at: datetime | None

    def as_dict(self) -> dict[str, object]:
        """Give what a listing shows."""
        return {
            "id": self.uid,
            "name": self.name,
            "description": self.description,
            "owner": self.owner,
            "visibility": self.visibility,
            "is_strict": self.is_strict,
            "is_required": self.is_required,
            "top_k": self.top_k,
            "max_tokens": self.max_tokens,
            "per_document": self.per_document,
            "min_score": self.min_score,
            "relative_cut": self.relative_cut,
            "joins_neighbours": self.joins_neighbours,
            "documents": {
                "total": self.counts.total,
                "ready": self.counts.ready,
                "failed": self.counts.failed,
                "in_progress": self.counts.in_progress,
                "bytes": self.counts.size,
            },
            "index": self.index.as_dict() if self.index else None,
            "building": self.building.as_dict() if self.building else None,
            "previous": self.previous.as_dict() if self.previous else None,
            "created": iso(self.created_at),
            "last_used": iso(self.last_used_at),
        }


@dataclass(frozen=True, slots=True)
class DocumentRecord:
    """A document, with the state of its newest version.

    `is_searchable` says whether some version of it is found, be it an older one.
    """

    id: str
    collection: str
    filename: str
    attributes: Mapping[str, Value]
    owner: str
    state: str
    code: str
    reason: str
    media_type: str
    size: int
    sha256: str
    pages: int | None
    chars: int | None
    version: int
    chunks: int
    chunks_done: int
    is_searchable: bool
    created_at: datetime
    finished_at: datetime | None

    def as_dict(self) -> dict[str, object]:
        """Give what a listing shows."""
        return {
            "id": self.id,
            "collection": self.collection,
            "filename": self.filename,
            "attributes": dict(self.attributes),
            "owner": self.owner,
            "state": self.state,
            "code": self.code or None,
            "reason": self.reason or None,
            "media_type": self.media_type or None,
            "bytes": self.size,
            "sha256": self.sha256,
            "pages": self.pages,
            "characters": self.chars,
            "version": self.version,
            "chunks": self.chunks,
            "chunks_done": self.chunks_done,
            "is_searchable": self.is_searchable,
            "created": iso(self.created_at),
            "finished": iso(self.finished_at),
        }


@dataclass(frozen=True, slots=True)
class DocumentPage:
    """Documents, the newest first; `next` begins the page after, None for none."""

    documents: tuple[DocumentRecord, ...]
    next: str | None


@dataclass(frozen=True, slots=True)
class Added:
    """What became of an upload; not new when the collection has this very content."""

    document: DocumentRecord
    is_new: bool


@dataclass(frozen=True, slots=True)
class Upload:
    """A file on its way in. `filename` is what its owner calls it, nothing of a path."""

    filename: str
    data: bytes
    attributes: Mapping[str, Value]


@dataclass(frozen=True, slots=True)
class FileRecord:
    """A file of `/v1/files`; `id` is without a prefix."""

    id: str
    filename: str
    purpose: str
    size: int
    created_at: datetime
