"""Limits and budgets: admit a request against all of them or not at all.

`Limiter` is the only door. In one process it counts for itself; with Redis, all processes
count together, and each falls back to its own count while Redis does not answer.

The package `limits` counts fixed costs well (4 to 6 microseconds a hit), but it cannot
give tokens back or settle a reservation, nor admit against several limits at once or
not at all; these are what a limit on tokens needs.
"""

from __future__ import annotations

from gateway.limits.charges import (
    NOTHING,
    BudgetStanding,
    Estimate,
    Grant,
    Spent,
)
from gateway.limits.limiter import Limiter

__all__ = [
    "NOTHING",
    "BudgetStanding",
    "Estimate",
    "Grant",
    "Limiter",
    "Spent",
]
