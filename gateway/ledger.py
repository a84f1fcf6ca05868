"""What a request leaves behind: metrics and one log line."""

from __future__ import annotations

import logging
from dataclasses import dataclass

from gateway import metrics
from gateway.dialects.record import Usage
from gateway.errors import AilbError, AllAttemptsFailed
from gateway.kinds import FaultDomain, Operation
from gateway.routing.rules import RULES

logger = logging.getLogger(__name__)

NONE = "none"
CLIENT_LEFT = 499  # nginx's status for a client that closed the connection
UNKNOWN_MODEL = "unknown"  # clients must not be able to make time series


@dataclass(slots=True)
class Entry:
    """One request's books.

    `model` and `provider` are configured names, never a client's own words; times are
    seconds; `usage` is None when no provider was reached.
    """

    request_id: str
    operation: Operation
    tenant: str = NONE
    model: str = UNKNOWN_MODEL
    provider: str = NONE
    upstream_model: str = NONE
    strategy: str = NONE
    attempts: int = 0
    is_stream: bool = False
    is_partial: bool = False
    status: int = 200
    code: str | None = None
    domain: FaultDomain | None = None
    usage: Usage | None = None
    duration_s: float = 0.0
    first_content_s: float | None = None

    def failed(self, error: AilbError) -> None:
        """Note what the client is told."""
        self.status, self.code = error.status, error.code
        self.domain = (
            RULES[error.fault].domain
            if isinstance(error, AllAttemptsFailed)
            else error.domain
        )

    def client_left(self) -> None:
        """Note that nobody waits for the answer any more."""
        self.status, self.code = CLIENT_LEFT, "client_left"
        self.domain = FaultDomain.CALLER
        self.is_partial = True


def settle(entry: Entry) -> None:
    """Close a request's books: metrics and one log line, without prompt or key."""
    labels = (entry.operation, entry.model, entry.provider)
    metrics.REQUESTS.labels(*labels, entry.status).inc()
    metrics.REQUEST_DURATION.labels(*labels).observe(entry.duration_s)
    if entry.domain is not None:
        metrics.REQUEST_FAILURES.labels(*labels, entry.domain, entry.code or NONE).inc()
    if entry.first_content_s is not None:
        metrics.TIME_TO_FIRST_TOKEN.labels(entry.model, entry.provider).observe(
            entry.first_content_s
        )
    if entry.usage is not None:
        count_tokens(entry.usage, entry.model, entry.provider)
    if logger.isEnabledFor(logging.INFO):
        logger.info("request", extra=line_of(entry))


def count_tokens(usage: Usage, model: str, provider: str) -> None:
    """Add a request's tokens to the counters."""
    for kind, tokens in (
        ("input", usage.input_tokens),
        ("cache_read", usage.cache_read_tokens),
        ("cache_write", usage.cache_write_tokens),
        ("output", usage.output_tokens),
        ("reasoning", usage.reasoning_tokens),
    ):
        if tokens:
            metrics.TOKENS.labels(model, provider, kind).inc(tokens)


def line_of(entry: Entry) -> dict[str, object]:
    """Give the fields of a request's log line."""
    usage = entry.usage
    return {
        "request_id": entry.request_id,
        "operation": entry.operation,
        "tenant": entry.tenant,
        "model": entry.model,
        "provider": entry.provider,
        "upstream_model": entry.upstream_model,
        "strategy": entry.strategy,
        "attempts": entry.attempts,
        "stream": entry.is_stream,
        "partial": entry.is_partial,
        "status": entry.status,
        "code": entry.code,
        "fault_domain": entry.domain,
        "input_tokens": usage.prompt_tokens if usage else None,
        "output_tokens": usage.output_tokens if usage else None,
        "usage_estimated": usage.is_estimated if usage else None,
        "duration_ms": round(entry.duration_s * 1000, 2),
        "ttft_ms": None
        if entry.first_content_s is None
        else round(entry.first_content_s * 1000, 2),
    }
