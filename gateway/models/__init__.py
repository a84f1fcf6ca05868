"""Database rows of the gateway."""

from __future__ import annotations

from gateway.models.configuration import Deployment, Model, Provider
from gateway.models.state import ConfigRevision, Heartbeat, Lease
from gateway.models.strategy import RoutingStrategy

__all__ = [
    "ConfigRevision",
    "Deployment",
    "Heartbeat",
    "Lease",
    "Model",
    "Provider",
    "RoutingStrategy",
]
