"""OpenAPI of `/api/collections`."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import OpenApiParameter, OpenApiResponse

from gateway.views.documents.downloads import HARMLESS, UNKNOWN_TYPE
from gateway.views.management.schema import PAGING
from gateway.views.memory.schema import NULLABLE, TIME, array_of, object_of
from gateway.views.schema import ERROR, JSON

TAGS = ["documents"]
FORM = "multipart/form-data"
STATUS = {
    400: "The request is malformed, `param` names the field; or documents are switched "
    "off (`rag_disabled`).",
    401: "The key is missing or not valid.",
    403: "The key lacks the right `documents`.",
    404: "There is no such collection or document for this key; never says which of both.",
    409: "The name is taken, or the document is not ready.",
    413: "The body or the file is too large.",
    415: "The body is not declared as what it must be, or the file is of no known type.",
    422: "The file cannot be taken as it is; `code` says why.",
    503: "The database cannot be reached now, or too many others wait; see Retry-After.",
}
ALWAYS = (400, 401, 403, 503)
WITH_BODY = (413, 415)
WITH_FILE = (404, 413, 415, 422)
DONE = "Success."

COUNT: dict[str, Any] = {"type": "integer", "minimum": 0}
NUMBER: dict[str, Any] = {"type": "integer", "nullable": True}
ATTRIBUTES: dict[str, Any] = {
    "type": "object",
    "maxProperties": 16,
    "additionalProperties": {
        "oneOf": [{"type": "string"}, {"type": "number"}, {"type": "boolean"}]
    },
    "description": "What searches may filter by; names have 1 to 64 characters, texts at "
    "most 512.",
}
INDEX: dict[str, Any] = {
    **object_of(
        {
            "state": {"type": "string", "enum": ["building", "active", "previous"]},
            "embedding": NULLABLE,
            "dimension": NUMBER,
            "chunker": {"type": "string"},
            "chunk_tokens": {"type": "integer"},
            "chunk_overlap": {"type": "integer"},
            "documents_done": COUNT,
            "documents_total": COUNT,
            "problem": {
                "type": "string",
                "description": "What it waits for; empty: nothing.",
            },
        }
    ),
    "nullable": True,
}
SHARE: dict[str, Any] = {"type": "number", "minimum": 0, "maximum": 1}
SETTINGS: dict[str, Any] = {
    "name": {
        "type": "string",
        "minLength": 1,
        "maxLength": 100,
        "description": "Letters, digits, spaces and . ( ) + - _, a letter or digit first.",
    },
    "description": {"type": "string", "maxLength": 4000},
    "is_strict": {
        "type": "boolean",
        "description": "The model is told to answer from the sources alone.",
    },
    "is_required": {
        "type": "boolean",
        "description": "A chat fails when the collection cannot be searched in time.",
    },
    "top_k": {"type": "integer", "minimum": 1, "maximum": 20},
    "max_tokens": {"type": "integer", "minimum": 100, "maximum": 200_000},
    "per_document": {
        "type": "integer",
        "minimum": 1,
        "maximum": 32_767,
        "nullable": True,
    },
    "min_score": SHARE,
    "relative_cut": SHARE,
    "joins_neighbours": {"type": "boolean"},
}
CHUNKS: dict[str, Any] = {
    "chunk_tokens": {"type": "integer", "minimum": 1, "maximum": 8000},
    "chunk_overlap": {"type": "integer", "minimum": 0},
}
COLLECTION: dict[str, Any] = {
    "id": {"type": "string"},
    **SETTINGS,
    "owner": {
        "type": "string",
        "description": "Public id of the key that made it; empty: no key, or another "
        "tenant's.",
    },
    "visibility": {"type": "string", "enum": ["tenant", "keys", "everybody"]},
    "documents": object_of(
        dict.fromkeys(("total", "ready", "failed", "in_progress", "bytes"), COUNT)
    ),
    "index": INDEX,
    "building": INDEX,
    "previous": INDEX,
    "created": TIME,
    "last_used": {**TIME, "nullable": True},
}
DOCUMENT: dict[str, Any] = {
    "id": {"type": "string"},
    "collection": {"type": "string"},
    "filename": {"type": "string"},
    "attributes": ATTRIBUTES,
    "owner": {"type": "string"},
    "state": {
        "type": "string",
        "enum": ["queued", "parsing", "embedding", "ready", "failed"],
    },
    "code": NULLABLE,
    "reason": {**NULLABLE, "description": "Why it failed, or what it waits for."},
    "media_type": NULLABLE,
    "bytes": COUNT,
    "sha256": {"type": "string"},
    "pages": NUMBER,
    "characters": NUMBER,
    "version": COUNT,
    "chunks": COUNT,
    "chunks_done": COUNT,
    "is_searchable": {
        "type": "boolean",
        "description": "Whether some version of it is found, be it an older one.",
    },
    "created": TIME,
    "finished": {**TIME, "nullable": True},
}
HIT: dict[str, Any] = {
    "document_id": {"type": "string"},
    "filename": {"type": "string"},
    "text": {"type": "string"},
    "page": NUMBER,
    "start": {
        **COUNT,
        "description": "Characters before it in the document's text, from `.../text`.",
    },
    "end": COUNT,
    "score": {"type": "number"},
    "score_parts": {
        "type": "object",
        "additionalProperties": {"type": "number"},
        "description": "`dense` and `keyword`, each 0 to 1 before its weight.",
    },
}
FILTER: dict[str, Any] = {
    "type": "object",
    "required": ["type"],
    "nullable": True,
    "properties": {
        "type": {
            "type": "string",
            "enum": [
                *("eq", "ne", "gt", "gte", "lt", "lte", "in", "nin"),
                *("and", "or"),
            ],
        },
        "key": {"type": "string"},
        "value": {},
        "filters": {"type": "array", "items": {"type": "object"}},
    },
    "description": "As OpenAI's vector stores have it: a comparison with `key` and "
    "`value`, or `and` and `or` with `filters`.",
}
UPLOAD: dict[str, Any] = {
    "type": "object",
    "required": ["file"],
    "properties": {
        "file": {"type": "string", "format": "binary", "minLength": 1},
        "attributes": {
            "type": "string",
            "description": "A JSON object, written as a text.",
        },
    },
    "additionalProperties": False,
}


def body_of(
    properties: dict[str, Any], required: tuple[str, ...] = ()
) -> dict[Any, Any]:
    """Describe a JSON body."""
    described: dict[str, Any] = {
        "type": "object",
        "properties": properties,
        "additionalProperties": False,
    }
    return {JSON: described | ({"required": list(required)} if required else {})}


def errors(*statuses: int) -> dict[Any, Any]:
    """Give the errors of a route."""
    return {
        (status, JSON): OpenApiResponse(ERROR, description=STATUS[status])
        for status in (*ALWAYS, *statuses)
    }


def success(
    body: Any, status: int = 200, description: str = DONE, media_type: str = JSON
) -> dict[Any, Any]:
    """Give the answer of a route that does what was asked."""
    return {(status, media_type): OpenApiResponse(body, description=description)}


GONE: dict[Any, Any] = {204: OpenApiResponse(description="It is deleted.")}
ONE_COLLECTION = success(object_of(COLLECTION))
BEGUN = success(object_of(COLLECTION), 202, "It is begun.")
ONE_DOCUMENT = success(object_of(DOCUMENT))
TAKEN = success(object_of(DOCUMENT), 202, "It is taken and will be indexed.") | success(
    object_of(DOCUMENT), 200, "The content was there already."
)
NAME = OpenApiParameter(
    "name",
    {"type": "string", "minLength": 1, "maxLength": 100},
    OpenApiParameter.PATH,
    description="The collection's name, percent-encoded.",
)
DOCUMENT_ID = OpenApiParameter(
    "document_id", {"type": "string", "minLength": 1}, OpenApiParameter.PATH
)
OF_DOCUMENT = [NAME, DOCUMENT_ID]


def route(
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
        "tags": TAGS,
        "parameters": parameters or [],
        "request": request,
        "responses": responses,
    }


LIST_COLLECTIONS = route(
    "list_collections",
    "List the collections that the key may read",
    success(object_of({"results": array_of(COLLECTION)})) | errors(),
)
MAKE_COLLECTION = route(
    "make_collection",
    "Make a collection",
    success(object_of(COLLECTION), 201) | errors(404, 409, *WITH_BODY),
    request=body_of(SETTINGS | CHUNKS, required=("name",)),
)
SHOW_COLLECTION = route(
    "show_collection", "Show a collection", ONE_COLLECTION | errors(404), [NAME]
)
CHANGE_COLLECTION = route(
    "change_collection",
    "Change a collection's settings",
    ONE_COLLECTION | errors(404, 409, *WITH_BODY),
    [NAME],
    body_of(SETTINGS),
)
DELETE_COLLECTION = route(
    "delete_collection",
    "Delete a collection with its documents",
    GONE | errors(404),
    [NAME],
)
SEARCH = route(
    "search_collection",
    "Find the chunks that answer a question",
    success(
        {
            "type": "object",
            "required": ["results", "status"],
            "properties": {
                "results": array_of(HIT),
                "status": {"type": "string", "enum": ["hit", "miss", "degraded"]},
                "problem": {"type": "string"},
            },
        }
    )
    | errors(404, *WITH_BODY),
    [NAME],
    body_of(
        {
            "query": {"type": "string", "minLength": 1, "maxLength": 10_000},
            "k": {
                "type": "integer",
                "minimum": 1,
                "maximum": 100,
                "default": 10,
                "description": "How many chunks are given at most.",
            },
            "filters": FILTER,
        },
        required=("query",),
    ),
)
REINDEX = route(
    "reindex_collection",
    "Build another index of a collection, which then serves",
    BEGUN | errors(404, 409, *WITH_BODY),
    [NAME],
    body_of(
        {
            **CHUNKS,
            "model": {"type": "string", "maxLength": 500},
            "precision": {"type": "string", "enum": ["int8", "fp32"]},
        }
    ),
)
CANCEL_REINDEX = route(
    "cancel_reindex",
    "Give up the index that is being built",
    GONE | errors(404, 409),
    [NAME],
)
ROLLBACK = route(
    "rollback_collection",
    "Go back to the index that served before",
    BEGUN | errors(404, 409, *WITH_BODY),
    [NAME],
)
LIST_DOCUMENTS = route(
    "list_documents",
    "List the documents of a collection, the newest first",
    success(object_of({"results": array_of(DOCUMENT), "next": NULLABLE})) | errors(404),
    [NAME, *PAGING],
)
ADD_DOCUMENT = route(
    "add_document",
    "Bring a document",
    TAKEN | errors(*WITH_FILE),
    [NAME],
    {FORM: UPLOAD},
)
SHOW_DOCUMENT = route(
    "show_document", "Show a document", ONE_DOCUMENT | errors(404), OF_DOCUMENT
)
REPLACE_DOCUMENT = route(
    "replace_document",
    "Bring a document anew; the old one is found until the new one is ready",
    TAKEN | errors(*WITH_FILE),
    OF_DOCUMENT,
    {FORM: UPLOAD},
)
CHANGE_DOCUMENT = route(
    "change_document",
    "Put other attributes in the place of a document's",
    ONE_DOCUMENT | errors(404, *WITH_BODY),
    OF_DOCUMENT,
    body_of({"attributes": ATTRIBUTES}, required=("attributes",)),
)
DELETE_DOCUMENT = route(
    "delete_document", "Delete a document", GONE | errors(404), OF_DOCUMENT
)
BINARY: dict[str, Any] = {"type": "string", "format": "binary"}
FILE: dict[Any, Any] = {
    (200, media_type): OpenApiResponse(BINARY, description="The file.")
    for media_type in (UNKNOWN_TYPE, *sorted(HARMLESS))
}
DOCUMENT_FILE = route(
    "download_document",
    "Give the file that was brought last, to be saved",
    FILE | errors(404, 409),
    OF_DOCUMENT,
)
DOCUMENT_TEXT = route(
    "show_document_text",
    "Give a document's text; `start` and `end` of a chunk are places in it",
    success({"type": "string"}, description="The text.", media_type="text/plain")
    | errors(404, 409),
    OF_DOCUMENT,
)
