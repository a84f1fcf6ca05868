"""The configuration as JSON documents of rows: read, checked and applied; no secrets."""

from __future__ import annotations

from gateway.config_documents.applying import Applied, apply
from gateway.config_documents.kinds import READ_ONLY, TYPES
from gateway.config_documents.reading import Document, document, documents

__all__ = [
    "READ_ONLY",
    "TYPES",
    "Applied",
    "Document",
    "apply",
    "document",
    "documents",
]
