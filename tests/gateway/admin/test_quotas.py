"""The pages of limits and budgets."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

import pytest
from django.contrib import admin
from django.test import Client
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from gateway.kinds import Period
from gateway.limits.budgets import period_start
from gateway.models import Budget, BudgetSpend, Limit, Model
from gateway.spending import Standing, standing_at, with_spending
from tests.gateway.admin.ledger import keep, line
from tests.gateway.admin.pages import (
    FORM,
    MODEL_FORM,
    api_key,
    errors_in,
    page_of,
    provider,
    saved,
    tenant,
    text_of,
)

pytestmark = pytest.mark.django_db

LIMITS = "/admin/gateway/limit/"
BUDGETS = "/admin/gateway/budget/"
NANO = 10**9


def limit_form(**fields: Any) -> dict[str, Any]:
    return {
        "measure": "requests",
        "amount": "60",
        "window": "minute",
        "enabled": "on",
        "tenant": "",
        "api_key": "",
        "model": "",
        "provider": "",
        "address": "",
        **fields,
    }


def budget_form(**fields: Any) -> dict[str, Any]:
    return {
        "amount_usd": "10",
        "period": "day",
        "enabled": "on",
        "tenant": "",
        "api_key": "",
        "is_hard": "on",
        "warn_percent": "80",
        "webhook_url": "",
        **fields,
    }


def budget(*, spent: float = 0, **fields: Any) -> Budget:
    """Make a budget of 10 USD, of which some are spent in the current period."""
    values = {"tenant": tenant(), "amount_usd": 10, "period": "day"}
    row = Budget.objects.create(**values | fields)
    start = period_start(Period(row.period), timezone.now().date())
    for worker in ("one", "two"):
        spend(row, start, spent / 2, worker)
    spend(row, start - timedelta(days=40), 1000, "one")  # another period's
    return row


def spend(row: Budget, start: date, usd: float, worker: str) -> None:
    BudgetSpend.objects.create(
        budget=row, period_start=start, worker=worker, spent_nano_usd=int(usd * NANO)
    )


def standing(row: Budget) -> str:
    pages: Any = admin.site.get_model_admin(Budget)
    return str(pages.state(with_spending(Budget.objects.all()).get(pk=row.pk)))


def test_a_limit_is_made_for_each_kind_of_target(admin_client: Client) -> None:
    targets: dict[str, Any] = {
        "tenant": tenant(),
        "api_key": api_key(),
        "model": Model.objects.create(name="gpt-4"),
        "provider": provider(),
    }
    for name, row in targets.items():
        data = limit_form(**{name: str(row.pk)})
        assert saved(admin_client.post(f"{LIMITS}add/", data))
        assert getattr(Limit.objects.latest("id"), name) == row
    assert saved(admin_client.post(f"{LIMITS}add/", limit_form()))
    page = text_of(admin_client.get(LIMITS))
    for text in ("tenant team", "key bot", "model gpt-4", "provider acme", "everybody"):
        assert text in page


@pytest.mark.parametrize(
    ("field", "fields"),
    [
        ("address", {"address": "10.0.0.0/8"}),
        ("window", {"window": ""}),
        ("amount", {"amount": "0"}),
        ("measure", {"measure": "patience"}),
    ],
)
def test_a_bad_limit_is_refused_at_its_field(
    admin_client: Client, field: str, fields: dict[str, str]
) -> None:
    response = admin_client.post(f"{LIMITS}add/", limit_form(**fields))
    assert set(errors_in(response)) == {field}


def test_a_limit_of_an_address_is_kept_in_its_normal_form(admin_client: Client) -> None:
    for given, kept in (
        ("2001:DB8:0::1", "2001:db8::1"),
        ("::ffff:9.9.9.9", "9.9.9.9"),
    ):
        data = limit_form(address=given)
        assert saved(admin_client.post(f"{LIMITS}add/", data))
        assert Limit.objects.latest("id").address == kept
    admin_client.get(LIMITS)  # says what was saved
    page = text_of(admin_client.get(f"{LIMITS}?q=2001:db8"))
    assert "address 2001:db8::1" in page
    assert "9.9.9.9" not in page


def test_a_limit_says_that_a_load_balancer_set_it(admin_client: Client) -> None:
    row = Limit.objects.create(amount=5, rate_limit_id="edge-7")
    Limit.objects.create(amount=6)
    for page in (LIMITS, f"{LIMITS}{row.pk}/change/"):
        assert "a load balancer, as edge-7" in text_of(admin_client.get(page))
    assert "an operator" in text_of(admin_client.get(LIMITS))


def test_a_limit_of_two_targets_is_refused(admin_client: Client) -> None:
    data = limit_form(tenant=str(tenant().pk), provider=str(provider().pk))
    errors = errors_in(admin_client.post(f"{LIMITS}add/", data))
    assert "Choose one of" in str(errors["__all__"])


def test_concurrency_loses_its_window(admin_client: Client) -> None:
    data = limit_form(measure="concurrency")
    assert saved(admin_client.post(f"{LIMITS}add/", data))
    assert Limit.objects.get().window == ""
    assert "at once" in text_of(admin_client.get(LIMITS))


def test_limits_are_set_on_the_pages_of_models_and_providers(
    admin_client: Client,
) -> None:
    model, row = Model.objects.create(name="gpt-4"), provider()
    table = {
        "limits-TOTAL_FORMS": "1",
        "limits-0-measure": "tokens",
        "limits-0-amount": "1000",
        "limits-0-window": "hour",
        "limits-0-enabled": "on",
    }
    assert saved(admin_client.post(page_of(model), MODEL_FORM | table))
    assert saved(admin_client.post(page_of(row), FORM | table))
    targets = list(Limit.objects.order_by("id").values_list("model", "provider"))
    assert targets == [(model.pk, None), (None, row.pk)]


@pytest.mark.parametrize("owners", [(), ("tenant", "api_key")])
def test_a_budget_needs_one_owner(
    admin_client: Client, owners: tuple[str, ...]
) -> None:
    rows: dict[str, Any] = {"tenant": tenant(), "api_key": api_key()}
    data = budget_form(**{name: str(rows[name].pk) for name in owners})
    errors = errors_in(admin_client.post(f"{BUDGETS}add/", data))
    assert "Choose a tenant or an API key" in str(errors["__all__"])


def test_a_budget_is_made(admin_client: Client) -> None:
    data = budget_form(tenant=str(tenant().pk))
    assert saved(admin_client.post(f"{BUDGETS}add/", data))
    assert Budget.objects.get().tenant == tenant()


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"spent": 0}, "ok"),
        ({"spent": 7.99}, "ok"),
        ({"spent": 8}, "warning"),
        ({"spent": 9.999}, "warning"),
        ({"spent": 10}, "spent"),
        ({"spent": 25}, "spent"),
        ({"spent": 9.999, "warn_percent": None}, "ok"),
        ({"spent": 0, "amount_usd": 0}, "spent"),
        ({"spent": 25, "enabled": False}, "disabled"),
        ({"spent": 8, "period": "week"}, "warning"),
        ({"spent": 8, "period": "month"}, "warning"),
        ({"spent": 10, "period": "total"}, "spent"),
    ],
)
def test_a_budget_stands_as_its_current_period_does(
    fields: dict[str, Any], said: str
) -> None:
    row = budget(**fields)
    assert standing(row) == said
    kept = {
        each.value
        for each in Standing
        if standing_at(with_spending(Budget.objects.all()), each).exists()
    }
    assert kept == {said}


def test_the_list_shows_what_is_spent(admin_client: Client) -> None:
    budget(spent=8.25)
    page = text_of(admin_client.get(BUDGETS))
    assert "$8.25, 82%" in page
    assert 'style="width: 82%"' in page
    assert "$10.00" in page


def test_the_bar_of_an_overspent_budget_is_full_and_no_longer(
    admin_client: Client,
) -> None:
    budget(spent=25)
    page = text_of(admin_client.get(BUDGETS))
    assert "$25.00, 250%" in page
    assert 'style="width: 100%"' in page


@pytest.mark.parametrize("chosen", ["ok", "warning", "spent"])
def test_budgets_are_filtered_by_how_they_stand(
    admin_client: Client, chosen: str
) -> None:
    rows = {
        "ok": budget(spent=1),
        "warning": budget(spent=9),
        "spent": budget(spent=11),
    }
    page = text_of(admin_client.get(BUDGETS, {"standing": chosen}))
    assert {name for name, row in rows.items() if page_of(row) in page} == {chosen}


def test_the_page_of_a_budget_says_when_it_resets(admin_client: Client) -> None:
    row = budget(period="day")
    tomorrow = timezone.now().date() + timedelta(days=1)
    assert f"{tomorrow:%-d %b %Y}" in text_of(admin_client.get(page_of(row)))
    assert ">never<" in text_of(admin_client.get(page_of(budget(period="total"))))


def test_the_page_of_a_budget_counts_requests_of_unknown_price(
    admin_client: Client,
) -> None:
    key = api_key()
    of_tenant, of_key = budget(), budget(tenant=None, api_key=key)
    now = timezone.now()
    for row in (of_tenant, of_key):
        assert "has a known price" in text_of(admin_client.get(page_of(row)))
    unpriced: dict[str, Any] = {"tenant": "team", "cost_nano_usd": None}
    keep(
        [
            line(now, **unpriced),
            line(now, **unpriced, api_key=key.public_id),
            line(now - timedelta(days=2), **unpriced),
            line(now, **unpriced | {"tenant": "other"}),
        ]
    )
    for row, said in (
        (of_tenant, "2 requests have no known price: they are not in this sum."),
        (of_key, "1 request has no known price: it is not in this sum."),
    ):
        assert said in text_of(admin_client.get(page_of(row)))


@pytest.mark.parametrize("url", [LIMITS, BUDGETS])
def test_fifty_rows_need_a_fixed_number_of_queries(
    admin_client: Client,
    django_assert_max_num_queries: DjangoAssertNumQueries,
    url: str,
) -> None:
    for number in range(50):
        key = api_key(f"key-{number}", tenant=tenant(f"team-{number}"))
        budget(tenant=None, api_key=key, spent=number)
        Limit.objects.create(api_key=key, amount=number + 1)
    admin_client.get(url)
    with django_assert_max_num_queries(12):
        assert "key-49" in text_of(admin_client.get(url))


def test_a_tenant_with_fifty_budgets_needs_a_fixed_number_of_queries(
    admin_client: Client, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    for number in range(50):
        budget(spent=number)
        Limit.objects.create(tenant=tenant(), amount=number + 1)
    url = page_of(tenant())
    admin_client.get(url)
    with django_assert_max_num_queries(14):
        assert "$49.00, 490%" in text_of(admin_client.get(url))
