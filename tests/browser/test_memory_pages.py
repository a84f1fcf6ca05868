"""Memory's pages in a real browser: what was said is read, found and erased."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Dialog, Page, expect
from pytest_django.live_server_helper import LiveServer

from gateway.keyring import create_key
from gateway.models import Model, Tenant
from memory.models import MemoryPolicy, Session, Turn, VectorErasure
from tests.browser.steps import Shoot, log_in, run_action, save
from tests.memory.admin.rows import SAID, session, uids_of

MARKUP = "<img src=x onerror=alert(1)>"
LONG = "A thing that nobody would say in one breath, " * 30
TALK = [
    *SAID,
    ("user", "Which wines go with lamb?\n\n- red ones?\n- white ones?"),
    ("assistant", 'called find_wine({"dish": "lamb"})'),
    ("tool", '{"wines": ["Rioja", "Cahors"]}'),
    ("assistant", "A Rioja or a Cahors.\n" + LONG),
    ("user", MARKUP),
]


@pytest.fixture
def dialogs(page: Page) -> list[str]:
    """Note what scripts say; none may."""
    said: list[str] = []

    def note(dialog: Dialog) -> None:
        said.append(dialog.message)
        dialog.dismiss()

    page.on("dialog", note)
    return said


def open_memory(page: Page, live_server: LiveServer, path: str) -> None:
    page.goto(f"{live_server.url}/admin/memory/{path}")


def in_dark(page: Page, shoot: Shoot, name: str) -> None:
    """Take a picture in each theme."""
    shoot(name)
    page.evaluate("document.documentElement.classList.add('dark')")
    shoot(f"{name}-dark")
    page.evaluate("document.documentElement.classList.remove('dark')")


def make_sessions() -> Session:
    """Make a conversation of each kind, and some more of a key's."""
    key, _ = create_key(name="shop bot", tenant=Tenant.objects.create(name="shop"))
    row = session(
        "user-123",
        TALK,
        tenant="shop",
        owner=key.public_id,
        summary="Alice asks for wines that go with lamb.",
    )
    Turn.objects.filter(seq=2).update(is_superseded=True)
    Turn.objects.filter(seq=6).update(is_partial=True, embedding_state="pending")
    session(MARKUP, [("user", MARKUP)], tenant="shop", owner=key.public_id)
    session("x" * 256, SAID * 60)
    return row


def test_an_operator_reads_and_finds_what_was_said(
    page: Page, live_server: LiveServer, shoot: Shoot, dialogs: list[str]
) -> None:
    row = make_sessions()
    log_in(page)
    page.get_by_role("link", name="Sessions").first.click()
    rows = page.locator("#result_list tbody tr")
    expect(rows).to_have_count(3)
    expect(page.locator("#result_list")).to_contain_text(MARKUP)
    in_dark(page, shoot, "sessions")

    page.fill("input[name=q]", "go with lamb")
    page.keyboard.press("Enter")
    expect(rows).to_have_count(1)
    rows.get_by_role("link", name="user-123").click()
    turns = page.locator(".memory-turn")
    expect(turns).to_have_count(len(TALK))
    expect(turns.nth(1)).to_contain_text("superseded")
    expect(turns.nth(5)).to_contain_text("partial")
    expect(turns.nth(6).locator(".memory-text")).to_have_text(MARKUP)
    expect(page.locator("body")).to_contain_text("Alice asks for wines")
    in_dark(page, shoot, "session")

    page.fill("#said", "cahors")
    page.get_by_role("button", name="Find").click()
    expect(turns).to_have_count(2)
    shoot("session-found")
    page.get_by_role("link", name="Show all").click()
    expect(turns).to_have_count(len(TALK))

    page.fill("#id_ttl_days", "7")
    page.fill("#id_settings", '{"recall_turns": 4}')
    save(page)
    expect(page.locator("body")).to_contain_text("was changed successfully")
    row.refresh_from_db()
    assert (row.ttl_days, row.settings) == (7, {"recall_turns": 4})
    assert dialogs == []


def test_a_long_conversation_is_turned_page_by_page(
    page: Page, live_server: LiveServer, shoot: Shoot
) -> None:
    row = session("long", [("user", f"turn {n}.") for n in range(1, 121)])
    log_in(page)
    open_memory(page, live_server, f"session/{row.pk}/change/")
    first = page.locator(".memory-turn .memory-text").first
    expect(first).to_have_text("turn 101.")
    page.get_by_role("link", name="Older").first.click()
    expect(first).to_have_text("turn 51.")
    shoot("session-pages")
    page.get_by_role("link", name="Oldest").first.click()
    expect(first).to_have_text("turn 1.")


def test_sessions_are_erased_after_a_question_that_says_what_goes(
    page: Page, live_server: LiveServer, shoot: Shoot, dialogs: list[str]
) -> None:
    row = make_sessions()
    log_in(page)
    open_memory(page, live_server, f"session/{row.pk}/change/")
    uids = uids_of(*Session.objects.filter(owner=row.owner))
    page.get_by_role("link", name="Erase all of this owner").click()
    card = page.locator("form.ailb-card")
    expect(card).to_contain_text("2 sessions")
    expect(card).to_contain_text("8 turns")
    expect(card).to_contain_text(MARKUP)
    in_dark(page, shoot, "session-erase-owner")
    card.get_by_role("button", name="Erase").click()
    expect(page.locator("body")).to_contain_text("2 sessions were erased.")
    shoot("sessions-erased")
    assert set(VectorErasure.objects.values_list("uid", flat=True)) >= uids

    run_action(page, "erase")
    expect(card).to_contain_text("120 turns")
    shoot("session-erase")
    card.get_by_role("button", name="Erase").click()
    expect(page.locator("body")).to_contain_text("1 session was erased.")
    assert not Session.objects.exists()
    assert dialogs == []


def test_one_session_is_deleted_from_its_page(
    page: Page, live_server: LiveServer, shoot: Shoot
) -> None:
    row = session()
    log_in(page)
    open_memory(page, live_server, f"session/{row.pk}/change/")
    page.get_by_role("link", name="Delete session").click()
    card = page.locator("form.ailb-card")
    expect(card).to_contain_text("2 turns")
    shoot("session-delete")
    card.get_by_role("link", name="Cancel").click()
    expect(page).to_have_url(re.compile(r"/change/|/session/$"))
    assert Session.objects.exists()
    open_memory(page, live_server, f"session/{row.pk}/delete/")
    card.get_by_role("button", name="Erase").click()
    expect(page.locator("body")).to_contain_text("deleted successfully")
    assert not Session.objects.exists()


def test_policies_say_whom_they_are_for_and_what_holds_else(
    page: Page, live_server: LiveServer, shoot: Shoot
) -> None:
    key, _ = create_key(name="shop bot", tenant=Tenant.objects.create(name="shop"))
    MemoryPolicy.objects.create(max_tokens=2_000)
    MemoryPolicy.objects.create(api_key=key, is_enabled=False)
    Model.objects.create(name="gpt-4")
    log_in(page)
    page.get_by_role("link", name="Memory policies").first.click()
    page.get_by_role("link", name="Add").first.click()
    open_memory(page, live_server, "memorypolicy/add/")
    expect(page.locator("#id_max_tokens")).to_have_attribute("placeholder", "2,000")
    in_dark(page, shoot, "policy-add")
    page.locator(".field-model .select2").first.click()
    page.locator(".select2-results__option", has_text="gpt-4").click()
    page.select_option("#id_is_required", "True")
    page.fill("#id_recall_turns", "5")
    save(page)
    expect(page.locator("body")).to_contain_text("was added successfully")
    expect(page.locator("#result_list tbody tr")).to_have_count(3)
    in_dark(page, shoot, "policies")
    row = MemoryPolicy.objects.get(model__name="gpt-4")
    assert (row.is_enabled, row.is_required, row.recall_turns) == (None, True, 5)
