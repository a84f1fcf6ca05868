"""What an operator does on every page of the admin."""

from __future__ import annotations

import re
from collections.abc import Callable

from playwright.sync_api import Page, expect
from pytest_django.live_server_helper import LiveServer

PASSWORD = "correct horse battery staple"

Shoot = Callable[[str], None]


def log_in(page: Page) -> None:
    page.fill("#id_username", "admin")
    page.fill("#id_password", PASSWORD)
    page.locator("form#login-form button, form [type=submit]").first.click()
    expect(page).to_have_title(re.compile("AILB"))
    expect(page.locator("#id_username")).to_have_count(0)


def open_path(page: Page, live_server: LiveServer, path: str) -> None:
    page.goto(f"{live_server.url}/admin/gateway/{path}")


def save(page: Page) -> None:
    page.locator("[name=_save]").click()


def run_action(page: Page, action: str) -> None:
    page.locator("#action-toggle").check()
    page.locator("select[name=action]").first.select_option(action)
    page.locator("button[name=index]").first.click()
