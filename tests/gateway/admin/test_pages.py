"""The pages of models, deployments and the rest, and what every page must do."""

from __future__ import annotations

from decimal import Decimal
from http import HTTPStatus
from typing import Any

import pytest
from django.conf import settings
from django.contrib import admin
from django.test import Client
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from gateway.kinds import Source
from gateway.models import Heartbeat, Model, Provider, RoutingStrategy
from gateway.price_table import table_version
from tests.gateway.admin.pages import (
    ADD,
    CANARY,
    FORM,
    LIST,
    MODEL_FORM,
    deployment,
    errors_in,
    page_of,
    provider,
    saved,
)

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize("source", [Source.ENVIRONMENT, Source.DISCOVERY])
def test_the_upstream_of_a_managed_deployment_stays_and_its_weight_is_the_operators(
    admin_client: Client, source: Source
) -> None:
    row = deployment("m", provider(), source=source)
    data = {
        "model": str(Model.objects.create(name="other").pk),
        "provider": str(row.provider_id),
        "upstream_model": "other",
        "weight": "5",
        "priority": "",
        "version": "v1",
        "enabled": "on",
        "capabilities": '{"tools": true}',
        "options": "{}",
    }
    assert saved(admin_client.post(page_of(row), data))
    row.refresh_from_db()
    assert (row.model.name, row.upstream_model) == ("m", "m")
    assert (row.weight, row.capabilities) == (5, {"tools": True})


def test_the_list_of_deployments_shows_prices_briefly(admin_client: Client) -> None:
    own, openai = provider(), provider("vendor", kind="openai")
    simulator = provider("fake", kind="openai", source=Source.SIMULATOR)
    deployment("m", own, input_price_per_mtok_usd=Decimal("2.500000"))
    deployment("nobody-knows", own)
    deployment("gpt-4o-mini", openai)
    deployment("gpt-4o-mini", simulator)
    page = admin_client.get("/admin/gateway/deployment/").content.decode()
    assert "2.5, -<" in page
    assert "-, - (unknown)" in page
    assert "0.15, 0.6 (shipped)" in page
    assert "0, 0 (simulated)" in page


def test_the_page_of_a_deployment_says_what_it_is_billed_at_and_why(
    admin_client: Client,
) -> None:
    at = provider("vendor", kind="anthropic", base_url="https://llm.example.org")
    row = deployment(
        "claude-haiku-5-5", at, output_price_per_mtok_usd=Decimal("0.300000")
    )
    page = admin_client.get(page_of(row)).content.decode()
    table = table_version()
    for line in (
        "input: 0.1 (AILB&#x27;s price table)<br>",
        "output: 0.3 (this deployment&#x27;s own)<br>",
        "audio input: unknown<br>",
        f"Price table of {table.version}: {table.sources['anthropic'][0].name} of",
        "up to 100,000 tokens",
    ):
        assert line in page, line
    row.input_price_per_mtok_usd = Decimal(2)
    row.save()
    page = admin_client.get(page_of(row)).content.decode()
    cached = "cache read: 0.2 (from the input price, this deployment&#x27;s own)"
    assert cached in page
    assert "Price table of" not in page


def test_a_deployment_that_is_not_there_yet_has_no_prices(admin_client: Client) -> None:
    page = admin_client.get("/admin/gateway/deployment/add/")
    assert page.status_code == HTTPStatus.OK
    assert "Effective prices" in page.content.decode()


def test_deployments_are_added_on_the_page_of_a_provider(admin_client: Client) -> None:
    row = provider()
    first = deployment("first", row)
    model = Model.objects.create(name="second")
    data = FORM | {
        "credential": "",
        "deployments-TOTAL_FORMS": "2",
        "deployments-INITIAL_FORMS": "1",
        "deployments-1-id": "",
        "deployments-1-provider": str(row.pk),
        "deployments-1-model": str(model.pk),
        "deployments-1-upstream_model": "second-large",
        "deployments-1-version": "v1",
        "deployments-1-weight": "3",
        "deployments-1-priority": "",
        "deployments-1-enabled": "on",
    }
    page = admin_client.get(page_of(row)).content.decode()
    assert page_of(first) in page
    assert saved(admin_client.post(page_of(row), data))
    assert set(row.deployments.values_list("upstream_model", "weight")) == {
        ("first", 1),
        ("second-large", 3),
    }


@pytest.mark.parametrize(
    ("typed", "kept"),
    [
        ("llama3", ["llama3"]),
        ("claude, llama3", ["claude", "llama3"]),
        ('["claude", "llama3"]', ["claude", "llama3"]),
        ("phi", ["phi"]),
        ("auto", ["auto"]),
        ("", []),
    ],
)
def test_fallbacks_are_written_with_commas(
    admin_client: Client, typed: str, kept: list[str]
) -> None:
    for name in ("claude", "llama3", "phi:latest"):
        Model.objects.create(name=name)
    data = MODEL_FORM | {"fallbacks": typed}
    assert saved(admin_client.post("/admin/gateway/model/add/", data))
    row = Model.objects.get(name="gpt-4")
    assert row.fallbacks == kept
    assert f'value="{", ".join(kept)}"' in admin_client.get(
        page_of(row)
    ).content.decode() or (not kept)


@pytest.mark.parametrize(
    "typed", ["gpt-4", "nowhere", "llama3,llama3", "llama3, gpt-4", "[1]", "["]
)
def test_bad_fallbacks_are_refused_at_their_field(
    admin_client: Client, typed: str
) -> None:
    Model.objects.create(name="llama3")
    data = MODEL_FORM | {"fallbacks": typed}
    response = admin_client.post("/admin/gateway/model/add/", data)
    assert set(errors_in(response)) == {"fallbacks"}


def test_fallbacks_that_became_unknown_do_not_block_other_changes(
    admin_client: Client,
) -> None:
    row = Model.objects.create(name="gpt-4", fallbacks=["gone"])
    data = MODEL_FORM | {"fallbacks": "gone", "defaults": '{"temperature": 0}'}
    assert saved(admin_client.post(page_of(row), data))
    row.refresh_from_db()
    assert (row.fallbacks, row.defaults) == (["gone"], {"temperature": 0})


def test_the_default_strategy_is_marked(admin_client: Client) -> None:
    page = admin.site.get_model_admin(RoutingStrategy)
    roles = {
        row.name: page.role(row)  # type: ignore[attr-defined]  # ours
        for row in RoutingStrategy.objects.all()
    }
    default = {name for name, role in roles.items() if role == "default"}
    assert default == {settings.ROUTING_STRATEGY}
    response = admin_client.get("/admin/gateway/routingstrategy/")
    assert response.status_code == HTTPStatus.OK


def test_a_strategy_whose_breaker_ends_before_it_begins_is_refused(
    admin_client: Client,
) -> None:
    row = RoutingStrategy.objects.get(name="random")
    names = [field.name for field in row._meta.fields]
    data = {name: getattr(row, name) for name in names} | {"breaker_max_open_s": "1"}
    response = admin_client.post(page_of(row), data)
    assert set(errors_in(response)) == {"breaker_max_open_s"}


def test_processes_are_shown_and_not_changed(admin_client: Client) -> None:
    now = timezone.now()
    row = Heartbeat.objects.create(
        worker="w1",
        instance="ailb-1",
        run="r",
        pid=7,
        started_at=now,
        beat_at=now,
        config_revision=3,
    )
    assert "ailb-1" in admin_client.get("/admin/gateway/heartbeat/").content.decode()
    assert admin_client.get(page_of(row)).status_code == HTTPStatus.OK
    add = admin_client.get("/admin/gateway/heartbeat/add/")
    assert add.status_code == HTTPStatus.FORBIDDEN
    assert admin_client.post(page_of(row), {}).status_code == HTTPStatus.FORBIDDEN


PAGES = ["provider", "model", "deployment", "routingstrategy", "heartbeat"]


@pytest.mark.parametrize("page", PAGES)
def test_a_list_of_fifty_rows_needs_a_fixed_number_of_queries(
    admin_client: Client,
    django_assert_max_num_queries: DjangoAssertNumQueries,
    page: str,
) -> None:
    strategy = RoutingStrategy.objects.get(name="random")
    for number in range(50):
        row = provider(f"p{number}", credential=CANARY)
        Model.objects.create(name=f"m{number}", strategy=strategy)
        deployment(f"m{number}", row)
    admin_client.get(f"/admin/gateway/{page}/")  # content types are cached from here on
    with django_assert_max_num_queries(12):
        response = admin_client.get(f"/admin/gateway/{page}/?q=")
    assert response.status_code == HTTPStatus.OK


@pytest.mark.parametrize("kind", ["provider", "model"])
def test_a_page_with_fifty_deployments_needs_a_fixed_number_of_queries(
    admin_client: Client,
    django_assert_max_num_queries: DjangoAssertNumQueries,
    kind: str,
) -> None:
    for number in range(50):
        name = f"m{number}" if kind == "provider" else "m"
        other = (
            provider("p" if kind == "provider" else f"p{number}")
            if (kind == "model" or number == 0)
            else Provider.objects.get()
        )
        deployment(name, other, upstream_model=f"u{number}")
    row: Any = Provider.objects.get() if kind == "provider" else Model.objects.get()
    admin_client.get(page_of(row))
    with django_assert_max_num_queries(12):
        response = admin_client.get(page_of(row))
    assert "u49" in response.content.decode()


@pytest.mark.parametrize("page", PAGES)
def test_every_page_opens(admin_client: Client, page: str) -> None:
    row = provider()
    deployment("m", row)
    assert admin_client.get(f"/admin/gateway/{page}/").status_code == HTTPStatus.OK
    if page != "heartbeat":
        assert (
            admin_client.get(f"/admin/gateway/{page}/add/").status_code == HTTPStatus.OK
        )


@pytest.mark.parametrize(
    "page", ["user", "group", "user/add", "group/add", "user/1/password"]
)
def test_the_pages_of_accounts_open_in_the_theme(
    admin_client: Client, page: str
) -> None:
    url = f"/admin/auth/{page}/".replace(
        "/1/", f"/{admin_client.session['_auth_user_id']}/"
    )
    response = admin_client.get(url)
    assert response.status_code == HTTPStatus.OK
    assert "unfold" in response.content.decode()


def test_markup_in_names_is_escaped(admin_client: Client) -> None:
    markup = "<img src=x onerror=alert(1)>"
    row = provider(markup)
    deployment(markup, row)
    for url in (
        LIST,
        page_of(row),
        "/admin/gateway/model/",
        "/admin/gateway/deployment/",
    ):
        assert markup not in admin_client.get(url).content.decode()


def test_nobody_sees_anything_without_logging_in(client: Client) -> None:
    for url in (LIST, ADD, "/admin/gateway/model/"):
        response = client.get(url)
        assert response.status_code == HTTPStatus.FOUND
        assert "/admin/login/" in response.headers["location"]
