"""OpenAPI of `/api`: what the rows' routes accept and answer, and the routes of usage."""

from __future__ import annotations

from typing import Any

from drf_spectacular.openapi import AutoSchema
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, inline_serializer
from rest_framework import serializers
from typing_extensions import override

from gateway.views.management.resources import KEYS, Resource
from gateway.views.schema import ERROR, JSON

TAGS = ["management"]
STATUS = {
    400: "The request is malformed; `param` names the field.",
    401: "The key is missing or not valid.",
    403: "The key lacks the management right that this takes.",
    404: "There is no such row.",
    409: "Another row, or whoever owns this one, does not allow it.",
    413: "The body is too large.",
    415: "The body is not declared as JSON.",
    503: "The database does not answer; see Retry-After.",
}
ALWAYS = (400, 401, 403, 503)
WITH_BODY = (409, 413, 415)
VERBS = {
    "GET": "Show",
    "POST": "Make",
    "PATCH": "Change",
    "DELETE": "Delete",
}
DELETED: dict[str, Any] = {
    "type": "object",
    "required": ["id", "deleted"],
    "properties": {
        "id": {"type": "string"},
        "deleted": {"type": "boolean", "enum": [True]},
    },
}
PAGING = [
    OpenApiParameter(
        "limit",
        {"type": "integer", "minimum": 1, "maximum": 1000, "default": 100},
        description="How many rows an answer may hold.",
    ),
    OpenApiParameter(
        "after",
        {"type": "string"},
        description="What `next` of the last page said; with CSV, its x-ailb-next.",
    ),
]


CSV = "text/csv"
WHOSE = [
    OpenApiParameter(name, str, description=f"Only those of this {name}.")
    for name in ("tenant", "key", "model", "provider")
]
SPAN = [
    OpenApiParameter(
        "from",
        str,
        description="Date or time in UTC. Default: six days before `to`, from midnight.",
    ),
    OpenApiParameter(
        "to", str, description="Date or time in UTC, not included. Default: now."
    ),
]
FORMAT = OpenApiParameter("format", str, enum=["json", "csv"])
SUMS: dict[str, Any] = {
    "type": "object",
    "required": ["requests", "total_tokens", "cost_usd"],
    "properties": {
        "requests": {"type": "integer"},
        "failed_requests": {"type": "integer"},
        "partial_requests": {"type": "integer"},
        "unpriced_requests": {
            "type": "integer",
            "description": "Their price is unknown: cost_usd leaves them out.",
        },
        "prompt_tokens": {"type": "integer"},
        "completion_tokens": {"type": "integer"},
        "total_tokens": {"type": "integer"},
        "cost_usd": {"type": "number"},
        "avg_latency_ms": {"type": "number", "nullable": True},
        "avg_ttft_ms": {"type": "number", "nullable": True},
    },
    "additionalProperties": True,
}
REPORT: dict[str, Any] = {
    "type": "object",
    "required": ["results", "totals", "from", "to", "group_by", "as_of"],
    "properties": {
        "results": {"type": "array", "items": SUMS},
        "totals": SUMS,
        "from": {"type": "string", "format": "date-time"},
        "to": {"type": "string", "format": "date-time"},
        "group_by": {"type": "array", "items": {"type": "string"}},
        "as_of": {"type": "string", "format": "date-time"},
    },
}
RECORD: dict[str, Any] = {
    "type": "object",
    "required": ["id", "at", "request_id", "tenant", "api_key", "model", "cost_usd"],
    "properties": {
        "id": {"type": "integer"},
        "at": {"type": "string", "format": "date-time"},
        "request_id": {"type": "string"},
        "tenant": {"type": "string"},
        "api_key": {"type": "string", "description": "Public id of the key."},
        "model": {"type": "string"},
        "provider": {"type": "string"},
        "cost_usd": {"type": "number", "nullable": True},
    },
    "additionalProperties": True,
}
RECORDS: dict[str, Any] = {
    "type": "object",
    "required": ["results", "next"],
    "properties": {
        "results": {"type": "array", "items": RECORD},
        "next": {"type": "string", "nullable": True},
    },
}


def errors(*statuses: int) -> dict[Any, Any]:
    """Give the error answers of a route."""
    return {
        (status, JSON): OpenApiResponse(ERROR, description=STATUS[status])
        for status in (*ALWAYS, *statuses)
    }


def success(body: Any, *, status: int = 200) -> dict[Any, Any]:
    """Give the answer of a route that does what was asked."""
    return {(status, JSON): OpenApiResponse(body, description="Success.")}


class ResourceSchema(AutoSchema):
    """Describes the routes of any `Resource` from its serialiser."""

    @property
    def resource(self) -> Resource:
        """Give what the view is of."""
        resource: Resource = vars(self.view)["resource"]  # from the URL table
        return resource

    @property
    def is_list(self) -> bool:
        """Say whether the route is that of all rows."""
        return "{" not in self.path

    @override
    def get_operation_id(self) -> str:
        """Name it as the summary does; a list of models is `/v1`'s."""
        if self.is_list and self.method == "GET":
            return f"list_{self.resource.noun}_rows"
        return f"{VERBS[self.method].lower()}_{self.resource.noun}"

    @override
    def get_summary(self) -> str:
        """Say what it does in two words."""
        if self.is_list and self.method == "GET":
            return f"List {self.resource.path}"
        return f"{VERBS[self.method]} a {self.resource.noun}"

    @override
    def get_tags(self) -> list[str]:
        """Put all of them together."""
        return TAGS

    @override
    def get_override_parameters(self) -> list[Any]:
        """Say what names a row, or how a list is read."""
        if not self.is_list:
            kind = (
                {"type": "integer", "minimum": 1}
                if self.resource.is_numbered
                else {"type": "string", "minLength": 1}
            )
            return [OpenApiParameter("row_id", kind, OpenApiParameter.PATH)]
        if self.method != "GET":
            return []
        filters = [
            OpenApiParameter(name, str, description=f"Only those of this {name}.")
            for name in self.resource.filters
        ]
        return [*filters, *PAGING]

    @override
    def get_request_serializer(self) -> Any:
        """Describe the body, of those that have one."""
        has_body = self.method in {"POST", "PATCH"}
        return {JSON: self.resource.serializer} if has_body else None

    @override
    def get_response_serializers(self) -> Any:
        """Describe success and errors."""
        resource = self.resource
        match self.method, self.is_list:
            case "GET", True:
                return success(page_of(resource)) | errors()
            case "POST", _:
                made = resource.made_serializer or resource.serializer
                return success(made, status=201) | errors(*WITH_BODY)
            case "PATCH", _:
                return success(resource.serializer) | errors(404, *WITH_BODY)
            case "DELETE", _:
                return success(DELETED) | errors(404, 409)
            case _:
                return success(resource.serializer) | errors(404)


def page_of(resource: Resource) -> Any:
    """Describe one page of a list."""
    return inline_serializer(
        f"PageOf{resource.path.title()}",
        {
            "results": resource.serializer(many=True),
            "next": serializers.CharField(
                allow_null=True, help_text="For `after`; null on the last page."
            ),
        },
    )


def rotation(request: type[serializers.Serializer[None]]) -> dict[str, Any]:
    """Describe the rotation of a key."""
    return {
        "operation_id": "rotate_key",
        "summary": "Rotate a key",
        "tags": TAGS,
        "parameters": [
            OpenApiParameter(
                "row_id", {"type": "string", "minLength": 1}, OpenApiParameter.PATH
            )
        ],
        "request": {JSON: request},
        "responses": success(KEYS.made_serializer) | errors(404, *WITH_BODY),
    }


TABLE = {(200, CSV): OpenApiResponse(str, description="With `format=csv`: a file.")}
USAGE: dict[str, Any] = {
    "operation_id": "usage",
    "summary": "What was used and what it cost, summed",
    "tags": TAGS,
    "parameters": [
        *SPAN,
        OpenApiParameter(
            "group_by",
            str,
            description="With commas: key, tenant, model, provider, day, hour. Default: "
            "day. Empty: one sum of all.",
        ),
        *WHOSE,
        FORMAT,
    ],
    "responses": success(REPORT) | TABLE | errors(),
}
USAGE_RECORDS: dict[str, Any] = {
    "operation_id": "usage_records",
    "summary": "Single requests, the newest first",
    "tags": TAGS,
    "parameters": [
        *SPAN,
        *WHOSE,
        FORMAT,
        *PAGING,
    ],
    "responses": success(RECORDS) | TABLE | errors(),
}
