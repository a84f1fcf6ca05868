"""Database rows of the gateway."""

from __future__ import annotations

from gateway.models.access import ApiKey, ApiKeyUse, KeyPepper, Tenant
from gateway.models.configuration import Deployment, Model, Provider
from gateway.models.quotas import Budget, BudgetNotice, BudgetSpend, Limit
from gateway.models.state import (
    ConfigRevision,
    Heartbeat,
    Installation,
    Lease,
    StatisticsReset,
)
from gateway.models.strategy import RoutingStrategy
from gateway.models.traffic import (
    Promotion,
    TrafficChange,
    TrafficPolicy,
    VersionWeight,
)
from gateway.models.usage import UsageRecord, UsageRollup

__all__ = [
    "ApiKey",
    "ApiKeyUse",
    "Budget",
    "BudgetNotice",
    "BudgetSpend",
    "ConfigRevision",
    "Deployment",
    "Heartbeat",
    "Installation",
    "KeyPepper",
    "Lease",
    "Limit",
    "Model",
    "Promotion",
    "Provider",
    "RoutingStrategy",
    "StatisticsReset",
    "Tenant",
    "TrafficChange",
    "TrafficPolicy",
    "UsageRecord",
    "UsageRollup",
    "VersionWeight",
]
