"""The admin in a real browser: what an operator does first."""

from __future__ import annotations

import re
import socket

from django.conf import settings
from playwright.sync_api import Page, expect
from pytest_django.live_server_helper import LiveServer

from gateway.crypto import Secret
from gateway.models import Deployment, Model, Provider, RoutingStrategy
from tests.browser.steps import Shoot, log_in, open_path, run_action, save

CANARY = "sk-canary-browser-Qx7r"


def closed_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port: int = taken.getsockname()[1]
        return port


def stored_credential() -> str:
    stored: Secret = Provider.objects.get().credential
    return stored.reveal(settings.AILB_ENCRYPTION_KEYS)


def test_an_operator_adds_a_provider_and_its_credential_never_comes_back(
    page: Page, live_server: LiveServer, shoot: Shoot
) -> None:
    shoot("login")
    log_in(page)
    shoot("index")
    open_path(page, live_server, "provider/add/")
    page.fill("#id_name", "acme")
    page.select_option("#id_kind", "openai_compatible")
    page.fill("#id_base_url", "https://llm.example.org/v1")
    page.fill("#id_credential", CANARY)
    shoot("provider-add")
    save(page)
    expect(page.locator("body")).to_contain_text("was added successfully")
    row = page.locator("#result_list tbody tr")
    expect(row).to_have_count(1)
    for text in ("acme", "openai_compatible", "https://llm.example.org/v1", "…Qx7r"):
        expect(row).to_contain_text(text)
    shoot("provider-list")
    assert CANARY not in page.content()
    assert stored_credential() == CANARY

    row.get_by_role("link", name="acme").first.click()
    expect(page.locator("#id_credential")).to_have_value("")
    shoot("provider-change")
    assert CANARY not in page.content()
    page.fill("#id_weight", "5")
    save(page)
    expect(page.locator("body")).to_contain_text("was changed successfully")
    assert Provider.objects.get().weight == 5
    assert stored_credential() == CANARY


def test_a_bad_address_shows_its_error_at_the_field(
    page: Page, live_server: LiveServer, shoot: Shoot
) -> None:
    log_in(page)
    open_path(page, live_server, "provider/add/")
    page.fill("#id_name", "acme")
    page.select_option("#id_kind", "openai")
    page.fill("#id_base_url", "http://169.254.169.254/v1")
    page.fill("#id_credential", CANARY)
    save(page)
    error = page.locator(".field-base_url, [class*=field-base_url]").first
    expect(error).to_contain_text("may not be a provider's")
    shoot("provider-error")
    assert CANARY not in page.content()
    assert not Provider.objects.exists()


def test_another_host_asks_for_the_credential_again(
    page: Page, live_server: LiveServer, shoot: Shoot
) -> None:
    row = Provider.objects.create(
        name="acme",
        kind="openai",
        base_url="https://llm.example.org/v1",
        credential=CANARY,
    )
    log_in(page)
    open_path(page, live_server, f"provider/{row.pk}/change/")
    page.fill("#id_base_url", "https://elsewhere.example.org/v1")
    save(page)
    expect(page.locator("[class*=field-credential]").last).to_be_visible()
    expect(page.locator("body")).to_contain_text("Enter the credential again")
    shoot("provider-host-changed")


def test_testing_a_closed_port_says_that_nothing_listens(
    page: Page, live_server: LiveServer, shoot: Shoot
) -> None:
    url = f"http://127.0.0.1:{closed_port()}/v1"
    Provider.objects.create(name="acme", kind="openai", base_url=url)
    log_in(page)
    open_path(page, live_server, "provider/")
    run_action(page, "test_connection")
    expect(page.locator("body")).to_contain_text(f"acme: Nothing listens at {url}.")
    shoot("provider-test-connection")


def test_a_deployment_is_added_on_the_page_of_its_model(
    page: Page, live_server: LiveServer, shoot: Shoot
) -> None:
    provider = Provider.objects.create(
        name="acme", kind="openai", base_url="https://llm.example.org/v1"
    )
    model = Model.objects.create(name="gpt-4")
    Deployment.objects.create(model=model, provider=provider, upstream_model="gpt-4")
    log_in(page)
    open_path(page, live_server, f"model/{model.pk}/change/")
    shoot("model-change")
    page.get_by_text("Add another", exact=False).first.click()
    page.locator("#id_deployments-1-upstream_model").fill("gpt-4-turbo")
    page.locator("#select2-id_deployments-1-provider-container").click()
    page.locator(".select2-results__option", has_text="acme").click()
    shoot("model-add-deployment")
    save(page)
    expect(page.locator("body")).to_contain_text("was changed successfully")
    assert Deployment.objects.filter(upstream_model="gpt-4-turbo").exists()


def test_the_other_pages_look_as_they_should(
    page: Page, live_server: LiveServer, shoot: Shoot
) -> None:
    provider = Provider.objects.create(
        name="acme", kind="openai", base_url="https://llm.example.org/v1"
    )
    model = Model.objects.create(name="gpt-4", fallbacks=["llama3"])
    row = Deployment.objects.create(
        model=model, provider=provider, upstream_model="gpt-4", source="environment"
    )
    RoutingStrategy.objects.get_or_create(
        name=settings.ROUTING_STRATEGY, algorithm=settings.ROUTING_STRATEGY
    )
    log_in(page)
    for path, text in {
        "model/": "llama3",
        "deployment/": "acme",
        f"deployment/{row.pk}/change/": "Comes from environment variables",
        "routingstrategy/": "default",
        "routingstrategy/add/": "Breaker",
        "heartbeat/": "heartbeat",
    }.items():
        open_path(page, live_server, path)
        expect(page.locator("body")).to_contain_text(text)
        shoot(re.sub(r"\W+|\d+", "-", path).strip("-"))
