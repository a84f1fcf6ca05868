"""Health probes, metrics and routing figures."""

from __future__ import annotations

import asyncio
import hmac
import os
import time
from typing import Any

from django.conf import settings
from django.http import HttpResponse, HttpResponseBase
from drf_spectacular.utils import extend_schema
from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, CollectorRegistry
from prometheus_client.exposition import generate_latest
from prometheus_client.multiprocess import MultiProcessCollector
from rest_framework.request import Request

from gateway import reports
from gateway.auth import bearer, is_local
from gateway.errors import AuthenticationFailed
from gateway.runtime import runtime
from gateway.snapshot import Provider
from gateway.snapshot_store import DATABASE_AWAY
from gateway.views import schema
from gateway.views.base import GatewayView
from gateway.views.rendering import render

FEATURE_OFF = "off"
DATABASE_DEADLINE_S = 2.0  # after which this worker speaks for itself alone


class LiveView(GatewayView):
    """`GET /livez`: the process answers."""

    needs_key = False

    @extend_schema(**schema.PROBE)
    async def get(self, request: Request) -> HttpResponseBase:
        """Say that the event loop turns."""
        return render({"status": "alive"})


class ProbeView(GatewayView):
    """What both probes that say something know."""

    needs_key = False

    def is_draining(self) -> bool:
        """Say whether this worker wants no further requests; it answers those that come."""
        state = self.asgi_request.scope.get("state") or {}
        is_stopping = bool(state.get("is_draining", bool)())
        return is_stopping or runtime.draining_version is not None


class ReadyView(ProbeView):
    """`GET /readyz`: this worker may be sent requests."""

    @extend_schema(**schema.PROBE)
    async def get(self, request: Request) -> HttpResponseBase:
        """Say whether a configuration serves and the worker is not draining.

        A database that is away does not count: one outage would empty the whole pool.
        """
        is_draining = self.is_draining()
        is_ready = runtime.snapshots.is_loaded and not is_draining
        body = {
            "status": "ready" if is_ready else "not ready",
            "draining": is_draining,
            "database": database_state(),
            "problem": problem(),
        }
        return render(body, status=200 if is_ready else 503)


class HealthView(ProbeView):
    """`GET /healthz`: how the gateway and its providers are."""

    @extend_schema(**schema.HEALTH)
    async def get(self, request: Request) -> HttpResponseBase:
        """Sum up from known state; no provider is asked anything."""
        if not runtime.snapshots.is_loaded:
            body: dict[str, Any] = {
                "status": "unhealthy",
                "providers": {},
                "memory": memory_state(),
                "rag": rag_state(),
                "config_version": None,
            }
            return render(body, status=503)
        snapshot = runtime.snapshots.current
        states = reports.breakers(
            snapshot, runtime.dispatcher.live.health, now_s=time.monotonic()
        )
        providers = {
            name: provider_state(provider, states.get(name, {}))
            for name, provider in snapshot.providers.items()
        }
        status, is_own = overall_state(providers), is_local(self.visitor)
        body = {
            "status": status,
            "providers": providers,
            "memory": memory_state(),
            "rag": rag_state(),
            "config_version": snapshot.revision,
            "database": database_state(),
            "draining": self.is_draining(),
            "problem": problem(),
            "memory_problem": memory_problem() if is_own else None,
            "rag_problem": rag_problem() if is_own else None,
            "simulated": snapshot.is_simulated,
        }
        return render(body, status=503 if status == "unhealthy" else 200)


def problem() -> str | None:
    """Say what keeps this worker from serving as it should, in a sentence."""
    version = runtime.draining_version
    if runtime.snapshots.problem is None and version is not None:
        return f"Instances of the version {version} drain: the weight of that version is 0."
    return runtime.snapshots.problem


def memory_problem() -> str | None:
    """Say why memory is not whole, in a sentence; None while it is, or is off."""
    if not settings.ENABLE_MEMORY:
        return None
    if runtime.snapshots.is_database_away:
        return "The database cannot be reached."
    return runtime.memory.problem or None


def memory_state() -> str:
    """Sum up conversation memory: `off`, `ok` or `degraded`, from what is known."""
    if not settings.ENABLE_MEMORY:
        return FEATURE_OFF
    return "ok" if memory_problem() is None else "degraded"


def rag_problem() -> str | None:
    """Say why documents are not whole, in a sentence; None while they are, or are off."""
    if not settings.ENABLE_RAG:
        return None
    if runtime.snapshots.is_database_away:
        return "The database cannot be reached."
    return runtime.retrieving.problem or None


def rag_state() -> str:
    """Sum up documents: `off`, `ok` or `degraded`, from what is known."""
    if not settings.ENABLE_RAG:
        return FEATURE_OFF
    return "ok" if rag_problem() is None else "degraded"


def database_state() -> str:
    """Say whether the database answered last time."""
    return "away" if runtime.snapshots.is_database_away else "up"


def provider_state(provider: Provider, deployments: dict[str, str]) -> str:
    """Sum up a provider: `healthy`, `degraded`, `unhealthy`, or `idle` if unused."""
    if not deployments:
        return "idle"
    if provider.is_credential_unreadable:
        return "unhealthy"  # it is never called
    down = [state in {"open", "cooling"} for state in deployments.values()]
    if all(down):
        return "unhealthy"
    return "degraded" if any(down) else "healthy"


def overall_state(providers: dict[str, str]) -> str:
    """Sum up the gateway: unhealthy only when no provider may serve."""
    used = [state for state in providers.values() if state != "idle"]
    if used and all(state == "unhealthy" for state in used):
        return "unhealthy"
    is_well = bool(used) and all(state == "healthy" for state in used)
    return "healthy" if is_well and problem() is None else "degraded"


class RoutingStatsView(GatewayView):
    """`GET /api/routing/stats`."""

    @extend_schema(**schema.ROUTING_STATS)
    async def get(self, request: Request) -> HttpResponseBase:
        """Give each provider's figures, summed over all workers."""
        try:
            async with asyncio.timeout(DATABASE_DEADLINE_S):
                others = await runtime.in_database(
                    lambda: reports.other_reports(worker=runtime.pulse.worker)
                )
            is_complete = True
        except DATABASE_AWAY:
            others, is_complete = [], False
        stats = reports.routing_stats(
            runtime.snapshots.current, runtime.report(), others
        )
        return render({**stats, "complete": is_complete})


class MetricsView(GatewayView):
    """`GET /metrics`: Prometheus, summed over all workers."""

    needs_key = False
    schema = None

    async def get(self, request: Request) -> HttpResponseBase:
        """Write the metrics; for this machine, or with AILB_METRICS_TOKEN."""
        self._check_access()
        return HttpResponse(
            generate_latest(registry()), content_type=CONTENT_TYPE_LATEST
        )

    def _check_access(self) -> None:
        token = settings.AILB_METRICS_TOKEN
        given = bearer(self.visitor.headers)
        if token and hmac.compare_digest(given.encode(), token.encode()):
            return
        if token or not is_local(self.visitor):
            raise AuthenticationFailed(
                "Metrics are for this machine only, or with 'Authorization: Bearer' and "
                "the operator's AILB_METRICS_TOKEN."
            )


def registry() -> CollectorRegistry:
    """Find what to write: this process's metrics, or those of all workers."""
    if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
        return REGISTRY
    merged = CollectorRegistry()
    MultiProcessCollector(merged)  # type: ignore[no-untyped-call]
    return merged
