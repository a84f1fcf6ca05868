"""Budgets that pass their warning or are spent: a row, a log line and a webhook, once.

A webhook is tried twice, the second time at the next turn. Its `delivery` then says the
last status, or "unreachable". Killed in between, a process may tell it once more or once
less.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import TYPE_CHECKING

import orjson
from asgiref.sync import (
    sync_to_async,  # noqa: TID251 - background work, not the request path
)
from django.db.models import Sum

from gateway.access import NANO_PER_USD
from gateway.addresses import AddressRefused, check_url
from gateway.errors import UpstreamError
from gateway.kinds import Period
from gateway.limits.budgets import period_start
from gateway.models import Budget, BudgetNotice, BudgetSpend

if TYPE_CHECKING:
    from gateway.late_upstream import LateUpstream
    from gateway.upstream import Upstream

logger = logging.getLogger(__name__)

TIMEOUT_S = 5.0
MAX_WEBHOOKS = 20  # of one turn; the rest waits for the next
UNREACHABLE = "unreachable"
RETRYING = "retrying"
# What becomes of a delivery while it is tried: should this process die, it stands.
WHILE_TRIED = {"": RETRYING, RETRYING: UNREACHABLE}


@dataclass(frozen=True, slots=True)
class Webhook:
    """One attempt that this process alone makes at telling a notice."""

    notice_id: int
    url: str
    body: bytes = field(repr=False)
    is_last: bool


@dataclass(frozen=True, slots=True)
class Standing:
    """How an enabled budget stands in its present period."""

    budget: Budget
    period_start: date
    spent_nano_usd: int

    @property
    def percent(self) -> float:
        """The share that is spent; a budget of nothing is spent from the beginning."""
        amount = int(self.budget.amount_usd * NANO_PER_USD)
        return self.spent_nano_usd * 100 / amount if amount else 100.0

    def passed(self) -> Iterator[bool]:
        """Give what it has passed: False for its warning, True for its end."""
        warn_percent = self.budget.warn_percent
        if warn_percent is not None and self.percent >= warn_percent:
            yield False
        if self.percent >= 100:
            yield True


async def tell(upstream: LateUpstream, *, today: date) -> None:
    """Make the notices that are due on a day, and tell those that have a webhook.

    Raises:
        django.db.Error: The database is away; the next turn goes on.

    """
    webhooks = await sync_to_async(due)(today)
    async with asyncio.TaskGroup() as tasks:
        for webhook in webhooks:
            tasks.create_task(_deliver(upstream(), webhook), name="budget webhook")


async def _deliver(upstream: Upstream, webhook: Webhook) -> None:
    try:
        check_url(webhook.url)
        status = await upstream.notify(webhook.url, webhook.body, timeout_s=TIMEOUT_S)
    except (AddressRefused, UpstreamError):
        outcome, is_told = UNREACHABLE, False
    else:
        outcome, is_told = str(status), 200 <= status < 300
    if is_told or webhook.is_last:
        await sync_to_async(_note)(webhook.notice_id, outcome)
    if not is_told:
        logger.warning(
            "webhook of a budget failed",
            extra={"notice": webhook.notice_id, "outcome": outcome},
        )


def _note(notice_id: int, outcome: str) -> None:
    BudgetNotice.objects.filter(id=notice_id).update(delivery=outcome)


def due(today: date) -> list[Webhook]:
    """Make the notices of a day that are missing; give the webhooks to try now."""
    starts = {period.value: period_start(period, today) for period in Period}
    known = {
        (notice.budget_id, notice.period_start, notice.is_spent): notice
        for notice in BudgetNotice.objects.filter(period_start__in=starts.values())
    }
    webhooks = list[Webhook]()
    for standing in standings(starts):
        for is_spent in standing.passed():
            key = (standing.budget.pk, standing.period_start, is_spent)
            notice = known.get(key) or make(standing, is_spent=is_spent)
            if len(webhooks) < MAX_WEBHOOKS and (webhook := claim(notice, standing)):
                webhooks.append(webhook)
    return webhooks


def make(standing: Standing, *, is_spent: bool) -> BudgetNotice:
    """Make a notice and log it, unless another process has just done so."""
    notice, is_new = BudgetNotice.objects.get_or_create(
        budget=standing.budget, period_start=standing.period_start, is_spent=is_spent
    )
    if is_new:
        logger.warning(
            "budget spent" if is_spent else "budget warning",
            extra={"budget": str(standing.budget), "percent": standing.percent},
        )
    return notice


def claim(notice: BudgetNotice, standing: Standing) -> Webhook | None:
    """Take an attempt at telling a notice; None if there is nobody to tell or none left.

    Of several processes one gets it.
    """
    url, before = standing.budget.webhook_url, notice.delivery
    if not url or (meanwhile := WHILE_TRIED.get(before)) is None:
        return None
    untouched = BudgetNotice.objects.filter(pk=notice.pk, delivery=before)
    if not untouched.update(delivery=meanwhile):
        return None
    body = orjson.dumps(event(notice, standing))
    return Webhook(notice.pk, url, body, is_last=before == RETRYING)


def standings(starts: Mapping[str, date]) -> Iterator[Standing]:
    """Say how each enabled budget stands; `starts` is each period's first day."""
    sums = {
        (budget_id, start): spent
        for budget_id, start, spent in BudgetSpend.objects.filter(
            period_start__in=starts.values(), budget__enabled=True
        )
        .order_by()
        .values_list("budget_id", "period_start")
        .annotate(spent=Sum("spent_nano_usd"))
    }
    enabled = Budget.objects.filter(enabled=True)
    for budget in enabled.select_related("tenant", "api_key"):
        start = starts[budget.period]
        yield Standing(budget, start, sums.get((budget.pk, start), 0))


def event(notice: BudgetNotice, standing: Standing) -> dict[str, object]:
    """Give the webhook's JSON; money in USD."""
    budget = standing.budget
    return {
        "event": "budget.spent" if notice.is_spent else "budget.warning",
        "budget_id": budget.pk,
        "scope": budget.scope.value,
        "owner": str(budget.api_key or budget.tenant),
        "period": budget.period,
        "period_start": standing.period_start.isoformat(),
        "amount_usd": float(budget.amount_usd),
        "spent_usd": standing.spent_nano_usd / NANO_PER_USD,
        "percent": round(standing.percent, 1),
    }
