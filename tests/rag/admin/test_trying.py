"""The box that questions are tried in."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

import pytest
from django.test import Client
from pytest_django import Settings

from rag.models import Collection
from tests.gateway.admin.pages import text_of
from tests.memory.admin.rows import client_with
from tests.rag.admin.pages import COLLECTIONS, MARKUP, SCRIPT, make_collection
from tests.rag.library_scenes import make_scope
from tests.rag.passage_scenes import make_shelf, put

pytestmark = pytest.mark.django_db


@pytest.fixture
def shelf() -> Collection:
    """Make a collection whose vectors are of an embedder that is not there."""
    shelf = make_shelf(make_scope("team"))
    put(shelf, f"The parental leave is long {MARKUP}", "Trains go.", filename=MARKUP)
    return shelf


def ask(
    client: Client, row: Collection, *, is_script: bool = True, **fields: Any
) -> Any:
    data = {"question": "parental leave", "how_many": "3", **fields}
    headers = SCRIPT if is_script else {}
    return client.post(f"{COLLECTIONS}{row.pk}/try/", data, **headers)  # type: ignore[arg-type]  # headers of a test


def test_hits_are_shown_with_score_place_and_text(
    admin_client: Client, shelf: Collection
) -> None:
    page = text_of(ask(admin_client, shelf))
    document = shelf.documents.get()
    for text in (
        "score 1.00",
        "keyword 1.00",
        "page 1",
        "characters 0 to 55",
        f"/admin/rag/document/{document.pk}/change/?from=0&amp;to=55#text",
        "The parental leave is long &lt;img",
    ):
        assert text in page, text
    assert MARKUP not in page
    assert "Trains" not in page
    assert "<html" not in page


def test_a_search_that_was_not_complete_says_why(
    admin_client: Client, shelf: Collection
) -> None:
    page = text_of(ask(admin_client, shelf))
    assert "The search was not complete." in page
    assert "re-index" in page.lower()


def test_without_scripts_there_is_a_page_of_its_own(
    admin_client: Client, shelf: Collection
) -> None:
    page = text_of(ask(admin_client, shelf, is_script=False))
    assert "<html" in page
    assert "The parental leave is long" in page
    assert 'value="parental leave"' in page
    assert "Back to handbook" in page


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"question": " "}, "Type a question first."),
        ({"question": "x" * 2001}, "at most 2000 characters"),
        ({"how_many": "0"}, "greater than or equal to 1"),
        ({"how_many": "21"}, "less than or equal to 20"),
    ],
)
def test_a_bad_question_says_what_is_wrong(
    admin_client: Client, shelf: Collection, fields: dict[str, Any], said: str
) -> None:
    page = text_of(ask(admin_client, shelf, **fields))
    assert said in page
    assert "rag-hit" not in page


def test_as_many_are_shown_as_were_asked_for(
    admin_client: Client, shelf: Collection
) -> None:
    put(shelf, "The parental allowance and leave are paid.", filename="b.txt")
    assert text_of(ask(admin_client, shelf)).count("rag-hit") == 2
    assert text_of(ask(admin_client, shelf, how_many="1")).count("rag-hit") == 1


def test_nothing_found_is_said(admin_client: Client) -> None:
    page = text_of(ask(admin_client, make_collection()))
    assert "Nothing was found." in page


def test_it_is_for_those_who_may_see_documents(shelf: Collection) -> None:
    client = client_with("view_collection", "view_document")
    assert "rag-hit" in text_of(ask(client, shelf))
    client.logout()
    assert ask(client, shelf).status_code == HTTPStatus.FOUND


def test_nothing_is_searched_while_documents_are_switched_off(
    admin_client: Client, shelf: Collection, settings: Settings
) -> None:
    settings.ENABLE_RAG = False
    page = text_of(ask(admin_client, shelf))
    assert "ENABLE_RAG=true" in page
    assert "rag-hit" not in page
