"""How limits stand, as OpenAI's response headers say it (pure)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from gateway.access import Standing
from gateway.kinds import Measure

Names = tuple[str, str, str]  # of the headers that say limit, remaining and reset
REQUESTS, TOKENS = (
    (
        f"x-ratelimit-limit-{kind}",
        f"x-ratelimit-remaining-{kind}",
        f"x-ratelimit-reset-{kind}",
    )
    for kind in ("requests", "tokens")
)
NAMES: Mapping[Measure, Names] = {
    Measure.REQUESTS: REQUESTS,
    Measure.TOKENS: TOKENS,
    Measure.INPUT_TOKENS: TOKENS,
    Measure.OUTPUT_TOKENS: TOKENS,
}


def rate_headers(standings: Iterable[Standing]) -> dict[str, str]:
    """Write `x-ratelimit-*` of the tightest limit of requests, and of tokens.

    The tightest is the one with the smallest share left. Concurrency has no header.
    """
    tightest: dict[Names, Standing] = {}
    for standing in standings:
        names = NAMES.get(standing.limit.measure)
        if names is None:
            continue
        known = tightest.get(names)
        if known is None or share_left(standing) < share_left(known):
            tightest[names] = standing
    headers: dict[str, str] = {}
    for (of_limit, of_remaining, of_reset), standing in tightest.items():
        headers[of_limit] = str(standing.limit.amount)
        headers[of_remaining] = str(standing.remaining)
        headers[of_reset] = duration(standing.reset_s)
    return headers


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
