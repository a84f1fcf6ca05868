"""The banners above every page, the sidebar and the first page."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries, Settings

from gateway.models import ApiKey
from tests.gateway.admin.ledger import keep, line
from tests.gateway.admin.pages import api_key, deployment, page_of, provider, text_of
from tests.gateway.admin.test_quotas import budget

pytestmark = pytest.mark.django_db

LOCAL = "Programs on this machine are served without a key."
OPEN = "The door is open (AILB_AUTH=open)"
UNREADABLE = "No API key can be verified"


def texts(client: Client, url: str = "/admin/") -> list[str]:
    banners: Any = client.get(url).context["banners"]
    return [banner.text for banner in banners]


def unpriced(deployment_id: int, **fields: Any) -> None:
    at = timezone.now() - timedelta(hours=1)
    keep([line(at, deployment_id=deployment_id, cost_nano_usd=None, **fields)])


@pytest.mark.parametrize(
    ("auth", "host", "said"),
    [
        ("auto", "127.0.0.1", [LOCAL]),
        ("auto", "localhost", [LOCAL]),
        ("auto", "0.0.0.0", []),
        ("required", "127.0.0.1", []),
        ("open", "0.0.0.0", [OPEN]),
        ("open", "127.0.0.1", [OPEN]),
    ],
)
def test_a_banner_says_which_door_is_open(
    admin_client: Client, settings: Settings, auth: str, host: str, said: list[str]
) -> None:
    settings.AILB_AUTH, settings.HOST = auth, host
    found = texts(admin_client)
    assert len(found) == len(said)
    assert all(map(str.startswith, found, said))


def test_the_first_key_closes_the_door_for_good(admin_client: Client) -> None:
    assert len(texts(admin_client)) == 1
    api_key()
    assert texts(admin_client) == []
    ApiKey.objects.all().delete()
    assert texts(admin_client) == []


def test_a_key_in_the_environment_closes_the_door(
    admin_client: Client, settings: Settings
) -> None:
    settings.AILB_API_KEY = "ailb-of-the-environment-0123456789"
    assert texts(admin_client) == []


def test_the_banner_stands_on_every_page(
    admin_client: Client, settings: Settings
) -> None:
    settings.AILB_AUTH = "open"
    row = provider()
    pages = ["", "gateway/", "auth/user/", "gateway/usagerecord/summary/"]
    pages += [f"gateway/{name}/" for name in ("provider", "apikey/add", "deployment")]
    pages += [f"gateway/provider/{row.pk}/{name}/" for name in ("delete", "history")]
    for url in [f"/admin/{page}" for page in pages] + [page_of(row)]:
        assert OPEN in text_of(admin_client.get(url)), url
    data = {"action": "delete_selected", "_selected_action": row.pk}
    assert OPEN in text_of(admin_client.post("/admin/gateway/provider/", data))


def test_the_banner_is_not_for_those_who_are_not_logged_in(
    client: Client, settings: Settings
) -> None:
    settings.AILB_AUTH = "open"
    assert OPEN not in text_of(client.get("/admin/login/"))


def test_keys_that_cannot_be_verified_are_told(
    admin_client: Client, settings: Settings
) -> None:
    api_key()
    assert texts(admin_client) == []
    settings.AILB_ENCRYPTION_KEYS = ["0" * 43 + "="]
    [said] = texts(admin_client)
    assert said.startswith(UNREADABLE)


def test_budgets_that_are_spent_or_nearly_are_counted(admin_client: Client) -> None:
    api_key()
    budget(spent=1)
    assert texts(admin_client) == []
    budget(spent=9)
    assert texts(admin_client) == ["1 budget is at its warning."]
    for _ in range(2):
        budget(spent=11)
    assert texts(admin_client) == [
        "2 budgets are spent.",
        "1 budget is at its warning.",
    ]
    assert "/admin/gateway/budget/?standing=spent" in text_of(
        admin_client.get("/admin/")
    )


def test_traffic_at_unknown_prices_is_counted_until_the_price_is_known(
    admin_client: Client,
) -> None:
    api_key()
    row, other = deployment("in-house", provider()), deployment("b", provider("beta"))
    unpriced(row.pk)
    unpriced(row.pk)
    [said] = texts(admin_client)
    assert said.startswith("2 requests of the last day went to 1 deployment")
    page = text_of(admin_client.get("/admin/gateway/deployment/?price=unknown"))
    assert page_of(row) in page
    assert page_of(other) not in page
    row.input_price_per_mtok_usd = row.output_price_per_mtok_usd = Decimal(1)
    row.save()
    assert texts(admin_client) == []


def test_old_traffic_at_unknown_prices_is_forgotten(admin_client: Client) -> None:
    api_key()
    row = deployment("in-house", provider())
    at = timezone.now() - timedelta(days=2)
    keep([line(at, deployment_id=row.pk, cost_nano_usd=None)])
    assert texts(admin_client) == []


def test_the_first_page_shows_the_last_day(admin_client: Client) -> None:
    now = timezone.now()
    keep(
        [
            line(now),
            line(now, status=502, fault_domain="provider", cost_nano_usd=None),
            line(now - timedelta(days=3)),
        ]
    )
    page = text_of(admin_client.get("/admin/"))
    for text in ("1 (50.0%) failed", "2,400", "$0.0123", "without 1 of unknown price"):
        assert text in page


def test_the_sidebar_has_what_the_user_may_see(
    client: Client, django_user_model: type[User]
) -> None:
    user = django_user_model.objects.create_user("clerk", is_staff=True)
    user.user_permissions.add(Permission.objects.get(codename="view_budget"))
    client.force_login(user)
    page = text_of(client.get("/admin/"))
    assert "/admin/gateway/budget/" in page
    for hidden in ("apikey/", "tenant/", "usagerecord/", "budget/add/"):
        assert f'"/admin/gateway/{hidden}"' not in page
    assert "Last 24 hours" not in page


def test_the_first_page_needs_few_queries(
    admin_client: Client, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    for number in range(30):
        row = deployment(f"m{number}", provider(f"p{number}"))
        unpriced(row.pk, model=f"m{number}")
        budget(spent=number)
    admin_client.get("/admin/")
    with django_assert_max_num_queries(14):
        text_of(admin_client.get("/admin/"))
