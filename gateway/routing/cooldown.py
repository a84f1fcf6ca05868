"""Leaving a deployment, or a whole provider, alone for a while (pure)."""

from __future__ import annotations

from dataclasses import dataclass

from gateway.kinds import Fault

ACCOUNT_COOLDOWN_S = 60.0  # doubles with every further refusal
LONGEST_ACCOUNT_COOLDOWN_S = 3600.0
_DOUBLINGS = 6  # enough to pass the longest
NEVER_S = float("-inf")


@dataclass(slots=True)
class DeploymentCooldown:
    """Until when a deployment is left alone, and why."""

    until_s: float = NEVER_S
    fault: Fault | None = None

    def extend(self, until_s: float, fault: Fault) -> None:
        """Leave it alone until then; an earlier promise is never cut short."""
        if until_s > self.until_s:
            self.until_s = until_s
            self.fault = fault


@dataclass(slots=True)
class AccountCooldown:
    """Until when a provider is left alone because it refused our account."""

    until_s: float = NEVER_S
    fault: Fault | None = None
    _refused_s: float = NEVER_S
    _refusals: int = 0  # without a success between them

    def refuse(self, fault: Fault, *, started_s: float, now_s: float) -> None:
        """Wait longer than the last time.

        Attempts that were under way at the last refusal are refused too: no news.
        """
        if started_s < self._refused_s:
            return
        wait_s = ACCOUNT_COOLDOWN_S * 2 ** min(self._refusals, _DOUBLINGS)
        self.until_s = now_s + min(wait_s, LONGEST_ACCOUNT_COOLDOWN_S)
        self.fault = fault
        self._refused_s = now_s
        self._refusals += 1

    def clear(self, *, started_s: float) -> None:
        """Forget the refusals, if the success was begun after the last of them."""
        if started_s >= self._refused_s:
            self.until_s = NEVER_S
            self._refusals = 0
