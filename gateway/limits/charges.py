"""What a request may use, what it used, and the grant between the two (pure)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import ClassVar

from gateway.access import Budget, Standing
from gateway.kinds import Measure


@dataclass(slots=True)  # not frozen: made for every request
class Charge:
    """Amounts of one request; `cost_nano_usd` is None when no price is known."""

    in_flight: ClassVar[int]
    input_tokens: int
    output_tokens: int
    cost_nano_usd: int | None = None

    def amount(self, measure: Measure) -> int:
        """Give what it counts in a limit of this measure."""
        match measure:
            case Measure.REQUESTS:
                return 1
            case Measure.TOKENS:
                return self.input_tokens + self.output_tokens
            case Measure.INPUT_TOKENS:
                return self.input_tokens
            case Measure.OUTPUT_TOKENS:
                return self.output_tokens
            case Measure.CONCURRENCY:
                return self.in_flight

    @property
    def known_cost_nano_usd(self) -> int:
        """Give the cost; an unknown one counts nothing."""
        return self.cost_nano_usd or 0


class Estimate(Charge):
    """What a request may use; it is reserved while the request runs."""

    __slots__ = ()
    in_flight = 1


class Spent(Charge):
    """What a request did use; it is no longer in flight."""

    __slots__ = ()
    in_flight = 0


@dataclass(frozen=True, slots=True)
class BudgetStanding:
    """What is spent of a budget, without what running requests have reserved."""

    budget: Budget
    spent_nano_usd: int
    percent: int  # of the budget's amount, rounded down; may pass 100


@dataclass(slots=True, eq=False)  # not frozen: made for every request
class Grant:
    """An admitted request; end it once, with `Limiter.settle` or `Limiter.release`.

    `standings` are those after the admission. `warnings` are the budgets at or over
    their `warn_percent`. `budget_periods` names the sums that its cost belongs to, as
    budget id and first day of the period, even if it ends in another period.
    """

    is_shared: ClassVar[bool] = False  # whether Redis granted it
    standings: tuple[Standing, ...] = ()
    warnings: tuple[BudgetStanding, ...] = ()
    budget_periods: tuple[tuple[int, date], ...] = ()


NOTHING = Grant()  # of a request without limits and budgets
