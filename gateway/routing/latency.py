"""How long a deployment will take: moving averages with a memory of bad news (pure)."""

from __future__ import annotations

from math import exp

INITIAL_TTFT_S = 1.0
# Only divides the first whole answer between its two parts, when nothing else is known.
ASSUMED_PER_TOKEN_S = 0.02
LONGEST_S = 86_400.0  # a sample is cut to a day, so that no sum can overflow


class LatencyEstimate:
    """Peak-EWMA of the time to first content, EWMA of the time per output token.

    The first jumps up to a slow sample at once and comes down with time constant
    `decay_s` (Finagle's and Tower's peak EWMA); both fade without traffic, so a
    punished deployment is tried again without any exploration rule. Samples that are
    negative, NaN or infinite are ignored; a clock that goes back counts as standing.
    """

    __slots__ = ("_at_s", "_per_token_s", "_ttft_s")

    def __init__(self, now_s: float) -> None:
        """Start from one second to first content and an unknown token rate."""
        self._at_s = now_s
        self._ttft_s = INITIAL_TTFT_S
        self._per_token_s: float | None = None

    def predict_s(self, output_tokens: int, *, now_s: float, decay_s: float) -> float:
        """Predict how long an answer of so many tokens takes; finite, never negative."""
        per_token_s = self._per_token_s or 0.0
        predicted_s = self._ttft_s + output_tokens * per_token_s
        return predicted_s * self._weight(now_s, decay_s)

    def observe_stream(
        self,
        *,
        ttft_s: float,
        duration_s: float,
        output_tokens: int,
        now_s: float,
        decay_s: float,
    ) -> None:
        """Learn from a stream whose first content came `ttft_s` after its start."""
        per_token_s = None
        if output_tokens > 1:
            per_token_s = (duration_s - ttft_s) / (output_tokens - 1)
        self._learn(ttft_s, per_token_s, now_s=now_s, decay_s=decay_s)

    def observe_whole(
        self, *, duration_s: float, output_tokens: int, now_s: float, decay_s: float
    ) -> None:
        """Learn from an answer that came in one piece.

        Its duration is divided between the two parts as the present estimate would, so
        a long answer does not make the deployment look slow to start.
        """
        per_token_s = self._per_token_s
        if per_token_s is None:
            per_token_s = ASSUMED_PER_TOKEN_S
        expected_s = self._ttft_s + output_tokens * per_token_s
        if output_tokens <= 0 or not expected_s > 0:
            self._learn(duration_s, None, now_s=now_s, decay_s=decay_s)
            return
        ratio = duration_s / expected_s
        self._learn(
            self._ttft_s * ratio, per_token_s * ratio, now_s=now_s, decay_s=decay_s
        )

    def penalise(self, wait_s: float, *, now_s: float, decay_s: float) -> None:
        """Count a failure as a time to first content of `wait_s`."""
        self._learn(wait_s, None, now_s=now_s, decay_s=decay_s)

    def _learn(
        self,
        ttft_s: float,
        per_token_s: float | None,
        *,
        now_s: float,
        decay_s: float,
    ) -> None:
        weight = self._weight(now_s, decay_s)
        self._at_s = max(self._at_s, now_s)
        self._ttft_s *= weight
        if 0.0 <= ttft_s < float("inf"):
            sample_s = min(ttft_s, LONGEST_S)
            blended_s = self._ttft_s + sample_s * (1.0 - weight)
            self._ttft_s = sample_s if sample_s > self._ttft_s else blended_s
        known_s = self._per_token_s
        if known_s is not None:
            self._per_token_s = known_s * weight
        if per_token_s is not None and 0.0 <= per_token_s < float("inf"):
            sample_s = min(per_token_s, LONGEST_S)
            if known_s is None:
                self._per_token_s = sample_s
            else:
                self._per_token_s = known_s * weight + sample_s * (1.0 - weight)

    def _weight(self, now_s: float, decay_s: float) -> float:
        """Give what is left, 0 to 1, of something learned when we last learned."""
        idle_s = now_s - self._at_s
        if idle_s <= 0.0:
            return 1.0
        return exp(-idle_s / decay_s) if decay_s > 0.0 else 0.0
