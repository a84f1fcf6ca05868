"""The pages of tenants."""

from __future__ import annotations

from datetime import timedelta
from http import HTTPStatus
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from gateway.models import Budget, Limit, Tenant
from tests.gateway.admin.ledger import keep, line
from tests.gateway.admin.pages import (
    api_key,
    errors_in,
    inlines,
    page_of,
    saved,
    tenant,
    text_of,
)

pytestmark = pytest.mark.django_db

LIST = "/admin/gateway/tenant/"
ADD = LIST + "add/"


def form(**fields: Any) -> dict[str, Any]:
    return {"name": "team", "enabled": "on", **inlines("limits", "budgets"), **fields}


def test_a_new_tenant_leads_on_to_its_limits_and_budgets(admin_client: Client) -> None:
    response = admin_client.post(ADD, form())
    row = Tenant.objects.get(name="team")
    assert response.headers["location"] == page_of(row)
    page = text_of(admin_client.get(page_of(row)))
    assert "Add another Limit" in page
    assert "Add another Budget" in page


def test_limits_and_budgets_are_set_on_the_page_of_a_tenant(
    admin_client: Client,
) -> None:
    row = tenant()
    data = form(
        **{
            "limits-TOTAL_FORMS": "1",
            "limits-0-measure": "concurrency",
            "limits-0-amount": "5",
            "limits-0-window": "minute",
            "limits-0-enabled": "on",
            "budgets-TOTAL_FORMS": "1",
            "budgets-0-amount_usd": "12.5",
            "budgets-0-period": "month",
            "budgets-0-warn_percent": "",
            "budgets-0-enabled": "on",
        }
    )
    assert saved(admin_client.post(page_of(row), data))
    limit, budget = Limit.objects.get(), Budget.objects.get()
    assert (limit.tenant, limit.window) == (row, "")
    assert (budget.tenant, budget.warn_percent, budget.is_hard) == (row, None, False)


@pytest.mark.parametrize("name", ["anonymous", "default"])
def test_the_tenants_that_ailb_needs_are_neither_deleted_nor_renamed(
    admin_client: Client, name: str
) -> None:
    row = tenant(name)
    for url, data in (
        (f"{LIST}{row.pk}/delete/", {"post": "yes"}),
        (LIST, {"action": "delete_selected", "_selected_action": row.pk, "post": "y"}),
    ):
        admin_client.post(url, data)
        assert Tenant.objects.filter(name=name).exists()
    assert saved(admin_client.post(page_of(row), form(name="other")))
    assert Tenant.objects.filter(name=name).exists()


def test_the_anonymous_tenant_says_what_it_is_for(admin_client: Client) -> None:
    page = text_of(admin_client.get(page_of(tenant("anonymous"))))
    assert "For requests without a key" in page


def test_another_tenant_is_deleted_unless_it_has_keys(admin_client: Client) -> None:
    row, other = tenant(), tenant("other")
    api_key(tenant=row)
    for each in (row, other):
        admin_client.post(f"{LIST}{each.pk}/delete/", {"post": "yes"})
    assert Tenant.objects.filter(pk=row.pk).exists()
    assert not Tenant.objects.filter(pk=other.pk).exists()


def test_the_list_sums_the_last_thirty_days(admin_client: Client) -> None:
    tenant()
    now = timezone.now()
    keep(
        [
            line(now, tenant="team"),
            line(now - timedelta(days=20), tenant="team"),
            line(now, tenant="team", cost_nano_usd=None),
            line(now - timedelta(days=40), tenant="team"),
            line(now, tenant="other"),
        ]
    )
    page = text_of(admin_client.get(LIST, {"q": "team"}))
    assert "$0.0246 + 1 of unknown price" in page
    assert ">3</td>" in page


def test_a_tenant_leads_to_its_keys(admin_client: Client) -> None:
    row = api_key().tenant
    link = f"/admin/gateway/apikey/?tenant__id__exact={row.pk}"
    for url in (LIST, page_of(row)):
        assert link in text_of(admin_client.get(url))
    assert "bot" in text_of(admin_client.get(link))


def test_a_name_that_is_taken_is_refused(admin_client: Client) -> None:
    tenant()
    assert set(errors_in(admin_client.post(ADD, form()))) == {"name"}


def test_fifty_tenants_need_a_fixed_number_of_queries(
    admin_client: Client, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    now = timezone.now()
    for number in range(50):
        row = tenant(f"team-{number}")
        api_key(tenant=row)
    keep([line(now, tenant=f"team-{number}") for number in range(50)])
    admin_client.get(LIST)
    with django_assert_max_num_queries(12):
        assert "team-49" in text_of(admin_client.get(LIST))


def test_markup_in_names_is_escaped(admin_client: Client) -> None:
    markup = "<img src onerror>"
    row = tenant(markup)
    keep([line(timezone.now(), tenant=markup)])
    for url in (LIST, page_of(row)):
        page = text_of(admin_client.get(url))
        assert markup not in page
        assert "&lt;img src" in page


def test_those_who_may_not_see_tenants_do_not(client: Client) -> None:
    assert client.get(LIST).status_code == HTTPStatus.FOUND
