"""Database rows of the gateway."""

from __future__ import annotations

from gateway.models.configuration import Deployment, Model, Provider, RoutingStrategy
from gateway.models.state import ConfigRevision, Heartbeat, Lease

__all__ = [
    "ConfigRevision",
    "Deployment",
    "Heartbeat",
    "Lease",
    "Model",
    "Provider",
    "RoutingStrategy",
]
