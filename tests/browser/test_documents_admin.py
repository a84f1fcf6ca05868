"""Collections and documents in a real browser: dropped, followed, tried, deleted.

On a gateway of its own, with the jobs process that indexes what is brought.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from playwright.sync_api import Browser, Locator, Page, Response, expect

from gateway.models import ApiKey
from rag.models import Collection, Document, Index, IndexState, Version
from tests.api.documents_client import Librarian, librarian, no_failures
from tests.api.gateway_process import Gateway, fresh, wait_until
from tests.api.rag_scenes import RAG, running_jobs
from tests.browser.steps import PASSWORD, Shoot, log_in, save
from tests.rag.documents import pdf

MARKUP = "<img src=x onerror=alert(1)>"
LEAVE = ["The parental leave is fourteen weeks long.", "It begins with the birth."]
TRAVEL = "# Travel\n\nTrains are paid for in second class, and so are bicycles.\n"
QUESTION = "How many weeks is the parental leave?"
INDEXED_MS = 60_000.0  # a busy machine loads the embedder first
# Puts files where somebody drops them.
DROP = """
([area, files]) => {
    const carried = new DataTransfer();
    for (const [name, text] of files) {
        carried.items.add(new File([text], name));
    }
    for (const kind of ["dragenter", "dragover", "drop"]) {
        area.dispatchEvent(new DragEvent(kind, {
            dataTransfer: carried, bubbles: true, cancelable: true,
        }));
    }
}
"""
# Notes all that the lines of uploads ever said.
LISTEN = """
() => {
    window.said = [];
    new MutationObserver(() => {
        for (const line of document.querySelectorAll(".rag-uploads li")) {
            window.said.push(line.textContent);
        }
    }).observe(document.querySelector(".rag-uploads"), {
        childList: true, subtree: true, characterData: true,
    });
}
"""


@pytest.fixture(scope="module")
def site(start_gateway: Callable[..., Gateway]) -> Iterator[Gateway]:
    """Start a gateway that indexes documents of up to a megabyte."""
    site = start_gateway(AILB_MAX_DOCUMENT_MB="1", **RAG)
    User.objects.db_manager(site.alias).create_superuser("admin", password=PASSWORD)
    with running_jobs(site), no_failures(site):
        yield site


@pytest.fixture(scope="module")
def logged_in(browser: Browser, site: Gateway) -> Any:
    """Log in once; give what a browser keeps of that."""
    context = browser.new_context()
    page = context.new_page()
    page.goto(f"{site.url}/admin/")
    log_in(page)
    kept = context.storage_state()
    context.close()
    return kept


@pytest.fixture
def page(browser: Browser, site: Gateway, logged_in: Any) -> Iterator[Page]:
    """Open a page; what a script, an answer or a dialog has to complain of fails."""
    context = browser.new_context(
        viewport={"width": 1360, "height": 900}, storage_state=logged_in
    )
    opened = context.new_page()
    opened.set_default_timeout(15_000)
    faults: list[str] = []

    def note_response(response: Response) -> None:
        is_ours = response.url.startswith(site.url)
        if response.status >= 400 or not is_ours:
            faults.append(f"{response.status} for {response.url}")

    opened.on("pageerror", lambda error: faults.append(str(error)))
    opened.on("dialog", lambda dialog: faults.append(dialog.message))
    opened.on("response", note_response)
    yield opened
    context.close()
    assert faults == []


@pytest.fixture(scope="module")
def keeper(site: Gateway) -> Librarian:
    """Make a key, by which collections are made."""
    return librarian(site, "staff")


@pytest.fixture
def collection(site: Gateway, keeper: Librarian) -> Collection:
    """Make an empty collection."""
    return site.rows(Collection).get(name=keeper.make())


def open_rag(page: Page, site: Gateway, path: str) -> None:
    page.goto(f"{site.url}/admin/rag/{path}")


def line_of(page: Page, name: str) -> Locator:
    return page.locator(".rag-uploads li", has_text=name)


def row_of(page: Page, name: str) -> Locator:
    return page.locator("#rag-documents tbody tr", has_text=name)


def expect_ready(line: Locator) -> None:
    expect(line).to_contain_text("ready", timeout=INDEXED_MS)


def drop(page: Page, files: dict[str, str]) -> None:
    area = page.locator(".rag-drop").element_handle()
    page.evaluate(DROP, [area, list(files.items())])


def write(folder: Path, name: str, content: str | bytes) -> Path:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def in_each_theme(page: Page, shoot: Shoot, name: str) -> None:
    """Take pictures on a wide screen and on a narrow one, light and dark."""
    if "AILB_SCREENSHOTS" not in os.environ:
        return
    for width in (1400, 420):
        page.set_viewport_size({"width": width, "height": 900})
        shoot(f"{name}-{width}")
        page.evaluate("document.documentElement.classList.add('dark')")
        shoot(f"{name}-{width}-dark")
        page.evaluate("document.documentElement.classList.remove('dark')")
    page.set_viewport_size({"width": 1360, "height": 900})


def test_files_are_dropped_and_followed_until_they_are_found(
    page: Page,
    site: Gateway,
    collection: Collection,
    shoot: Shoot,
    tmp_path: Path,
) -> None:
    open_rag(page, site, f"collection/{collection.pk}/change/")
    expect(page.locator("#rag-documents")).to_contain_text("no documents yet")
    in_each_theme(page, shoot, "collection-empty")
    page.evaluate(LISTEN)
    broken = write(tmp_path, "broken.pdf", b"%PDF-1.7\nnothing of it")
    page.set_input_files(
        "#rag-file", [write(tmp_path, "leave.pdf", pdf(LEAVE)), broken]
    )
    large = {"large.txt": "x" * (2**20 + 1), "empty.txt": ""}
    drop(page, {**large, "travel.md": TRAVEL, f"{MARKUP}.txt": MARKUP})
    for name in ("leave.pdf", "travel.md", MARKUP):
        expect_ready(line_of(page, name))
        expect_ready(row_of(page, name))
    shown = "failed: This file is damaged"
    expect(line_of(page, "broken.pdf")).to_contain_text(shown, timeout=INDEXED_MS)
    expect(row_of(page, "broken.pdf")).to_contain_text("This file is damaged")
    expect(line_of(page, "large.txt")).to_contain_text("larger than the 1 MB")
    expect(line_of(page, "empty.txt")).to_contain_text("It is empty")
    expect(page.locator("#rag-indexes")).to_contain_text("3 of 4")
    expect(page.locator("progress:visible")).to_have_count(0)
    assert "leave.pdfuploading, 100%" in page.evaluate("window.said")
    assert site.rows(Document).filter(collection=collection).count() == 4

    page.fill("#id_question", QUESTION)
    page.get_by_role("button", name="Try").click()
    hit = page.locator(".rag-hit").first
    expect(hit).to_contain_text("leave.pdf")
    expect(hit).to_contain_text("page 1")
    expect(hit.locator(".rag-text")).to_contain_text(LEAVE[0])
    in_each_theme(page, shoot, "collection")

    hit.get_by_role("link").click()
    expect(page.locator("mark")).to_contain_text(LEAVE[0])
    expect(page.locator("#rag-state")).to_contain_text("ready")
    in_each_theme(page, shoot, "document")


def test_without_scripts_files_are_uploaded_and_tried(
    browser: Browser,
    site: Gateway,
    collection: Collection,
    logged_in: Any,
    tmp_path: Path,
) -> None:
    context = browser.new_context(java_script_enabled=False, storage_state=logged_in)
    page = context.new_page()
    open_rag(page, site, f"collection/{collection.pk}/change/")
    files = [
        write(tmp_path, "travel.md", TRAVEL),
        write(tmp_path, "leave.pdf", pdf(LEAVE)),
    ]
    page.set_input_files("#rag-file", files)
    page.get_by_role("button", name="Upload").click()
    for name in ("travel.md", "leave.pdf"):
        expect(page.locator("body")).to_contain_text(f"{name}: added")
    mine = site.rows(Version).filter(document__collection=collection)
    wait_until(
        lambda: mine.filter(state="ready").count() == len(files),
        "both are ready",
        limit_s=INDEXED_MS / 1000,
    )
    page.reload()
    expect(row_of(page, "leave.pdf")).to_contain_text("ready")
    page.fill("#id_question", "trains in second class")
    page.get_by_role("button", name="Try").click()
    expect(page.locator(".rag-hit").first).to_contain_text("travel.md")
    expect(page.locator("#id_question")).to_have_value("trains in second class")
    context.close()


def test_a_collection_is_made_for_named_keys(
    page: Page, site: Gateway, shoot: Shoot
) -> None:
    site.add_key(tenant="shop", name="shop bot")
    name = fresh("collection")
    open_rag(page, site, "collection/")
    page.get_by_role("link", name="Collections").first.click()
    open_rag(page, site, "collection/add/")
    expect(page.locator("#id_chunk_tokens")).to_have_value("200")
    readers = page.locator(".field-readers")
    expect(readers).to_be_hidden()
    in_each_theme(page, shoot, "collection-add")
    page.fill("#id_name", name)
    page.locator("#select2-id_tenant-container").click()
    page.locator(".select2-results__option", has_text="shop").click()
    page.select_option("#id_visibility", "keys")
    expect(readers).to_be_visible()
    readers.locator(".select2").first.click()
    page.locator(".select2-results__option", has_text="shop bot").click()
    save(page)
    expect(page.locator("body")).to_contain_text("was added successfully")
    expect(page.locator("#rag-indexes")).to_contain_text("200 tokens")
    row = site.rows(Collection).get(name=name)
    assert row.tenant.name == "shop"
    assert list(row.readers.all()) == [site.rows(ApiKey).get(name="shop bot")]
    open_rag(page, site, "collection/")
    expect(page.locator("#result_list")).to_contain_text("named keys")
    in_each_theme(page, shoot, "collections")
    open_rag(page, site, "document/")
    in_each_theme(page, shoot, "documents")


def test_a_collection_is_indexed_anew_and_goes_back(
    page: Page, site: Gateway, collection: Collection, shoot: Shoot
) -> None:
    indexes = page.locator("#rag-indexes")
    open_rag(page, site, f"collection/{collection.pk}/change/")
    drop(page, {"travel.md": TRAVEL})
    expect_ready(line_of(page, "travel.md"))
    page.get_by_text("Re-index with another model or chunk size").click()
    page.fill("#id_reindex-chunk_tokens", "64")
    page.get_by_role("button", name="Re-index").click()
    expect(page.locator("body")).to_contain_text("Another index is being built")
    expect(indexes).to_contain_text("Served before", timeout=INDEXED_MS)
    in_each_theme(page, shoot, "collection-indexed")

    page.get_by_role("button", name="Go back to it").click()
    expect(page.locator("body")).to_contain_text("and then serves again")
    mine = site.rows(Index).filter(collection=collection)
    wait_until(
        lambda: mine.filter(state=IndexState.ACTIVE, chunk_tokens=200).exists(),
        "the former index serves again",
        limit_s=INDEXED_MS / 1000,
    )
    expect(indexes).to_contain_text("Served before")
    expect(indexes).not_to_contain_text("Is being built")
    page.get_by_role("button", name="Discard it").click()
    expect(page.locator("body")).to_contain_text("The former index is discarded.")
    expect(indexes).not_to_contain_text("Served before")


def test_a_document_is_replaced_described_and_deleted(
    page: Page,
    site: Gateway,
    collection: Collection,
    shoot: Shoot,
    tmp_path: Path,
) -> None:
    mine = site.rows(Document).filter(collection=collection)
    open_rag(page, site, f"collection/{collection.pk}/change/")
    page.set_input_files("#rag-file", write(tmp_path, "leave.pdf", pdf(LEAVE)))
    expect_ready(line_of(page, "leave.pdf"))
    row_of(page, "leave.pdf").get_by_role("link").click()

    with page.expect_download() as started:
        page.get_by_role("link", name="Download").click()
    assert started.value.suggested_filename == "leave.pdf"
    assert Path(started.value.path()).read_bytes() == pdf(LEAVE)
    page.fill("#id_attributes", '{"year": 2026}')
    page.get_by_role("button", name="Save and continue editing").click()
    expect(page.locator("body")).to_contain_text("was changed successfully")
    assert mine.get().attributes == {"year": 2026}

    text = "The leave is twenty weeks long."
    page.set_input_files("#rag-file", write(tmp_path, "new.md", text))
    expect_ready(line_of(page, "new.md"))
    expect(page.locator("#rag-state")).to_have_text("ready")
    page.reload()
    expect(page.locator("#text")).to_contain_text(text)
    assert mine.get().filename == "new.md"

    page.get_by_role("link", name="Delete document").click()
    card = page.locator("form.ailb-card")
    expect(card).to_contain_text("1 document")
    in_each_theme(page, shoot, "document-delete")
    card.get_by_role("button", name="Delete").click()
    expect(page.locator("body")).to_contain_text("1 document was deleted.")
    expect(page.locator("#rag-documents")).to_contain_text("no documents yet")
    assert not mine.exists()
