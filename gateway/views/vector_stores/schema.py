"""OpenAPI of `/v1/files` and `/v1/vector_stores`."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import OpenApiParameter

from gateway.views.documents.schema import (
    ATTRIBUTES,
    BINARY,
    COUNT,
    FILTER,
    FORM,
    WITH_BODY,
    WITH_FILE,
    body_of,
    errors,
    success,
)
from gateway.views.memory.schema import NULLABLE, object_of
from gateway.views.vector_stores import paging, requests
from gateway.views.vector_stores.objects import STATUSES
from rag.chunking import MAX_OVERLAP, MIN_CHUNK_TOKENS

FILES, STORES = ["files"], ["vector stores"]

ID: dict[str, Any] = {"type": "string"}
SECONDS: dict[str, Any] = {"type": "integer", "description": "Since 1970."}
NULL: dict[str, Any] = {
    "type": "object",
    "nullable": True,
    "description": "Always null: nothing expires here.",
}
NOTHING: dict[str, Any] = {
    "type": "object",
    "nullable": True,
    "maxProperties": 0,
}


def constant(word: str) -> dict[str, Any]:
    """Describe a field that always says the same."""
    return {"type": "string", "enum": [word]}


def list_of(entry: dict[str, Any]) -> dict[str, Any]:
    """Describe a page of a list."""
    return object_of(
        {
            "object": constant("list"),
            "data": {"type": "array", "items": entry},
            "first_id": NULLABLE,
            "last_id": NULLABLE,
            "has_more": {"type": "boolean"},
        }
    )


def deleted(kind: str) -> dict[str, Any]:
    """Describe the answer to a deletion."""
    return object_of(
        {
            "id": ID,
            "object": constant(kind),
            "deleted": {"type": "boolean", "enum": [True]},
        }
    )


STATIC = object_of(
    {
        "max_chunk_size_tokens": {"type": "integer", "minimum": MIN_CHUNK_TOKENS},
        "chunk_overlap_tokens": {
            "type": "integer",
            "minimum": 0,
            "maximum": MAX_OVERLAP,
        },
    }
)
STRATEGY_SHOWN: dict[str, Any] = {
    "oneOf": [
        object_of({"type": constant("static"), "static": STATIC}),
        object_of({"type": constant("other")}),
    ]
}
STRATEGY: dict[str, Any] = {
    "oneOf": [
        {**object_of({"type": constant("auto")}), "additionalProperties": False},
        {
            **object_of(
                {
                    "type": constant("static"),
                    "static": {**STATIC, "additionalProperties": False},
                }
            ),
            "additionalProperties": False,
        },
    ],
    "nullable": True,
}
FILE = object_of(
    {
        "id": ID,
        "object": constant("file"),
        "bytes": COUNT,
        "created_at": SECONDS,
        "expires_at": NULL,
        "filename": {"type": "string"},
        "purpose": {"type": "string", "enum": list(requests.PURPOSES)},
        "status": constant("processed"),
        "status_details": NULLABLE,
    }
)
STORE = object_of(
    {
        "id": ID,
        "object": constant("vector_store"),
        "created_at": SECONDS,
        "name": {"type": "string", "description": "That of the collection."},
        "description": NULLABLE,
        "usage_bytes": COUNT,
        "file_counts": object_of(
            dict.fromkeys(
                ("in_progress", "completed", "failed", "cancelled", "total"), COUNT
            )
        ),
        "status": {"type": "string", "enum": ["in_progress", "completed"]},
        "expires_after": NULL,
        "expires_at": NULL,
        "last_active_at": SECONDS,
        "metadata": {
            "type": "object",
            "description": "Always empty: vector stores keep none here.",
        },
    }
)
STORE_FILE = object_of(
    {
        "id": ID,
        "object": constant("vector_store.file"),
        "usage_bytes": COUNT,
        "created_at": SECONDS,
        "vector_store_id": ID,
        "status": {"type": "string", "enum": ["in_progress", "completed", "failed"]},
        "last_error": {
            **object_of(
                {
                    "code": {
                        "type": "string",
                        "enum": ["server_error", "unsupported_file", "invalid_file"],
                    },
                    "message": {"type": "string"},
                }
            ),
            "nullable": True,
        },
        "chunking_strategy": STRATEGY_SHOWN,
        "attributes": ATTRIBUTES,
    }
)
TEXT_PART = object_of({"type": constant("text"), "text": {"type": "string"}})


def pages_of(kind: str, entry: dict[str, Any], **more: Any) -> dict[str, Any]:
    """Describe a page that is the only one."""
    return object_of(
        {
            "object": constant(kind),
            **more,
            "data": {"type": "array", "items": entry},
            "has_more": {"type": "boolean", "enum": [False]},
            "next_page": NULLABLE,
        }
    )


FOUND = object_of(
    {
        "file_id": ID,
        "filename": {"type": "string"},
        "score": {"type": "number", "minimum": 0, "maximum": 1},
        "attributes": ATTRIBUTES,
        "content": {"type": "array", "items": TEXT_PART},
    }
)


def path_id(name: str, described: str) -> OpenApiParameter:
    """Describe an id in a path."""
    return OpenApiParameter(name, str, OpenApiParameter.PATH, description=described)


FILE_ID = path_id("file_id", "Of a file.")
STORE_ID = path_id("vector_store_id", "Of a vector store: `vs_` and the collection's.")
DOCUMENT_ID = path_id(
    "file_id", "Of a file of the store, or of another document in it."
)


def page_parameters(most: int, default: int) -> list[OpenApiParameter]:
    """Describe how a list is read in pages."""
    place = {"type": "string", "minLength": 1, "maxLength": paging.MAX_ID_CHARS}
    return [
        OpenApiParameter(
            "limit",
            {"type": "integer", "minimum": 1, "maximum": most, "default": default},
            description="How many entries an answer may hold.",
        ),
        OpenApiParameter(
            "order",
            {"type": "string", "enum": ["asc", "desc"], "default": "desc"},
            description="By the time they were made; `desc`: the newest first.",
        ),
        OpenApiParameter("after", place, description="`last_id` of the page before."),
    ]


PAGING = [
    *page_parameters(paging.MAX_PAGE, paging.DEFAULT_PAGE),
    OpenApiParameter(
        "before",
        {"type": "string", "minLength": 1, "maxLength": paging.MAX_ID_CHARS},
        description="`first_id` of the page behind; not together with `after`.",
    ),
]
OF_FILE = [STORE_ID, DOCUMENT_ID]


def route(
    tags: list[str],
    operation_id: str,
    summary: str,
    responses: dict[Any, Any],
    parameters: list[OpenApiParameter] | None = None,
    request: dict[Any, Any] | None = None,
) -> dict[str, Any]:
    """Describe one route."""
    return {
        "operation_id": operation_id,
        "summary": summary,
        "tags": tags,
        "parameters": parameters or [],
        "request": request,
        "responses": responses,
    }


LIST_FILES = route(
    FILES,
    "list_files",
    "List the files that the tenant keeps",
    success(list_of(FILE)) | errors(),
    [
        *page_parameters(paging.MAX_FILES_PAGE, paging.DEFAULT_FILES_PAGE),
        OpenApiParameter("purpose", str, description="Only those of this purpose."),
    ],
)
KEEP_FILE = route(
    FILES,
    "create_file",
    "Keep a file, to add it to vector stores",
    success(FILE) | errors(413, 415, 422),
    request={
        FORM: {
            "type": "object",
            "required": ["file", "purpose"],
            "properties": {
                "file": {"type": "string", "format": "binary", "minLength": 1},
                "purpose": {"type": "string", "enum": list(requests.PURPOSES)},
            },
            "additionalProperties": False,
        }
    },
)
SHOW_FILE = route(
    FILES, "retrieve_file", "Show a file", success(FILE) | errors(404), [FILE_ID]
)
DELETE_FILE = route(
    FILES,
    "delete_file",
    "Delete a file, and take it out of the vector stores that the key may change",
    success(deleted("file")) | errors(404),
    [FILE_ID],
)
FILE_CONTENT = route(
    FILES,
    "download_file",
    "Give a file's bytes, to be saved",
    success(BINARY, description="The file.", media_type="application/octet-stream")
    | errors(404),
    [FILE_ID],
)
NAME: dict[str, Any] = {
    "type": "string",
    "nullable": True,
    "maxLength": 100,
    "description": "That of the collection: letters, digits, spaces and . ( ) + - _, a "
    "letter or digit first.",
}
LIST_STORES = route(
    STORES,
    "list_vector_stores",
    "List the collections that the key may read, as vector stores",
    success(list_of(STORE)) | errors(),
    PAGING,
)
MAKE_STORE = route(
    STORES,
    "create_vector_store",
    "Make a collection, and add files to it",
    success(STORE) | errors(404, 409, *WITH_BODY, 422),
    request=body_of(
        {
            "name": {**NAME, "default": None},
            "description": {"type": "string", "maxLength": 4000, "nullable": True},
            "file_ids": {
                "type": "array",
                "items": ID,
                "maxItems": requests.MAX_FILES,
                "nullable": True,
            },
            "chunking_strategy": STRATEGY,
            "metadata": NOTHING,
            "expires_after": NULL,
        }
    ),
)
SHOW_STORE = route(
    STORES,
    "retrieve_vector_store",
    "Show a vector store",
    success(STORE) | errors(404),
    [STORE_ID],
)
CHANGE_STORE = route(
    STORES,
    "modify_vector_store",
    "Give a vector store another name",
    success(STORE) | errors(404, 409, *WITH_BODY),
    [STORE_ID],
    body_of({"name": NAME, "metadata": NOTHING, "expires_after": NULL}),
)
DELETE_STORE = route(
    STORES,
    "delete_vector_store",
    "Delete a collection with its documents",
    success(deleted("vector_store.deleted")) | errors(404),
    [STORE_ID],
)
LIST_STORE_FILES = route(
    STORES,
    "list_vector_store_files",
    "List the documents of a collection, as files of a vector store",
    success(list_of(STORE_FILE)) | errors(404),
    [
        STORE_ID,
        *PAGING,
        OpenApiParameter(
            "filter",
            {"type": "string", "enum": list(STATUSES)},
            description="Only those of this status.",
        ),
    ],
)
ADD_STORE_FILE = route(
    STORES,
    "create_vector_store_file",
    "Add a file to a vector store",
    success(STORE_FILE) | errors(*WITH_FILE),
    [STORE_ID],
    body_of(
        {
            "file_id": ID,
            "attributes": {**ATTRIBUTES, "nullable": True},
            "chunking_strategy": STRATEGY,
        },
        required=("file_id",),
    ),
)
SHOW_STORE_FILE = route(
    STORES,
    "retrieve_vector_store_file",
    "Show a file of a vector store",
    success(STORE_FILE) | errors(404),
    OF_FILE,
)
CHANGE_STORE_FILE = route(
    STORES,
    "update_vector_store_file",
    "Put other attributes in the place of a file's",
    success(STORE_FILE) | errors(404, *WITH_BODY),
    OF_FILE,
    body_of({"attributes": {**ATTRIBUTES, "nullable": True}}, required=("attributes",)),
)
DELETE_STORE_FILE = route(
    STORES,
    "delete_vector_store_file",
    "Take a file out of a vector store; the file itself stays",
    success(deleted("vector_store.file.deleted")) | errors(404),
    OF_FILE,
)
STORE_FILE_CONTENT = route(
    STORES,
    "retrieve_vector_store_file_content",
    "Give a file's text, as it is searched",
    success(pages_of("vector_store.file_content.page", TEXT_PART)) | errors(404, 409),
    OF_FILE,
)
SEARCH_STORE = route(
    STORES,
    "search_vector_store",
    "Find the chunks that answer a question",
    success(
        pages_of(
            "vector_store.search_results.page",
            FOUND,
            search_query={"type": "array", "items": {"type": "string"}},
        )
    )
    | errors(404, *WITH_BODY),
    [STORE_ID],
    body_of(
        {
            "query": {
                "oneOf": [
                    {
                        "type": "string",
                        "minLength": 1,
                        "maxLength": requests.MAX_QUERY_CHARS,
                    },
                    {"type": "array", "minItems": 1, "items": {"type": "string"}},
                ]
            },
            "max_num_results": {
                "type": "integer",
                "minimum": 1,
                "maximum": requests.MAX_RESULTS,
                "default": requests.DEFAULT_RESULTS,
                "nullable": True,
            },
            "filters": FILTER,
            "ranking_options": {
                "type": "object",
                "nullable": True,
                "properties": {
                    "ranker": {
                        "type": "string",
                        "enum": sorted(requests.RANKERS),
                        "nullable": True,
                        "description": "The collection's own way, whichever is named.",
                    },
                    "score_threshold": {
                        "type": "number",
                        "minimum": 0,
                        "maximum": 1,
                        "nullable": True,
                    },
                },
                "additionalProperties": False,
            },
            "rewrite_query": {
                "type": "boolean",
                "enum": [False],
                "nullable": True,
                "description": "Queries are searched as they are.",
            },
        },
        required=("query",),
    ),
)
