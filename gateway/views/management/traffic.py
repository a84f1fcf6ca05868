"""How traffic is split over versions, and what was done to it, as JSON."""

from __future__ import annotations

from typing import Any

from django.http import HttpResponseBase
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.request import Request

from gateway import traffic
from gateway.models import Promotion, TrafficChange
from gateway.views.management.base import ManagementView, page_size
from gateway.views.management.schema import TAGS, errors, success
from gateway.views.rendering import render

MOMENT = {"type": "string", "format": "date-time"}
PERCENT = {"type": "integer", "minimum": 0, "maximum": 100}
PROMOTION: dict[str, Any] = {
    "type": "object",
    "nullable": True,
    "description": "The promotion in steps that runs, if one does.",
    "required": ["version", "step_percent", "started_at", "next_step_at"],
    "properties": {
        "version": {"type": "string"},
        "step_percent": {"type": "integer", "minimum": 1, "maximum": 100},
        "started_at": MOMENT,
        "next_step_at": MOMENT,
    },
}
CHANGE: dict[str, Any] = {
    "type": "object",
    "required": ["id", "at", "action", "version", "active_version", "weights"],
    "properties": {
        "id": {"type": "integer"},
        "at": MOMENT,
        "action": {"type": "string"},
        "version": {"type": "string"},
        "active_version": {"type": "string"},
        "previous_version": {"type": "string"},
        "weights": {"type": "object", "additionalProperties": PERCENT},
        "reason": {"type": "string"},
    },
}
STANDING: dict[str, Any] = {
    "type": "object",
    "required": [
        "active_version",
        "previous_version",
        "versions",
        "promotion",
        "history",
    ],
    "properties": {
        "active_version": {"type": "string"},
        "previous_version": {"type": "string", "nullable": True},
        "versions": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["version", "weight", "draining"],
                "properties": {
                    "version": {"type": "string"},
                    "weight": PERCENT,
                    "draining": {"type": "boolean"},
                },
            },
        },
        "promotion": PROMOTION,
        "history": {"type": "array", "items": CHANGE},
    },
}
SCHEMA: dict[str, Any] = {
    "operation_id": "traffic",
    "summary": "How traffic is split over versions, and what was done to it",
    "tags": TAGS,
    "parameters": [
        OpenApiParameter(
            "limit",
            {"type": "integer", "minimum": 1, "maximum": 1000, "default": 100},
            description="How many of the last changes the history may hold.",
        )
    ],
    "responses": success(STANDING) | errors(),
}


class TrafficView(ManagementView):
    """`GET /api/traffic`."""

    @extend_schema(**SCHEMA)
    async def get(self, request: Request) -> HttpResponseBase:
        """Show every version's weight, the promotion that runs, and the last changes."""
        limit = page_size(self.query(("limit",)).get("limit"))
        return render(await self.in_database(lambda: shown(limit)))


def shown(limit: int) -> dict[str, Any]:
    """Read what the route shows."""
    standing = traffic.standing()
    promotion = standing.promotion
    return {
        "active_version": standing.active_version,
        "previous_version": standing.previous_version or None,
        "versions": [
            {
                "version": version,
                "weight": weight,
                "draining": version in standing.draining,
            }
            for version, weight in standing.weights.items()
        ],
        "promotion": None if promotion is None else shown_promotion(promotion),
        "history": [shown_change(change) for change in traffic.history(limit)],
    }


def shown_promotion(row: Promotion) -> dict[str, Any]:
    """Show a promotion that runs."""
    return {
        "version": row.version,
        "step_percent": row.step_percent,
        "started_at": row.started_at.isoformat(),
        "next_step_at": row.next_step_at.isoformat(),
    }


def shown_change(row: TrafficChange) -> dict[str, Any]:
    """Show one row of the history."""
    return {
        "id": row.pk,
        "at": row.at.isoformat(),
        "action": row.action,
        "version": row.version,
        "active_version": row.active_version,
        "previous_version": row.previous_version,
        "weights": row.weights,
        "reason": row.reason,
    }
