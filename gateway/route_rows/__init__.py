"""Routes: one for each model that clients ask for, with its deployments, read and set."""

from __future__ import annotations

from gateway.route_rows.reading import (
    CHAT_PATH,
    EMBEDDINGS_PATH,
    DeploymentChange,
    RouteChange,
    RouteDeployment,
    RouteRow,
    matches,
    routes,
)
from gateway.route_rows.writing import delete_route, update_routes

__all__ = [
    "CHAT_PATH",
    "EMBEDDINGS_PATH",
    "DeploymentChange",
    "RouteChange",
    "RouteDeployment",
    "RouteRow",
    "delete_route",
    "matches",
    "routes",
    "update_routes",
]
