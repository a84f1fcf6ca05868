"""Tenants, keys, limits, budgets and usage in a real browser."""

from __future__ import annotations

import re
from datetime import timedelta

from django.utils import timezone
from playwright.sync_api import Page, expect
from pytest_django.live_server_helper import LiveServer

from gateway.crypto import digest
from gateway.keyring import create_key, pepper
from gateway.kinds import Period
from gateway.limits.budgets import period_start
from gateway.models import (
    ApiKey,
    Budget,
    BudgetSpend,
    Deployment,
    Limit,
    Model,
    Provider,
    Tenant,
    UsageRecord,
)
from tests.browser.steps import Shoot, log_in, open_path, run_action, save
from tests.gateway.admin.ledger import keep, line
from tests.gateway.admin.pages import everything_stored

MODELS = ("gpt-4", "gpt-4o-mini", "in-house")  # nobody knows the price of the last
TENANTS = ("default", "research", "support-team")
SPENT_NANO_USD = (4_000_000_000, 41_500_000_000, 51_000_000_000)


def shown_key(page: Page) -> str:
    return page.locator(".ailb-copyable code").inner_text()


def make_usage() -> None:
    """Make a month of requests by three keys of three tenants."""
    provider = Provider.objects.create(
        name="acme", kind="openai", base_url="https://llm.example.org/v1"
    )
    deployments = [
        Deployment.objects.create(
            model=Model.objects.create(name=name),
            provider=provider,
            upstream_model=name,
        )
        for name in MODELS
    ]
    keys = [
        create_key(
            name=f"key of {name}", tenant=Tenant.objects.get_or_create(name=name)[0]
        )[0]
        for name in TENANTS
    ]
    now = timezone.now()
    lines = []
    for number in range(900):
        which, key = number % 3, keys[number // 3 % 3]
        span_m = 24 * 60 if number % 5 == 0 else 29 * 24 * 60
        is_failed = number % 29 == 0
        lines.append(
            line(
                now - timedelta(minutes=number * number * 13 % span_m),
                request_id=f"req-{number:06d}",
                tenant=key.tenant.name,
                api_key=key.public_id,
                model=MODELS[which],
                upstream_model=MODELS[which],
                deployment_id=deployments[which].pk,
                status=502 if is_failed else 200,
                code="upstream_error" if is_failed else "",
                fault_domain="provider" if is_failed else "",
                is_stream=True,
                ttft_ms=340.0,
                input_tokens=400 + number,
                output_tokens=90 + number // 3,
                cost_nano_usd=None if which == 2 else 1_230_000 * (1 + number % 17),
                price_origin="unknown" if which == 2 else "shipped",
            )
        )
    keep(lines)


def make_quotas() -> None:
    """Make a limit and a budget for each tenant: in order, at the warning, spent."""
    today = timezone.now().date()
    tenants = Tenant.objects.exclude(name="anonymous").order_by("name")
    for tenant, spent in zip(tenants, SPENT_NANO_USD, strict=True):
        Limit.objects.create(tenant=tenant, amount=600)
        BudgetSpend.objects.create(
            budget=Budget.objects.create(tenant=tenant, amount_usd=50),
            period_start=period_start(Period.MONTH, today),
            spent_nano_usd=spent,
        )
    Limit.objects.create(measure="tokens", amount=2_000_000, window="hour")


def test_an_operator_makes_a_tenant_and_a_key_that_is_shown_once(
    page: Page, live_server: LiveServer, shoot: Shoot
) -> None:
    Tenant.objects.get_or_create(name="default")
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    log_in(page)
    expect(page.locator(".ailb-banner")).to_contain_text("served without a key")
    shoot("index-without-keys")
    open_path(page, live_server, "tenant/add/")
    page.fill("#id_name", "support-team")
    save(page)
    expect(page.locator("body")).to_contain_text("was added successfully")
    shoot("tenant-change")

    open_path(page, live_server, "apikey/add/")
    page.fill("#id_name", "chat-bot")
    page.locator("#select2-id_tenant-container").click()
    page.locator(".select2-results__option", has_text="support-team").click()
    shoot("key-add")
    save(page)
    key = shown_key(page)
    shoot("key-once")
    row = ApiKey.objects.get()
    assert (row.name, row.tenant.name) == ("chat-bot", "support-team")
    assert row.digest == digest(key, pepper())
    page.locator("[data-copy]").click()
    expect(page.locator("[data-copy]")).to_have_text("Copied")
    assert page.evaluate("navigator.clipboard.readText()") == key
    assert key not in page.url
    assert key not in everything_stored()

    page.reload()
    expect(page.locator("#id_name")).to_have_value("chat-bot")
    shoot("key-change")
    for _ in range(2):
        assert key not in page.content()
        assert row.digest not in page.content()
        page.go_back()
        page.go_forward()
    assert ApiKey.objects.count() == 1


def test_an_operator_rotates_a_key(
    page: Page, live_server: LiveServer, shoot: Shoot
) -> None:
    tenant, _ = Tenant.objects.get_or_create(name="default")
    row, former = create_key(name="chat-bot", tenant=tenant)
    log_in(page)
    open_path(page, live_server, f"apikey/{row.pk}/change/")
    page.get_by_role("link", name="Rotate").click()
    page.get_by_text("7 days more").click()
    shoot("key-rotate")
    page.get_by_role("button", name="Rotate").click()
    key = shown_key(page)
    shoot("key-rotated")
    row.refresh_from_db()
    assert row.digest == digest(key, pepper())
    assert row.previous_digest == digest(former, pepper())
    assert key not in everything_stored()
    page.reload()
    assert key not in page.content()
    expect(page.locator("body")).to_contain_text("works until")
    row.refresh_from_db()
    assert row.digest == digest(key, pepper())
    open_path(page, live_server, "apikey/")
    expect(page.locator("#result_list")).to_contain_text("rotating")
    shoot("key-list")


def test_limits_and_budgets_are_set_and_seen(
    page: Page, live_server: LiveServer, shoot: Shoot
) -> None:
    tenant, _ = Tenant.objects.get_or_create(name="default")
    row, _ = create_key(name="chat-bot", tenant=tenant)
    log_in(page)
    open_path(page, live_server, f"apikey/{row.pk}/change/")
    page.get_by_text("Add another Limit").click()
    page.fill("#id_limits-0-amount", "60")
    page.get_by_text("Add another Budget").click()
    page.fill("#id_budgets-0-amount_usd", "5")
    shoot("key-limits-and-budgets")
    save(page)
    expect(page.locator("body")).to_contain_text("was changed successfully")
    open_path(page, live_server, "limit/")
    expect(page.locator("#result_list")).to_contain_text("key chat-bot")
    shoot("limit-list")
    open_path(page, live_server, "budget/")
    expect(page.locator("#result_list")).to_contain_text("$5.00")
    budget = Budget.objects.get()
    assert budget.api_key == row
    open_path(page, live_server, f"budget/{budget.pk}/change/")
    expect(page.locator("body")).to_contain_text("has a known price")
    shoot("budget-change")


def test_usage_is_seen_by_hour_and_day_and_by_who_it_was(
    page: Page, live_server: LiveServer, shoot: Shoot
) -> None:
    make_usage()
    log_in(page)
    expect(page.locator("body")).to_contain_text("Last 24 hours")
    shoot("index")
    page.locator("#nav-sidebar-apps").get_by_role("link", name="Summary").click()
    charts = page.locator("svg.ailb-chart")
    expect(charts).to_have_count(6)
    expect(charts.first.locator("g")).to_have_count(24)
    shoot("usage-summary")
    page.get_by_role("link", name="By API key").click()
    expect(page.locator(".ailb-usage")).to_contain_text("key of research")
    shoot("usage-by-key")
    page.get_by_role("link", name="key of research").click()
    expect(page.locator("#result_list tbody")).to_have_count(50)
    shoot("usage-list")
    page.locator("a", has_text=re.compile(r"^\s*Filters")).click()
    page.get_by_role("link", name="in-house").click()
    expect(page.locator("#result_list")).to_contain_text("unknown price")
    page.locator("#result_list tbody a").first.click()
    expect(page.locator("body")).to_contain_text("no price is known")
    shoot("usage-record")


def test_spent_budgets_and_unknown_prices_stand_above_every_page(
    page: Page, live_server: LiveServer, shoot: Shoot
) -> None:
    make_usage()
    make_quotas()
    log_in(page)
    banners = page.locator(".ailb-banner")
    expect(banners).to_have_count(3)
    shoot("index-with-banners")
    banners.first.get_by_role("link").click()
    expect(page.locator("#result_list tbody")).to_have_count(1)
    expect(page.locator("#result_list")).to_contain_text("$51.00, 102%")
    for path in ("tenant/", "budget/", "limit/"):
        open_path(page, live_server, path)
        shoot(f"{path[:-1]}-list-with-banners")
    page.locator(".ailb-banner").last.get_by_role("link").click()
    expect(page.locator("#result_list tbody")).to_have_count(1)
    expect(page.locator("#result_list")).to_contain_text("in-house")


def test_other_prices_are_tried_and_saved(
    page: Page, live_server: LiveServer, shoot: Shoot
) -> None:
    make_usage()
    log_in(page)
    open_path(page, live_server, "deployment/")
    run_action(page, "try_prices")
    card = page.locator(".ailb-card", has_text="in-house at acme")
    card.get_by_label("Input", exact=True).fill("1.5")
    card.get_by_label("Output", exact=True).fill("6")
    page.get_by_role("button", name="Calculate").click()
    expect(card).to_contain_text("unknown price")
    expect(card.locator("td").nth(3)).to_contain_text("$")
    shoot("price-trial")
    page.get_by_role("button", name="Save these prices").click()
    expect(page.locator("body")).to_contain_text("Prices saved: in-house")
    row = Deployment.objects.get(upstream_model="in-house")
    assert (row.input_price_per_mtok_usd, row.output_price_per_mtok_usd) == (1.5, 6)
    assert row.cache_read_price_per_mtok_usd is None
    expect(page.locator(".ailb-banner")).to_have_count(0)
    assert UsageRecord.objects.filter(cost_nano_usd=None).exists()
