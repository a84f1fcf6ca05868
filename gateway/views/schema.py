"""OpenAPI of the data plane: what the views accept and answer, as drf-spectacular has it."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import OpenApiParameter, OpenApiResponse

JSON = "application/json"

TEXT_OR_PARTS = {
    "oneOf": [
        {"type": "string"},
        {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["type"],
                "properties": {"type": {"type": "string"}},
                "additionalProperties": True,
            },
        },
    ]
}
MESSAGE = {
    "type": "object",
    "required": ["role"],
    "properties": {
        "role": {
            "type": "string",
            "enum": ["system", "developer", "user", "assistant", "tool", "function"],
        },
        "content": {**TEXT_OR_PARTS, "nullable": True},
        "tool_calls": {"type": "array", "items": {"type": "object"}},
        "tool_call_id": {"type": "string"},
    },
    "additionalProperties": True,
}
CHAT_REQUEST: dict[str, Any] = {
    "type": "object",
    "required": ["model", "messages"],
    "properties": {
        "model": {
            "type": "string",
            "minLength": 1,
            "maxLength": 256,
            "description": "A name from GET /v1/models; `auto` lets AILB choose.",
        },
        "messages": {"type": "array", "minItems": 1, "items": MESSAGE},
        "stream": {"type": "boolean", "default": False},
        "stream_options": {
            "type": "object",
            "properties": {"include_usage": {"type": "boolean"}},
        },
        "temperature": {"type": "number", "minimum": 0, "maximum": 2},
        "top_p": {"type": "number", "minimum": 0, "maximum": 1},
        "frequency_penalty": {"type": "number", "minimum": -2, "maximum": 2},
        "presence_penalty": {"type": "number", "minimum": -2, "maximum": 2},
        "max_tokens": {"type": "integer", "minimum": 0},
        "max_completion_tokens": {"type": "integer", "minimum": 0},
        "n": {"type": "integer", "minimum": 1, "maximum": 128},
        "seed": {"type": "integer"},
        "stop": {
            "oneOf": [
                {"type": "string"},
                {"type": "array", "maxItems": 4, "items": {"type": "string"}},
            ]
        },
        "tools": {"type": "array", "items": {"type": "object"}},
        "tool_choice": {"oneOf": [{"type": "string"}, {"type": "object"}]},
        "parallel_tool_calls": {"type": "boolean"},
        "response_format": {"type": "object"},
        "reasoning_effort": {"type": "string"},
        "logprobs": {"type": "boolean"},
        "top_logprobs": {"type": "integer", "minimum": 0, "maximum": 20},
        "user": {"type": "string"},
        "session_id": {
            "type": "string",
            "minLength": 1,
            "maxLength": 256,
            "description": "The conversation this belongs to. AILB's own field.",
        },
        "rag_collection": {
            "oneOf": [
                {"type": "string"},
                {"type": "array", "items": {"type": "string"}},
            ],
            "description": "Collections to answer from: a name, several with commas "
            "between, or a list. Any key that may read a collection may name it here; "
            "the right to documents is not needed. The answer tells its sources. AILB's "
            "own field.",
        },
        "rag_top_k": {
            "type": "integer",
            "minimum": 1,
            "maximum": 20,
            "description": "Passages to add at most; without it, what the collection "
            "says. Needs rag_collection. AILB's own field.",
        },
        "rag_filters": {
            "type": "object",
            "additionalProperties": True,
            "description": "Which documents to answer from, by their attributes: the "
            "filters of OpenAI's vector stores. Needs rag_collection. AILB's own field.",
        },
    },
    "additionalProperties": True,
}
EMBEDDINGS_REQUEST: dict[str, Any] = {
    "type": "object",
    "required": ["model", "input"],
    "properties": {
        "model": {"type": "string", "minLength": 1, "maxLength": 256},
        "input": {
            "oneOf": [
                {"type": "string"},
                {"type": "array", "minItems": 1, "items": {"type": "string"}},
                {"type": "array", "minItems": 1, "items": {"type": "integer"}},
                {
                    "type": "array",
                    "minItems": 1,
                    "items": {"type": "array", "items": {"type": "integer"}},
                },
            ]
        },
        "dimensions": {"type": "integer", "minimum": 1},
        "encoding_format": {"type": "string", "enum": ["float", "base64"]},
        "user": {"type": "string"},
    },
    "additionalProperties": True,
}
ERROR: dict[str, Any] = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["message", "type", "param", "code"],
            "properties": {
                "message": {"type": "string"},
                "type": {"type": "string"},
                "param": {"type": "string", "nullable": True},
                "code": {"type": "string", "nullable": True},
            },
        }
    },
}
MODEL_OBJECT: dict[str, Any] = {
    "type": "object",
    "required": ["id", "object", "created", "owned_by"],
    "properties": {
        "id": {"type": "string"},
        "object": {"type": "string", "enum": ["model"]},
        "created": {"type": "integer"},
        "owned_by": {"type": "string"},
    },
}
MODEL_LIST: dict[str, Any] = {
    "type": "object",
    "required": ["object", "data"],
    "properties": {
        "object": {"type": "string", "enum": ["list"]},
        "data": {"type": "array", "items": MODEL_OBJECT},
    },
}
EVENT: dict[str, Any] = {
    "type": "object",
    "description": "One server-sent event; `data` is a chunk as JSON, or [DONE].",
    "properties": {"data": {"type": "string"}},
}
ANSWER: dict[str, Any] = {"type": "object", "additionalProperties": True}

STATUS = {
    400: "The request is malformed; `param` names the field.",
    401: "The key is missing or not valid.",
    403: "The key may not do this.",
    404: "No such model.",
    408: "The provider timed out while it read the request.",
    409: "The provider reports a conflict.",
    413: "The body is too large.",
    415: "The body is not declared as JSON.",
    422: "The provider cannot process the request.",
    425: "The provider asks to try again.",
    429: "A limit of AILB or of the providers is reached, or a budget is spent.",
    500: "An error inside the gateway.",
    502: "The providers failed.",
    503: "No provider can be tried now; see Retry-After.",
    504: "The providers did not answer in time.",
}
SESSION_HEADER = OpenApiParameter(
    "X-Session-ID",
    {"type": "string", "maxLength": 256},
    OpenApiParameter.HEADER,
    description="The same as the field session_id.",
)


def answers(body: dict[str, Any], *statuses: int) -> dict[Any, Any]:
    """Give the responses of a route: its success and its errors."""
    responses: dict[Any, Any] = {
        (200, JSON): OpenApiResponse(body, description="Success.")
    }
    for status in statuses:
        responses[(status, JSON)] = OpenApiResponse(ERROR, description=STATUS[status])
    return responses


INFERENCE_ERRORS = tuple(STATUS)
CHAT: dict[str, Any] = {
    "operation_id": "create_chat_completion",
    "summary": "Answer a chat; with `stream`, as server-sent events",
    "tags": ["inference"],
    "parameters": [SESSION_HEADER],
    "request": {JSON: CHAT_REQUEST},
    "responses": {
        **answers(ANSWER, *INFERENCE_ERRORS),
        (404, JSON): OpenApiResponse(
            ERROR, description="No such model, or no such collection for this key."
        ),
        (200, "text/event-stream"): OpenApiResponse(
            EVENT, description="With `stream`: chunks as events, then [DONE]."
        ),
    },
}
EMBEDDINGS: dict[str, Any] = {
    "operation_id": "create_embeddings",
    "summary": "Turn texts into vectors",
    "tags": ["inference"],
    "request": {JSON: EMBEDDINGS_REQUEST},
    "responses": answers(ANSWER, *INFERENCE_ERRORS),
}
MODELS: dict[str, Any] = {
    "operation_id": "list_models",
    "summary": "List the models",
    "tags": ["inference"],
    "responses": answers(MODEL_LIST, 401, 503),
}
MODEL: dict[str, Any] = {
    "operation_id": "retrieve_model",
    "summary": "Show one model",
    "tags": ["inference"],
    "parameters": [OpenApiParameter("model_id", str, OpenApiParameter.PATH)],
    "responses": answers(MODEL_OBJECT, 400, 401, 404, 503),
}
PROBE: dict[str, Any] = {
    "summary": "Probe for orchestrators",
    "tags": ["health"],
    "responses": answers(ANSWER, 503),
}
HEALTH: dict[str, Any] = {
    "operation_id": "health",
    "summary": "How the gateway and its providers are",
    "tags": ["health"],
    "responses": answers(ANSWER, 503),
}
ROUTING_STATS: dict[str, Any] = {
    "operation_id": "routing_stats",
    "summary": "Figures of each provider, summed over all workers",
    "tags": ["routing"],
    "responses": answers(ANSWER, 401, 503),
}


def require_bodies(result: dict[str, Any], **_: object) -> dict[str, Any]:
    """Say that a described body must be sent: drf-spectacular leaves that open."""
    for operations in result["paths"].values():
        for operation in operations.values():
            if "requestBody" in operation:
                operation["requestBody"]["required"] = True
    return result
