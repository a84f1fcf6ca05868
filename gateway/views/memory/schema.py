"""OpenAPI of `/api/memory`."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import OpenApiParameter, OpenApiResponse

from gateway.views.management.schema import PAGING
from gateway.views.schema import ERROR, JSON, TEXT_OR_PARTS

TAGS = ["memory"]
STATUS = {
    400: "The request is malformed; `param` names the field.",
    401: "The key is missing or not valid.",
    403: "The key lacks the right `memory`, or its policy keeps no sessions.",
    404: "The key's tenant has no such session.",
    413: "The body is too large.",
    415: "The body is not declared as JSON.",
    503: "Memory is switched off, or cannot be reached now; see `code`.",
}
ALWAYS = (400, 401, 403, 503)
WITH_BODY = (413, 415)
MAX_TURNS = 1000

TIME: dict[str, Any] = {"type": "string", "format": "date-time"}
NULLABLE: dict[str, Any] = {"type": "string", "nullable": True}
ROLE: dict[str, Any] = {"type": "string", "enum": ["user", "assistant", "tool"]}
SESSION: dict[str, Any] = {
    "session_id": {"type": "string"},
    "owner": {
        "type": "string",
        "description": "Public id of the key that began it; empty: no key.",
    },
    "turns": {"type": "integer", "description": "All of them, left branches too."},
    "created": TIME,
    "last_used": TIME,
    "expires": {**TIME, "nullable": True},
}
TURN: dict[str, Any] = {
    "id": {"type": "string"},
    "external_id": NULLABLE,
    "role": ROLE,
    "content": {"type": "string"},
    "created": TIME,
}
STORED_TURN: dict[str, Any] = {
    **TURN,
    "seq": {"type": "integer"},
    "model": NULLABLE,
    "request_id": NULLABLE,
    "tokens": {"type": "integer", "description": "Estimated."},
    "partial": {"type": "boolean", "description": "The answer broke off."},
    "superseded": {
        "type": "boolean",
        "description": "It is of a branch that was left.",
    },
}
HIT: dict[str, Any] = {
    **TURN,
    "score": {"type": "number"},
    "score_parts": {
        "type": "object",
        "additionalProperties": {"type": "number", "nullable": True},
        "description": "`dense`: cosine similarity, and `keyword`: BM25, each from 0 to "
        "1 within the session; `fused`: their mean; `smoothed`: with the turns beside it.",
    },
}


def object_of(properties: dict[str, Any], **more: Any) -> dict[str, Any]:
    """Describe an object all of whose fields are always there."""
    together = {**properties, **more}
    return {"type": "object", "required": list(together), "properties": together}


def array_of(properties: dict[str, Any]) -> dict[str, Any]:
    """Describe a list of such objects."""
    return {"type": "array", "items": object_of(properties)}


def answers(body: dict[str, Any], *statuses: int) -> dict[Any, Any]:
    """Give the answers of a route: its success and its errors."""
    return {(200, JSON): OpenApiResponse(body, description="Success.")} | {
        (status, JSON): OpenApiResponse(ERROR, description=STATUS[status])
        for status in (*ALWAYS, *statuses)
    }


SESSION_ID = OpenApiParameter(
    "session_id",
    {"type": "string", "minLength": 1, "maxLength": 256},
    OpenApiParameter.PATH,
    description="As the chat's `session_id`, percent-encoded.",
)
LIMIT, AFTER = PAGING
NEW_TURN: dict[str, Any] = {
    "type": "object",
    "required": ["role", "content"],
    "properties": {
        "role": ROLE,
        "content": TEXT_OR_PARTS,
        "created": {
            "oneOf": [TIME, {"type": "number"}],
            "description": "ISO 8601, or seconds since 1970. Default: now.",
        },
        "external_id": {
            "type": "string",
            "maxLength": 200,
            "description": "Its id elsewhere: the same one again changes nothing.",
        },
    },
    "additionalProperties": False,
}

LIST: dict[str, Any] = {
    "operation_id": "list_sessions",
    "summary": "List the sessions, the last used first",
    "tags": TAGS,
    "parameters": [LIMIT, AFTER],
    "responses": answers(
        object_of({"results": array_of(SESSION), "next": NULLABLE}),
    ),
}
DELETE_MANY: dict[str, Any] = {
    "operation_id": "delete_sessions",
    "summary": "Delete the sessions of a key, or all of the tenant",
    "tags": TAGS,
    "parameters": [
        OpenApiParameter(
            "owner",
            {"type": "string", "minLength": 1, "maxLength": 256},
            description="Public id of the key that began them.",
        ),
        OpenApiParameter(
            "all", {"type": "string", "enum": ["true"]}, description="Instead of owner."
        ),
    ],
    "responses": answers(object_of({"deleted": {"type": "integer"}})),
}
SHOW: dict[str, Any] = {
    "operation_id": "show_session",
    "summary": "Show a session with its turns",
    "tags": TAGS,
    "parameters": [
        SESSION_ID,
        OpenApiParameter(
            "after_seq",
            {"type": "integer", "minimum": 0, "default": 0},
            description="What `next` of the last page said.",
        ),
        LIMIT,
        OpenApiParameter(
            "superseded",
            {"type": "boolean", "default": False},
            description="Whether turns of branches that were left are shown, too.",
        ),
    ],
    "responses": answers(
        object_of(
            SESSION,
            turns=array_of(STORED_TURN),
            next={"type": "integer", "nullable": True},
        ),
        404,
    ),
}
DELETE: dict[str, Any] = {
    "operation_id": "delete_session",
    "summary": "Delete a session",
    "tags": TAGS,
    "parameters": [SESSION_ID],
    "responses": answers(
        object_of(
            {
                "session_id": {"type": "string"},
                "deleted": {"type": "boolean", "enum": [True]},
            }
        ),
        404,
    ),
}
IMPORT: dict[str, Any] = {
    "operation_id": "import_turns",
    "summary": "Add turns to a session, which is made if it is missing",
    "tags": TAGS,
    "parameters": [SESSION_ID],
    "request": {
        JSON: {
            "type": "object",
            "required": ["turns"],
            "properties": {
                "turns": {
                    "type": "array",
                    "minItems": 1,
                    "maxItems": MAX_TURNS,
                    "items": NEW_TURN,
                }
            },
            "additionalProperties": False,
        }
    },
    "responses": answers(
        object_of(
            SESSION,
            added={"type": "integer", "description": "New turns."},
            known={
                "type": "integer",
                "description": "Those whose external_id was there already.",
            },
            waiting={
                "type": "integer",
                "description": "New ones without a vector yet; keywords find them.",
            },
        ),
        *WITH_BODY,
        404,
    ),
}
SEARCH: dict[str, Any] = {
    "operation_id": "search_session",
    "summary": "Find the turns that have most to do with a text",
    "tags": TAGS,
    "parameters": [SESSION_ID],
    "request": {
        JSON: {
            "type": "object",
            "required": ["query"],
            "properties": {
                "query": {"type": "string", "minLength": 1, "maxLength": 10_000},
                "k": {
                    "type": "integer",
                    "minimum": 1,
                    "maximum": 100,
                    "default": 10,
                    "description": "How many turns are given at most.",
                },
            },
            "additionalProperties": False,
        }
    },
    "responses": answers(object_of({"results": array_of(HIT)}), 404, *WITH_BODY),
}
EXPORT: dict[str, Any] = {
    "operation_id": "export_session",
    "summary": "Give everything that is kept of a session",
    "tags": TAGS,
    "parameters": [SESSION_ID],
    "responses": answers(
        {
            **object_of(SESSION, turns=array_of(STORED_TURN)),
            "additionalProperties": True,
        },
        404,
    ),
}
