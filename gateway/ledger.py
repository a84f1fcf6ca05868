"""What a request leaves behind: a line for the ledger, metrics and one log line."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import date
from itertools import count

import orjson

from gateway import metrics
from gateway.access import NANO_PER_USD
from gateway.dialects.record import Usage
from gateway.errors import AilbError, AllAttemptsFailed
from gateway.kinds import FaultDomain, Operation
from gateway.process_figures import ProcessFigures, ProviderCounts
from gateway.routing.rules import RULES
from gateway.snapshot import Deployment
from gateway.spool import Spool

logger = logging.getLogger(__name__)

NONE = "none"
CLIENT_LEFT = 499  # nginx's status for a client that closed the connection
UNKNOWN_MODEL = "unknown"  # clients must not be able to make time series


@dataclass(slots=True)
class Entry:
    """One request's books.

    `model` is a configured name, never a client's own words; times are seconds, `at_s` is
    unix time. `usage` is None when no provider said anything. `cost_nano_usd` is None
    when the price is unknown. `budgets` are the sums that the cost belongs to: budget id
    and first day of the period.
    """

    request_id: str
    operation: Operation
    at_s: float
    tenant: str = NONE
    api_key: str = ""
    model: str = UNKNOWN_MODEL
    deployment: Deployment | None = None
    strategy: str = NONE
    attempts: int = 0
    is_stream: bool = False
    is_partial: bool = False
    status: int = 200
    code: str | None = None
    domain: FaultDomain | None = None
    usage: Usage | None = None
    cost_nano_usd: int | None = None
    budgets: tuple[tuple[int, date], ...] = ()
    duration_s: float = 0.0
    first_content_s: float | None = None

    @property
    def provider(self) -> str:
        """Name the provider that answered or failed last."""
        return NONE if self.deployment is None else self.deployment.provider.name

    @property
    def upstream_model(self) -> str:
        """Name the model that was asked there."""
        return NONE if self.deployment is None else self.deployment.upstream_model

    @property
    def has_reached_provider(self) -> bool:
        """Say whether it belongs into the ledger."""
        return self.attempts > 0 and self.deployment is not None

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


class Ledger:
    """Closes the books of requests; a process has one."""

    def __init__(self, spool: Spool, *, worker: str, figures: ProcessFigures) -> None:
        """`worker` is this process's name in the books: 16 characters, never used again."""
        self._spool = spool
        self._worker = worker
        self._figures = figures
        self._numbers = count(1)

    def settle(self, entry: Entry) -> None:
        """Close a request's books: its usage, metrics and one log line."""
        if entry.has_reached_provider:
            uid = f"{self._worker}{next(self._numbers):016x}"
            self._spool.append(usage_line(entry, worker=self._worker, uid=uid))
        observe(entry, self._figures)


def usage_line(entry: Entry, *, worker: str, uid: str) -> bytes:
    """Write what the ledger keeps of a request that reached a provider: a `UsageLine`.

    `uid` tells it from every other, `worker` is who served it. From a dict, because
    making the object first takes as long as all the rest.
    """
    deployment, usage = entry.deployment, entry.usage or Usage()
    assert deployment is not None
    line = {
        "uid": uid,
        "request_id": entry.request_id,
        "at": entry.at_s,
        "tenant": entry.tenant,
        "api_key": entry.api_key,
        "operation": entry.operation,
        "model": entry.model,
        "provider": deployment.provider.name,
        "upstream_model": deployment.upstream_model,
        "deployment_id": deployment.id,
        "strategy": entry.strategy,
        "attempts": entry.attempts,
        "status": entry.status,
        "code": entry.code or "",
        "fault_domain": entry.domain or "",
        "is_stream": entry.is_stream,
        "is_partial": entry.is_partial,
        "is_estimated": usage.is_estimated,
        "input_tokens": usage.input_tokens,
        "cache_read_tokens": usage.cache_read_tokens,
        "cache_write_tokens": usage.cache_write_tokens,
        "cache_write_1h_tokens": usage.cache_write_1h_tokens,
        "audio_input_tokens": usage.audio_input_tokens,
        "output_tokens": usage.output_tokens,
        "reasoning_tokens": usage.reasoning_tokens,
        "audio_output_tokens": usage.audio_output_tokens,
        "cost_nano_usd": entry.cost_nano_usd,
        "price_origin": deployment.prices.origin,
        "duration_ms": milliseconds(entry.duration_s),
        "ttft_ms": None
        if entry.first_content_s is None
        else milliseconds(entry.first_content_s),
        "tokens_per_s": tokens_per_s(entry),
        "worker": worker,
        "budgets": tuple(
            (budget, start.isoformat()) for budget, start in entry.budgets
        ),
    }
    return orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE)


def tokens_per_s(entry: Entry) -> float | None:
    """Reckon how fast the answer was made; None without reported output.

    Of a stream from its first content on; of a whole answer over its whole time.
    """
    if entry.usage is None or entry.usage.is_estimated:
        return None
    spent_s = entry.duration_s - (entry.first_content_s or 0.0)
    tokens = entry.usage.completion_tokens
    return round(tokens / spent_s, 3) if tokens and spent_s > 0 else None


def milliseconds(value_s: float) -> float:
    """Turn seconds into milliseconds, to the microsecond."""
    return round(value_s * 1000, 3)


def observe(entry: Entry, figures: ProcessFigures) -> None:
    """Count a finished request, and write its log line, without prompt or key."""
    provider = entry.provider
    counts = figures.settled(
        provider,
        entry.domain,
        duration_s=entry.duration_s,
        first_content_s=entry.first_content_s,
    )
    labels = (entry.operation, entry.model, provider)
    metrics.labelled(metrics.REQUESTS, *labels, entry.status).inc()
    metrics.labelled(metrics.REQUEST_DURATION, *labels).observe(entry.duration_s)
    if entry.domain is not None:
        metrics.labelled(
            metrics.REQUEST_FAILURES, *labels, entry.domain, entry.code or NONE
        ).inc()
    if entry.first_content_s is not None:
        metrics.labelled(metrics.TIME_TO_FIRST_TOKEN, entry.model, provider).observe(
            entry.first_content_s
        )
    if entry.usage is not None:
        count_tokens(entry.usage, entry.model, provider, counts)
    if entry.has_reached_provider:
        count_cost(entry.cost_nano_usd, entry.model, provider, counts)
    if logger.isEnabledFor(logging.INFO):
        logger.info("request", extra=line_of(entry))


def count_cost(
    cost_nano_usd: int | None, model: str, provider: str, counts: ProviderCounts
) -> None:
    """Add a request's cost to the counters; an unknown one is counted as such."""
    if cost_nano_usd is None:
        counts.unpriced_requests += 1
        metrics.labelled(metrics.UNPRICED_REQUESTS, model, provider).inc()
    elif cost_nano_usd:
        counts.cost_nano_usd += cost_nano_usd
        metrics.labelled(metrics.COST, model, provider).inc(
            cost_nano_usd / NANO_PER_USD
        )


def count_tokens(
    usage: Usage, model: str, provider: str, counts: ProviderCounts
) -> None:
    """Add a request's tokens to the counters."""
    for kind, tokens in (
        ("input", usage.input_tokens),
        ("cache_read", usage.cache_read_tokens),
        ("cache_write", usage.cache_write_tokens),
        ("cache_write_1h", usage.cache_write_1h_tokens),
        ("audio_input", usage.audio_input_tokens),
        ("output", usage.output_tokens),
        ("reasoning", usage.reasoning_tokens),
        ("audio_output", usage.audio_output_tokens),
    ):
        if tokens:
            counts.tokens[kind] = counts.tokens.get(kind, 0) + tokens
            metrics.labelled(metrics.TOKENS, model, provider, kind).inc(tokens)


def line_of(entry: Entry) -> dict[str, object]:
    """Give the fields of a request's log line."""
    usage = entry.usage
    return {
        "request_id": entry.request_id,
        "operation": entry.operation,
        "tenant": entry.tenant,
        "api_key": entry.api_key or None,
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
        "output_tokens": usage.completion_tokens if usage else None,
        "usage_estimated": usage.is_estimated if usage else None,
        "cost_usd": None
        if entry.cost_nano_usd is None
        else entry.cost_nano_usd / NANO_PER_USD,
        "duration_ms": round(entry.duration_s * 1000, 2),
        "ttft_ms": None
        if entry.first_content_s is None
        else round(entry.first_content_s * 1000, 2),
    }
