"""Documents read: the rows of one type in one canonical form."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from gateway import revision
from gateway.config_documents.kinds import TYPES
from gateway.operations import canonical


@dataclass(frozen=True, slots=True)
class Document:
    """All rows of a type as canonical JSON: equal rows give equal bytes.

    `checksum` is the SHA-256 of `data` in hex. `updated_at` is the latest change of a row
    that is there, None without one; `revision` the configuration's.
    """

    type: str
    data: bytes
    checksum: str
    updated_at: datetime | None
    revision: int


def documents(document_type: str = "") -> list[Document]:
    """Read the document of a type, or all of them.

    Raises:
        KeyError: There is no such type.

    """
    return [document(each) for each in ([document_type] if document_type else TYPES)]


def document(document_type: str) -> Document:
    """Read one document; raises likewise."""
    kinds = TYPES[document_type]
    number = revision.current()
    found = {name: list(kind.rows()) for name, kind in kinds.items()}
    content: Mapping[str, list[dict[str, Any]]] = {
        name: [kinds[name].read(row) for row in rows] for name, rows in found.items()
    }
    moments = [row.updated_at for rows in found.values() for row in rows]
    # A policy without a row has none yet.
    changed = [moment for moment in moments if isinstance(moment, datetime)]
    data = canonical(content)
    return Document(
        type=document_type,
        data=data,
        checksum=checksum_of(data),
        updated_at=max(changed, default=None),
        revision=number,
    )


def checksum_of(data: bytes) -> str:
    """Give the SHA-256 in hex."""
    return hashlib.sha256(data).hexdigest()
