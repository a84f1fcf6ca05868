"""Erasing sessions on the pages of the admin."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.test import Client
from pytest_django import DjangoAssertNumQueries

from gateway.keyring import create_key
from gateway.models import Tenant
from memory.models import Session, Turn, TurnVector, VectorErasure
from tests.gateway.admin.pages import text_of
from tests.memory.admin.rows import client_with, page_of, session, uids_of

pytestmark = pytest.mark.django_db

LIST = "/admin/memory/session/"
YES = {"post": "yes"}


def left() -> set[str]:
    return set(Session.objects.values_list("session_id", flat=True))


def noted() -> set[str]:
    """Give whose vectors will leave the vector store."""
    return set(VectorErasure.objects.values_list("uid", flat=True))


def act(client: Client, *rows: Session, query: str = "", **data: Any) -> Any:
    selected = {"action": "erase", "_selected_action": [row.pk for row in rows]}
    return client.post(LIST + query, selected | data, follow=True)


def test_the_action_asks_first_and_says_what_goes(admin_client: Client) -> None:
    rows = [session("one", summary="They met."), session("two")]
    session("three")
    page = text_of(act(admin_client, *rows))
    for text in ("2 sessions, with", "4 turns, with", "4 vectors, here", "1 summary<"):
        assert text in page, text
    for text in ("one of team", "two of team"):
        assert text in page, text
    assert "three" not in page
    assert left() == {"one", "two", "three"}


def test_a_yes_erases_rows_and_vectors(admin_client: Client) -> None:
    rows, other = [session("one"), session("two")], session("three")
    uids = uids_of(*rows)
    response = act(admin_client, *rows, **YES)
    assert [str(each) for each in response.context["messages"]] == [
        "2 sessions were erased."
    ]
    assert left() == {"three"}
    assert noted() == uids
    assert uids_of(other) == set(Turn.objects.values_list("uid", flat=True))
    assert TurnVector.objects.count() == 2


def test_all_that_a_search_finds_is_erased_across_pages(admin_client: Client) -> None:
    rows = [session(f"s-{number}", ()) for number in range(60)]
    session("other", ())
    across = {"select_across": "1"}
    page = text_of(act(admin_client, rows[0], query="?q=s-", **across))
    assert "60 sessions, with" in page
    assert "and 40 more" in page
    assert 'name="select_across" value="1"' in page
    assert page.count('name="_selected_action"') == 1
    act(admin_client, rows[0], query="?q=s-", **across, **YES)
    assert left() == {"other"}


def test_deleting_one_session_says_what_goes_and_erases_it(
    admin_client: Client,
) -> None:
    row = session()
    session("other")
    uids = uids_of(row)
    url = f"{LIST}{row.pk}/delete/"
    page = text_of(admin_client.get(url))
    assert "2 turns, with" in page
    assert left() == {"user-123", "other"}
    assert admin_client.post(url, YES).status_code == HTTPStatus.FOUND
    assert left() == {"other"}
    assert noted() == uids


def test_all_sessions_of_an_owner_are_erased_within_its_tenant(
    admin_client: Client,
) -> None:
    key, _ = create_key(name="bot", tenant=Tenant.objects.create(name="team"))
    rows = [session(name, owner=key.public_id) for name in ("one", "two")]
    session("nobody's")
    session("elsewhere", tenant="other", owner=key.public_id)
    uids = uids_of(*rows)
    url = f"{LIST}{rows[0].pk}/erase_owner/"
    assert url in text_of(admin_client.get(page_of(rows[0])))
    page = text_of(admin_client.get(url))
    assert f"Erase all sessions of bot ({key.public_id}) in team" in page
    assert "2 sessions, with" in page
    assert len(left()) == 4
    admin_client.post(url, YES)
    assert left() == {"nobody's", "elsewhere"}
    assert noted() == uids


def test_sessions_without_a_key_are_an_owner_of_their_own(
    admin_client: Client,
) -> None:
    row = session("one")
    session("two", owner="k")
    url = f"{LIST}{row.pk}/erase_owner/"
    assert "of nobody with a key in team" in text_of(admin_client.get(url))
    admin_client.post(url, YES)
    assert left() == {"two"}


def test_what_is_not_there_cannot_be_erased(admin_client: Client) -> None:
    session()
    for path in ("999/erase_owner/", "x/erase_owner/", "x/delete/", "999/delete/"):
        response = admin_client.post(LIST + path, YES)
        assert response.status_code in {HTTPStatus.FOUND, HTTPStatus.FORBIDDEN}
    assert left() == {"user-123"}


def test_nothing_is_erased_without_the_right(db: None) -> None:
    row = session()
    client = client_with("view_session", "change_session", "view_turn")
    assert "erase_owner" not in text_of(client.get(page_of(row)))
    act(client, row, **YES)
    for path in ("delete/", "erase_owner/"):
        response = client.post(f"{LIST}{row.pk}/{path}", YES)
        assert response.status_code == HTTPStatus.FORBIDDEN
    assert left() == {"user-123"}


def test_who_erased_what_is_noted_without_what_was_said(admin_client: Client) -> None:
    act(admin_client, session("one"), **YES)
    assert [entry.object_repr for entry in LogEntry.objects.all()] == ["one"]


def test_erasing_does_not_read_what_was_said(
    admin_client: Client, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    row = session(turns=[("user", "secret")] * 500)
    url = f"{LIST}{row.pk}/delete/"
    admin_client.get(url)
    with django_assert_max_num_queries(32) as queries:
        admin_client.get(url)
        admin_client.post(url, YES)
    assert not [each for each in queries if '"memory_turn"."text"' in each["sql"]]


def test_a_tenant_goes_with_its_sessions_and_their_vectors(
    admin_client: Client,
) -> None:
    row, other = session(), session("other", tenant="stays")
    uids = uids_of(row)
    url = f"/admin/gateway/tenant/{row.tenant_id}/delete/"
    assert admin_client.post(url, YES).status_code == HTTPStatus.FOUND
    assert list(Session.objects.all()) == [other]
    assert noted() == uids


def test_deleting_a_tenant_reads_none_of_its_turns(
    admin_client: Client, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    row = session(turns=[("user", "secret")] * 500)
    url = f"/admin/gateway/tenant/{row.tenant_id}/delete/"
    admin_client.get(url)
    with django_assert_max_num_queries(50) as queries:
        page = text_of(admin_client.get(url))
        admin_client.post(url, YES)
    assert "user-123" in page
    assert "500 user" not in page
    assert not [each for each in queries if '"memory_turn"."text"' in each["sql"]]
    assert (Turn.objects.count(), TurnVector.objects.count()) == (0, 0)
    assert len(noted()) == 500
