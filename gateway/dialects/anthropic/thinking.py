"""How much a model is asked to think, and how much it may write (pure)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from gateway.dialects.record import ChatRequest
from gateway.snapshot import Deployment

DEFAULT_MAX_TOKENS = 4096
"""Anthropic demands a limit; this one stands when neither client nor row gives one.

Every Claude model can write this much.
"""

MIN_BUDGET_TOKENS = 1024
"""The smallest budget that Anthropic accepts."""

BUDGET_TOKENS: Mapping[str, int] = {
    "minimal": MIN_BUDGET_TOKENS,
    "low": 1024,
    "medium": 2048,
    "high": 4096,
    "xhigh": 8192,
    "max": 16384,
}
"""Budgets for models that take no effort."""

_EFFORTS: Mapping[str, str] = {
    "minimal": "low",
    **{effort: effort for effort in ("low", "medium", "high", "xhigh", "max")},
}


@dataclass(frozen=True, slots=True)
class Thinking:
    """What to send: `thinking`, `output_config.effort` and `max_tokens`.

    `is_dropped` says that the client's reasoning_effort could not be honoured.
    """

    max_tokens: int
    config: Mapping[str, object] | None = None
    effort: str | None = None
    is_dropped: bool = False

    @property
    def is_on(self) -> bool:
        """Say whether forced tools and sampling parameters are now refused."""
        kind = self.config.get("type") if self.config else None
        return kind in ("enabled", "adaptive")


def plan_thinking(
    request: ChatRequest, deployment: Deployment, *, can_think: bool
) -> Thinking:
    """Decide on thinking; `can_think` is False when the conversation forbids it.

    A `thinking` object that the client or the row gives is sent as it is.
    """
    given = request.extras.get("thinking", deployment.options.get("thinking"))
    if isinstance(given, Mapping):
        return _given(given, request, deployment)
    limit, effort = max_tokens(request, deployment), request.reasoning_effort
    if effort is None:
        return Thinking(limit)
    kind = deployment.capabilities.reasoning
    found: Thinking | None = None
    if effort == "none":
        found = _without(kind, limit)
    elif can_think and kind in ("adaptive", "always") and effort in _EFFORTS:
        found = Thinking(limit, {"type": "adaptive"}, _EFFORTS[effort])
    elif can_think and kind == "budget" and effort in BUDGET_TOKENS:
        found = _budgeted(BUDGET_TOKENS[effort], request, deployment)
    elif kind == "adaptive":
        found = Thinking(limit, {"type": "disabled"}, is_dropped=True)
    return found or Thinking(limit, is_dropped=True)


def _without(kind: str | None, limit: int) -> Thinking | None:
    """Switch thinking off; None when it cannot be, or when that is unknown."""
    if kind == "adaptive":
        return Thinking(limit, {"type": "disabled"})
    return Thinking(limit) if kind in ("budget", "none") else None


def max_tokens(request: ChatRequest, deployment: Deployment, budget: int = 0) -> int:
    """Give the limit of the answer, thinking included, in tokens.

    The client's own limit holds, up to what the model can write; without one the
    thinking budget is added to the default.
    """
    ceiling = deployment.capabilities.max_output_tokens
    limit = request.max_tokens
    if limit is None:
        configured = deployment.options.get("max_tokens")
        limit = configured if isinstance(configured, int) else None
        limit = (limit or ceiling or DEFAULT_MAX_TOKENS) + budget
    return limit if ceiling is None else min(limit, ceiling)


def _budgeted(
    budget: int, request: ChatRequest, deployment: Deployment
) -> Thinking | None:
    """Fit the budget below the limit; None when too little is left to think at all."""
    limit = max_tokens(request, deployment, budget)
    budget = min(budget, limit - 1)
    if budget < MIN_BUDGET_TOKENS:
        return None
    return Thinking(limit, {"type": "enabled", "budget_tokens": budget})


def _given(
    config: Mapping[str, object], request: ChatRequest, deployment: Deployment
) -> Thinking:
    budget = config.get("budget_tokens")
    limit = max_tokens(request, deployment, budget if isinstance(budget, int) else 0)
    effort = None
    if deployment.capabilities.reasoning in ("adaptive", "always"):
        effort = _EFFORTS.get(request.reasoning_effort or "")
    is_dropped = request.reasoning_effort is not None and effort is None
    return Thinking(limit, config, effort, is_dropped)
