"""Collections, documents and files as OpenAI's objects, and their ids (pure)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from rag.attributes import Value
from rag.fusion import Hit
from rag.records import CollectionRecord, DocumentRecord, FileRecord

STORE_PREFIX = "vs_"
FILE_PREFIX = "file-"
IN_PROGRESS, COMPLETED, FAILED = "in_progress", "completed", "failed"
# Those of a file. Nothing is ever cancelled here, but it may be asked for.
STATUSES = (IN_PROGRESS, COMPLETED, FAILED, "cancelled")
# A version's states that are an end; each other one is work that is under way.
_ENDS = {"ready": COMPLETED, "failed": FAILED}
# `rag.errors.DocumentRefused`: what the file itself is to blame for.
_LAST_ERRORS = {
    "unsupported_type": "unsupported_file",
    **dict.fromkeys(
        (
            "too_large",
            "too_many_pages",
            "too_much_text",
            "encrypted",
            "corrupt",
            "zip_bomb",
            "no_text",
            "timed_out",
            "out_of_memory",
        ),
        "invalid_file",
    ),
}
_UID = re.compile(r"[0-9a-f]{32}")


def uid_in(public_id: str, prefix: str) -> str | None:
    """Give what stands behind the prefix, None when it cannot be an id of ours."""
    uid = public_id.removeprefix(prefix)
    is_ours = public_id.startswith(prefix) and _UID.fullmatch(uid)
    return uid if is_ours else None


def file_object(file: FileRecord) -> dict[str, Any]:
    """Show a file. It is never `error`: a file is kept whole or not at all."""
    return {
        "id": FILE_PREFIX + file.id,
        "object": "file",
        "bytes": file.size,
        "created_at": seconds(file.created_at),
        "expires_at": None,
        "filename": file.filename,
        "purpose": file.purpose,
        "status": "processed",
        "status_details": None,
    }


def store_object(collection: CollectionRecord) -> dict[str, Any]:
    """Show a collection as a vector store."""
    counts = collection.counts
    used_at = collection.last_used_at or collection.created_at
    return {
        "id": STORE_PREFIX + collection.uid,
        "object": "vector_store",
        "created_at": seconds(collection.created_at),
        "name": collection.name,
        "description": collection.description or None,
        "usage_bytes": counts.size,
        "file_counts": {
            "in_progress": counts.in_progress,
            "completed": counts.ready,
            "failed": counts.failed,
            "cancelled": 0,
            "total": counts.total,
        },
        "status": IN_PROGRESS if counts.in_progress else COMPLETED,
        "expires_after": None,
        "expires_at": None,
        "last_active_at": seconds(used_at),
        "metadata": {},
    }


def store_file_object(
    document: DocumentRecord, collection: CollectionRecord
) -> dict[str, Any]:
    """Show a document as a file of a vector store."""
    return {
        "id": document.id,
        "object": "vector_store.file",
        "usage_bytes": document.size,
        "created_at": seconds(document.created_at),
        "vector_store_id": STORE_PREFIX + collection.uid,
        "status": file_status(document.state),
        "last_error": last_error(document),
        "chunking_strategy": chunking_object(collection),
        "attributes": dict(document.attributes),
    }


def file_status(state: str) -> str:
    """Say a version's state in OpenAI's words; whatever is no end is in progress."""
    return _ENDS.get(state, IN_PROGRESS)


def last_error(document: DocumentRecord) -> dict[str, str] | None:
    """Say why a document failed, None unless it did."""
    if file_status(document.state) != FAILED:
        return None
    code = _LAST_ERRORS.get(document.code, "server_error")
    return {"code": code, "message": document.reason}


def chunking_object(collection: CollectionRecord) -> dict[str, Any]:
    """Show how the index that serves is cut; `other` while there is none."""
    if (index := collection.index) is None:
        return {"type": "other"}
    return {
        "type": "static",
        "static": {
            "max_chunk_size_tokens": index.chunk_tokens,
            "chunk_overlap_tokens": index.chunk_overlap,
        },
    }


def search_page(
    queries: list[str],
    hits: Iterable[Hit],
    attributes: Mapping[str, Mapping[str, Value]],
) -> dict[str, Any]:
    """Show what was found; `attributes` are the documents', by their id."""
    return {
        "object": "vector_store.search_results.page",
        "search_query": queries,
        "data": [
            {
                "file_id": hit.document_id,
                "filename": hit.filename,
                "score": hit.score,
                "attributes": dict(attributes.get(hit.document_id, {})),
                "content": [text_object(hit.text)],
            }
            for hit in hits
        ],
        "has_more": False,
        "next_page": None,
    }


def content_page(text: str) -> dict[str, Any]:
    """Show a document's text, which is one part however many pages it has."""
    return {
        "object": "vector_store.file_content.page",
        "data": [text_object(text)],
        "has_more": False,
        "next_page": None,
    }


def text_object(text: str) -> dict[str, str]:
    """Show a piece of text."""
    return {"type": "text", "text": text}


def deleted_object(public_id: str, kind: str) -> dict[str, Any]:
    """Say that something is gone; `kind` is the word for it where it is deleted."""
    return {"id": public_id, "object": kind, "deleted": True}


def seconds(moment: datetime) -> int:
    """Give a time as whole seconds since 1970."""
    return int(moment.timestamp())
