"""Everyday limits and budgets: which row a name stands for, and what setting it leaves."""

from __future__ import annotations

from decimal import Decimal

import pytest

from gateway.allowances import NAMES, allowances, set_allowances
from gateway.kinds import Measure, Period, Window
from gateway.models import Budget, Limit, Tenant

pytestmark = pytest.mark.django_db


@pytest.fixture
def tenant() -> Tenant:
    return Tenant.objects.create(name="acme")


def limit(tenant: Tenant, amount: int, **fields: object) -> Limit:
    given = {"measure": Measure.REQUESTS, "window": Window.MINUTE, **fields}
    return Limit.objects.create(tenant=tenant, amount=amount, **given)


def test_without_rows_nothing_is_allowed_or_forbidden(tenant: Tenant) -> None:
    assert allowances(tenant) == dict.fromkeys(NAMES)


def test_the_lowest_enabled_row_of_the_kind_is_what_a_name_shows(
    tenant: Tenant,
) -> None:
    limit(tenant, 30)
    limit(tenant, 20)
    limit(tenant, 10, enabled=False)
    limit(tenant, 5, window=Window.HOUR)
    limit(tenant, 4, measure=Measure.INPUT_TOKENS)
    shown = allowances(tenant)
    assert shown["requests_per_minute"] == 20
    assert shown["tokens_per_minute"] is None


def test_a_budget_that_is_set_anew_is_the_same_row_with_its_own_options(
    tenant: Tenant,
) -> None:
    row = Budget.objects.create(
        tenant=tenant, period=Period.DAY, amount_usd=1, is_hard=False, enabled=False
    )
    set_allowances(tenant, {"budget_usd_per_day": Decimal("2.5")})
    row.refresh_from_db()
    assert (row.amount_usd, row.is_hard, row.enabled) == (Decimal("2.5"), False, True)
    assert allowances(tenant)["budget_usd_per_day"] == Decimal("2.5")


def test_what_a_load_balancer_set_is_its_own(tenant: Tenant) -> None:
    own = limit(tenant, 5, rate_limit_id="edge-7")
    assert allowances(tenant)["requests_per_minute"] is None
    set_allowances(tenant, {"requests_per_minute": 11})
    assert allowances(tenant)["requests_per_minute"] == 11
    set_allowances(tenant, {"requests_per_minute": None})
    assert list(tenant.limits.all()) == [own]
    own.refresh_from_db()
    assert own.amount == 5


def test_setting_leaves_one_row_of_the_kind_and_all_of_the_others(
    tenant: Tenant,
) -> None:
    limit(tenant, 30)
    limit(tenant, 20)
    hourly = limit(tenant, 5, window=Window.HOUR)
    others = limit(Tenant.objects.create(name="other"), 7)
    set_allowances(tenant, {"requests_per_minute": 11, "max_concurrency": 3})
    amounts = sorted(tenant.limits.values_list("measure", "window", "amount"))
    assert amounts == [
        ("concurrency", "", 3),
        ("requests", "hour", 5),
        ("requests", "minute", 11),
    ]
    set_allowances(tenant, {"requests_per_minute": None, "max_concurrency": None})
    assert list(tenant.limits.all()) == [hourly]
    assert Limit.objects.filter(pk=others.pk).exists()
