"""How limits stand, as OpenAI's response headers say it (pure)."""

from __future__ import annotations

from collections.abc import Iterable

from gateway.access import Standing
from gateway.kinds import Measure

TOKEN_MEASURES = frozenset(
    {Measure.TOKENS, Measure.INPUT_TOKENS, Measure.OUTPUT_TOKENS}
)


def rate_headers(standings: Iterable[Standing]) -> dict[str, str]:
    """Write `x-ratelimit-*` of the tightest limit of requests, and of tokens.

    The tightest is the one with the smallest share left. Concurrency has no header.
    """
    by_kind: dict[str, Standing] = {}
    for standing in standings:
        kind = kind_of(standing.limit.measure)
        if kind is None:
            continue
        tightest = by_kind.get(kind)
        if tightest is None or share_left(standing) < share_left(tightest):
            by_kind[kind] = standing
    headers: dict[str, str] = {}
    for kind, standing in by_kind.items():
        headers[f"x-ratelimit-limit-{kind}"] = str(standing.limit.amount)
        headers[f"x-ratelimit-remaining-{kind}"] = str(standing.remaining)
        headers[f"x-ratelimit-reset-{kind}"] = duration(standing.reset_s)
    return headers


def kind_of(measure: Measure) -> str | None:
    """Say which of OpenAI's two kinds a measure is."""
    if measure is Measure.REQUESTS:
        return "requests"
    return "tokens" if measure in TOKEN_MEASURES else None


def share_left(standing: Standing) -> float:
    """Give what is left as a share of the limit, 0 to 1."""
    return standing.remaining / standing.limit.amount


def duration(seconds: float) -> str:
    """Write a duration as OpenAI does: `20ms`, `12s`, `6m0s`, `1h0m0s`."""
    if seconds < 1:
        return f"{max(round(seconds * 1000), 0)}ms"
    whole = round(seconds)
    hours, minutes, rest = whole // 3600, whole // 60 % 60, whole % 60
    if hours:
        return f"{hours}h{minutes}m{rest}s"
    return f"{minutes}m{rest}s" if minutes else f"{rest}s"
