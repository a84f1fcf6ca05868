"""The pages of sessions."""

from __future__ import annotations

from datetime import timedelta
from http import HTTPStatus
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from gateway.keyring import create_key
from gateway.models import Model, Tenant
from memory.models import MemoryPolicy, Session, Turn
from tests.gateway.admin.pages import errors_in, saved, text_of
from tests.memory.admin.rows import SAID, add_turns, client_with, page_of, session

pytestmark = pytest.mark.django_db

LIST = "/admin/memory/session/"
MARKUP = "<img src=x onerror=alert(1)>"


def form(**fields: Any) -> dict[str, Any]:
    return {"ttl_days": "", "settings": "{}", **fields}


def found_by(client: Client, **query: str) -> set[str]:
    rows: Any = client.get(LIST, query).context["cl"].result_list
    return {row.session_id for row in rows}


def test_the_list_names_tenant_key_turns_and_times(admin_client: Client) -> None:
    key, _ = create_key(name="bot", tenant=Tenant.objects.create(name="team"))
    used = timezone.now().replace(year=2031, month=5, day=6, hour=7, minute=8)
    session(
        owner=key.public_id,
        created_at=used - timedelta(days=2),
        last_used_at=used,
        expires_at=used + timedelta(days=30),
    )
    session("endless", tenant="other", expires_at=None)
    page = text_of(admin_client.get(LIST))
    for text in (
        "user-123",
        "team",
        ">bot<",
        ">2<",
        "4 May 2031 07:08",
        "6 May 2031 07:08",
        "5 Jun 2031 07:08",
        "no key",
        "never",
    ):
        assert text in page, text


def test_a_session_that_has_ended_says_so(admin_client: Client) -> None:
    session(expires_at=timezone.now() - timedelta(hours=1))
    assert "has ended" in text_of(admin_client.get(LIST))


def test_sessions_are_found_by_id_by_what_was_said_and_by_tenant(
    admin_client: Client,
) -> None:
    session("first")
    session("second", [("user", "I like 100% wool")], tenant="other")
    assert found_by(admin_client) == {"first", "second"}
    assert found_by(admin_client, q="FIRS") == {"first"}
    assert found_by(admin_client, q="is alice") == {"first"}
    assert found_by(admin_client, q="100% w") == {"second"}
    assert found_by(admin_client, q="100_") == set()
    other = str(Tenant.objects.get(name="other").pk)
    assert found_by(admin_client, tenant__id__exact=other) == {"second"}
    assert found_by(admin_client, q="Alice", tenant__id__exact=other) == set()


def test_the_page_of_a_session_is_its_conversation(admin_client: Client) -> None:
    row = session()
    Turn.objects.filter(seq=1).update(is_superseded=True)
    Turn.objects.filter(seq=2).update(is_partial=True, embedding_state="failed")
    page = text_of(admin_client.get(page_of(row)))
    for text in (*[text for _, text in SAID], "superseded", "partial", "gpt-4"):
        assert text in page, text
    assert "cannot be embedded" in page
    assert page.index(SAID[0][1]) < page.index(SAID[1][1])


def test_a_long_conversation_has_pages_and_opens_at_its_end(
    admin_client: Client,
) -> None:
    row = session(turns=[("user", f"turn-{number:03}.") for number in range(1, 121)])

    def shown(**query: str) -> list[int]:
        page: Any = admin_client.get(page_of(row), query).context["conversation"]
        return [turn.row.seq for turn in page.turns]

    assert shown() == list(range(101, 121))
    assert shown(turns="1") == list(range(1, 51))
    assert shown(turns="2") == list(range(51, 101))
    assert shown(turns="99") == shown(turns="x") == shown(turns="²") == shown()
    assert shown(turns="0") == shown(turns="1")
    assert shown(said="TURN-007") == [7]
    assert shown(said="turn") == list(range(1, 51))
    assert shown(said="nowhere") == []


def test_a_turn_too_long_for_a_page_is_cut(admin_client: Client) -> None:
    row = session(turns=[("user", "a" * 10_000 + "b" * 90_000)])
    page = text_of(admin_client.get(page_of(row)))
    assert "bb" not in page.partition("memory-text")[2].partition("</div>")[0]
    assert "90000 more characters" in page


def test_markup_is_shown_as_it_was_written(admin_client: Client) -> None:
    row = session(MARKUP, [("user", MARKUP)], owner=MARKUP, summary=MARKUP)
    urls = [
        LIST,
        page_of(row),
        f"{LIST}{row.pk}/delete/",
        f"{LIST}{row.pk}/erase_owner/",
    ]
    for url in (*urls, f"{page_of(row)}?said={MARKUP}"):
        response = admin_client.get(url, follow=True)
        assert MARKUP not in text_of(response), url
        assert "&lt;img src=x" in text_of(response), url


def test_without_the_right_to_view_turns_nothing_that_was_said_is_shown(
    db: None,
) -> None:
    row = session(summary="Alice has a dog.")
    client = client_with("view_session", "change_session", "delete_session")
    page = text_of(client.get(page_of(row)))
    assert "user-123" in page
    assert "You may not read what was said" in page
    assert "conversation" not in client.get(page_of(row)).context
    for url in (LIST, page_of(row), f"{page_of(row)}?said=Alice"):
        body = text_of(client.get(url)).replace('value="Alice"', "")
        assert "Hello Alice" not in body
        assert "has a dog" not in body
    assert found_by(client, q="Alice") == set()
    assert found_by(client, q="user-1") == {"user-123"}


def test_with_the_right_to_view_turns_but_not_to_change_the_page_is_read_only(
    db: None,
) -> None:
    row = session(summary="Alice has a dog.")
    client = client_with("view_session", "view_turn")
    page = text_of(client.get(page_of(row)))
    assert "Hello Alice" in page
    assert "Alice has a dog." in page
    assert 'name="_save"' not in page
    assert client.post(page_of(row), form()).status_code == HTTPStatus.FORBIDDEN


def test_nobody_sees_sessions_without_the_right(db: None) -> None:
    row = session()
    client = client_with("view_turn")
    for url in (LIST, page_of(row), f"{LIST}{row.pk}/erase_owner/"):
        assert client.get(url).status_code == HTTPStatus.FORBIDDEN
    assert "/admin/memory/" not in text_of(client.get("/admin/"))


def test_nothing_is_added_by_hand(admin_client: Client) -> None:
    for method in (admin_client.get, admin_client.post):
        assert method(f"{LIST}add/").status_code == HTTPStatus.FORBIDDEN


def test_settings_and_the_time_to_live_are_changed_and_nothing_else(
    admin_client: Client,
) -> None:
    used = timezone.now()
    row = session(last_used_at=used)
    page = admin_client.get(page_of(row))
    # The conversation goes on between the page and its saving.
    add_turns(Session.objects.get(pk=row.pk), [("user", "more")])
    settings = '{"recall_turns": 4}'
    data = form(ttl_days="7", settings=settings, session_id="x", last_seq="0")
    assert page.status_code == HTTPStatus.OK
    with CaptureQueriesContext(connection) as queries:
        assert saved(admin_client.post(page_of(row), data))
    (change,) = [q["sql"] for q in queries if q["sql"].startswith("UPDATE")]
    assert "expires_at" in change
    assert "last_seq" not in change
    row.refresh_from_db()
    assert (row.ttl_days, row.settings) == (7, {"recall_turns": 4})
    assert row.expires_at == used + timedelta(days=7)
    assert (row.session_id, row.last_seq) == ("user-123", 3)


@pytest.mark.parametrize(
    ("typed", "days"), [("7", 7), ("", 11), ("0", None), ("36500", 36_500)]
)
def test_the_end_follows_the_time_to_live_or_the_policy_of_its_model(
    admin_client: Client, typed: str, days: int | None
) -> None:
    MemoryPolicy.objects.create(model=Model.objects.create(name="gpt-4"), ttl_days=11)
    used = timezone.now()
    row = session(last_used_at=used, ttl_days=1)
    page = text_of(admin_client.get(page_of(row)))
    assert 'placeholder="11"' in page
    assert saved(admin_client.post(page_of(row), form(ttl_days=typed)))
    row.refresh_from_db()
    assert row.expires_at == (None if days is None else used + timedelta(days=days))


@pytest.mark.parametrize(
    ("data", "field"),
    [
        ({"settings": '{"colour": 1}'}, "settings"),
        ({"settings": "["}, "settings"),
        ({"ttl_days": "-1"}, "ttl_days"),
        ({"ttl_days": "36501"}, "ttl_days"),
    ],
)
def test_bad_values_are_refused_at_their_field(
    admin_client: Client, data: dict[str, str], field: str
) -> None:
    response = admin_client.post(page_of(session()), form(**data))
    assert set(errors_in(response)) == {field}


def test_fifty_sessions_need_a_fixed_number_of_queries(
    admin_client: Client, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    for number in range(50):
        tenant = Tenant.objects.create(name=f"team-{number}")
        key, _ = create_key(name=f"key-{number}", tenant=tenant)
        session(f"s-{number}", tenant=tenant.name, owner=key.public_id)
    admin_client.get(LIST)
    with django_assert_max_num_queries(12):
        assert "key-49" in text_of(admin_client.get(LIST, {"q": "alice"}))


def test_a_page_of_a_long_conversation_needs_a_fixed_number_of_queries(
    admin_client: Client, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    row = session(turns=SAID * 50)
    admin_client.get(page_of(row))
    with django_assert_max_num_queries(14):
        assert "turn 100," in text_of(admin_client.get(page_of(row)))
