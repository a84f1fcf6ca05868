"""The admin's pages of documents: importing this registers them."""

from __future__ import annotations

from rag.admin import collections, documents

__all__ = ["collections", "documents"]
