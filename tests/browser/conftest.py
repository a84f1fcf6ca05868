"""A real browser on a real server.

With AILB_SCREENSHOTS=folder, each step of a test leaves a picture there.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.contrib.auth.models import User
from playwright.sync_api import (
    Browser,
    ConsoleMessage,
    Page,
    Request,
    Response,
    sync_playwright,
)
from pytest_django.live_server_helper import LiveServer

from tests.browser.steps import PASSWORD, Shoot

CHROMIUM = shutil.which("chromium")
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    if CHROMIUM is None:
        pytest.skip("chromium is not installed")
    with pytest.MonkeyPatch.context() as patch, sync_playwright() as playwright:
        # Playwright runs a loop in this thread, which Django takes for a mistake.
        patch.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "true")
        running = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield running
        running.close()


@pytest.fixture
def page(browser: Browser, live_server: LiveServer) -> Iterator[Page]:
    """Open the login page; requests elsewhere and errors in scripts fail the test."""
    User.objects.create_superuser("admin", password=PASSWORD)
    context = browser.new_context(viewport={"width": 1360, "height": 900})
    opened = context.new_page()
    opened.set_default_timeout(15_000)
    faults: list[str] = []

    def note_message(message: ConsoleMessage) -> None:
        if message.type == "error" and "Failed to load resource" not in message.text:
            faults.append(message.text)

    def note_request(request: Request) -> None:
        if not request.url.startswith((live_server.url, "data:")):
            faults.append(f"asked {request.url}")

    def note_response(response: Response) -> None:
        if response.status >= 400 and not response.url.endswith("/favicon.ico"):
            faults.append(f"{response.status} for {response.url}")

    opened.on("pageerror", lambda error: faults.append(str(error)))
    opened.on("console", note_message)
    opened.on("request", note_request)
    opened.on("response", note_response)
    opened.goto(f"{live_server.url}/admin/")
    yield opened
    context.close()
    assert faults == []


@pytest.fixture
def shoot(page: Page) -> Shoot:
    folder = os.environ.get("AILB_SCREENSHOTS")

    def take(name: str) -> None:
        if folder:
            page.screenshot(path=Path(folder) / f"{name}.png", full_page=True)

    return take
