"""The pages of API keys: made and rotated, shown once, never shown again."""

from __future__ import annotations

import logging
import re
from datetime import timedelta
from http import HTTPStatus
from typing import Any

import pytest
from django.contrib import admin
from django.contrib.admin.models import LogEntry
from django.test import Client
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries, Settings

from gateway.crypto import digest
from gateway.keyring import apply_environment_key, pepper
from gateway.kinds import Right, Source
from gateway.models import ApiKey, ApiKeyUse, Budget, KeyPepper, Limit, Model
from tests.gateway.admin.pages import (
    api_key,
    errors_in,
    everything_stored,
    inlines,
    page_of,
    saved,
    tenant,
    text_of,
)

pytestmark = pytest.mark.django_db

LIST = "/admin/gateway/apikey/"
ADD = LIST + "add/"
SHOWN = re.compile(r"<code>(ailb_\S+)</code>")
ENVIRONMENT_KEY = "ailb-of-the-environment-0123456789"


def form(**fields: Any) -> dict[str, Any]:
    return {
        "name": "bot",
        "tenant": str(tenant().pk),
        "rights": ["chat"],
        "allowed_models": "",
        "allowed_collections": "",
        "expires_at_0": "",
        "expires_at_1": "",
        "enabled": "on",
        **inlines("limits", "budgets"),
        **fields,
    }


def shown_in(response: Any) -> str:
    [key] = SHOWN.findall(text_of(response))
    return str(key)


def rotate_url(row: ApiKey) -> str:
    return f"{LIST}{row.pk}/rotate/"


def test_a_new_key_is_shown_in_the_answer_and_opens_the_door(
    admin_client: Client,
) -> None:
    response = admin_client.post(ADD, form())
    row = ApiKey.objects.get()
    assert row.digest == digest(shown_in(response), pepper())
    assert (row.name, row.tenant.name, row.rights) == ("bot", "team", ["chat"])
    assert "no-store" in response.headers["Cache-Control"]


def test_a_new_key_leaves_no_trace(
    admin_client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        response = admin_client.post(ADD, form())
    key = shown_in(response)
    assert key not in everything_stored()
    assert key not in str(LogEntry.objects.values())
    assert key not in caplog.text
    assert key not in str(response.headers) + str(response.cookies)
    assert "messages" not in response.cookies
    row = ApiKey.objects.get()
    for url in (LIST, page_of(row), f"{LIST}{row.pk}/history/"):
        page = text_of(admin_client.get(url))
        assert key not in page
        assert row.digest not in page


def test_rights_models_collections_and_expiry_are_kept(admin_client: Client) -> None:
    Model.objects.create(name="gpt-4")
    data = form(
        rights=["chat", "documents"],
        allowed_models="gpt-4, auto",
        allowed_collections="handbook",
        expires_at_0="2999-01-01",
        expires_at_1="12:00:00",
    )
    shown_in(admin_client.post(ADD, data))
    row = ApiKey.objects.get()
    assert row.rights == ["chat", "documents"]
    assert row.allowed_models == ["gpt-4", "auto"]
    assert row.allowed_collections == ["handbook"]
    assert row.expires_at is not None


def test_a_key_may_have_no_rights_at_all(admin_client: Client) -> None:
    shown_in(admin_client.post(ADD, form(rights=[])))
    assert ApiKey.objects.get().rights == []


def test_the_usual_rights_are_ticked_on_the_empty_form(admin_client: Client) -> None:
    page = text_of(admin_client.get(ADD))
    boxes = re.findall(r'<input type="checkbox" name="rights"[^>]*>', page)
    ticked = [box for box in boxes if re.search(r"\schecked\b(?!:)", box)]
    assert len(boxes) == len(Right)
    assert [re.findall(r'value="(\w+)"', box) for box in ticked] == [
        ["chat"],
        ["embeddings"],
        ["memory"],
    ]


@pytest.mark.parametrize(
    ("field", "fields"),
    [
        ("name", {"name": ""}),
        ("name", {"name": "a,b"}),
        ("rights", {"rights": ["everything"]}),
        ("allowed_models", {"allowed_models": "nowhere"}),
        ("allowed_collections", {"allowed_collections": "a, a"}),
        ("expires_at", {"expires_at_0": "2001-01-01", "expires_at_1": "00:00:00"}),
    ],
)
def test_a_bad_field_is_refused_and_no_key_is_made(
    admin_client: Client, field: str, fields: dict[str, Any]
) -> None:
    assert set(errors_in(admin_client.post(ADD, form(**fields)))) == {field}
    assert not ApiKey.objects.exists()


def test_a_refused_form_does_not_close_the_door(admin_client: Client) -> None:
    assert errors_in(admin_client.post(ADD, form(allowed_models="nowhere")))
    assert not KeyPepper.objects.exists()


def test_the_anonymous_tenant_gets_no_key(admin_client: Client) -> None:
    data = form(tenant=str(tenant("anonymous").pk))
    assert set(errors_in(admin_client.post(ADD, data))) == {"tenant"}


def test_no_key_is_made_under_a_secret_that_cannot_be_read(
    admin_client: Client, settings: Settings
) -> None:
    pepper()
    settings.AILB_ENCRYPTION_KEYS = ["0" * 43 + "="]
    errors = errors_in(admin_client.post(ADD, form()))
    assert "AILB_ENCRYPTION_KEYS" in str(errors["__all__"])
    assert not ApiKey.objects.exists()


def test_changing_a_key_keeps_its_secret(admin_client: Client) -> None:
    row = api_key()
    assert saved(admin_client.post(page_of(row), form(name="other", rights=[])))
    after = ApiKey.objects.get()
    assert (after.name, after.rights, after.digest) == ("other", [], row.digest)


def test_models_that_became_unknown_do_not_block_other_changes(
    admin_client: Client,
) -> None:
    row = api_key(allowed_models=["gone"])
    assert saved(admin_client.post(page_of(row), form(allowed_models="gone")))


def test_limits_and_budgets_are_set_on_the_page_of_a_key(admin_client: Client) -> None:
    row = api_key()
    data = form(
        **{
            "limits-TOTAL_FORMS": "1",
            "limits-0-measure": "requests",
            "limits-0-amount": "60",
            "limits-0-window": "minute",
            "limits-0-enabled": "on",
            "budgets-TOTAL_FORMS": "1",
            "budgets-0-amount_usd": "5",
            "budgets-0-period": "day",
            "budgets-0-warn_percent": "80",
            "budgets-0-is_hard": "on",
            "budgets-0-enabled": "on",
        }
    )
    assert saved(admin_client.post(page_of(row), data))
    assert Limit.objects.get().api_key == Budget.objects.get().api_key == row


def test_rotating_with_an_overlap_keeps_the_former_key_for_a_while(
    admin_client: Client,
) -> None:
    row = api_key()
    assert "chat" not in text_of(admin_client.get(rotate_url(row))).split("<form")[1]
    data = {"overlap_s": "3600", "rotation": "yes"}
    key = shown_in(admin_client.post(rotate_url(row), data))
    after = ApiKey.objects.get()
    assert after.digest == digest(key, pepper())
    assert after.previous_digest == row.digest
    left = (after.previous_until or timezone.now()) - timezone.now()
    assert timedelta(minutes=59) < left <= timedelta(hours=1)
    assert key not in everything_stored()
    assert "Rotated." in str(LogEntry.objects.values_list("change_message"))


def test_rotating_at_once_stops_the_former_key(admin_client: Client) -> None:
    row = api_key()
    shown_in(admin_client.post(rotate_url(row), {"overlap_s": "0", "rotation": "yes"}))
    after = ApiKey.objects.get()
    assert after.digest != row.digest
    assert after.previous_digest == ""


def test_rotating_asks_first(admin_client: Client) -> None:
    row = api_key()
    for response in (
        admin_client.get(rotate_url(row)),
        admin_client.post(rotate_url(row)),
        admin_client.post(rotate_url(row), {"overlap_s": "5", "rotation": "yes"}),
    ):
        assert "overlap_s" in text_of(response)
    assert ApiKey.objects.get().digest == row.digest


def test_several_keys_are_rotated_from_the_list(admin_client: Client) -> None:
    rows = [api_key("one"), api_key("two")]
    data = {
        "action": "rotate_selected",
        "_selected_action": [row.pk for row in rows],
    }
    page = text_of(admin_client.post(LIST, data))
    assert 'name="action" value="rotate_selected"' in page
    done = admin_client.post(LIST, data | {"overlap_s": "0", "rotation": "yes"})
    keys = SHOWN.findall(text_of(done))
    assert {digest(key, pepper()) for key in keys} == set(
        ApiKey.objects.values_list("digest", flat=True)
    )
    assert len(keys) == 2


def test_the_environments_key_is_neither_rotated_nor_deleted(
    admin_client: Client,
) -> None:
    apply_environment_key(ENVIRONMENT_KEY)
    row = ApiKey.objects.get()
    page = text_of(admin_client.get(page_of(row)))
    assert "It is what AILB_API_KEY says" in page
    assert rotate_url(row) not in page
    assert admin_client.get(rotate_url(row)).status_code == HTTPStatus.FORBIDDEN
    deleted = admin_client.post(f"{LIST}{row.pk}/delete/", {"post": "yes"})
    assert deleted.status_code == HTTPStatus.FORBIDDEN
    for action in ("rotate_selected", "delete_selected"):
        data = {"action": action, "_selected_action": [row.pk], "post": "yes"}
        admin_client.post(LIST, data | {"overlap_s": "0", "rotation": "yes"})
    assert ApiKey.objects.get().digest == row.digest


def test_the_environments_key_goes_when_its_variable_is_gone(
    admin_client: Client,
) -> None:
    apply_environment_key(ENVIRONMENT_KEY)
    apply_environment_key("")
    row = ApiKey.objects.get()
    assert admin_client.post(
        f"{LIST}{row.pk}/delete/", {"post": "yes"}
    ).status_code == (HTTPStatus.FOUND)
    assert not ApiKey.objects.exists()


PAST = timezone.now() - timedelta(days=1)
FUTURE = timezone.now() + timedelta(days=1)


@pytest.mark.parametrize(
    ("fields", "state"),
    [
        ({}, "active"),
        ({"expires_at": FUTURE}, "active"),
        ({"expires_at": PAST}, "expired"),
        ({"enabled": False}, "disabled"),
        ({"enabled": False, "enabled_when_withdrawn": True}, "withdrawn"),
        ({"previous_digest": "d", "previous_until": FUTURE}, "rotating"),
        ({"previous_digest": "d", "previous_until": PAST}, "active"),
    ],
)
def test_the_list_says_how_a_key_stands(fields: dict[str, Any], state: str) -> None:
    pages: Any = admin.site.get_model_admin(ApiKey)
    assert pages.state(api_key(**fields)) == state


def test_a_key_of_a_disabled_tenant_says_so() -> None:
    pages: Any = admin.site.get_model_admin(ApiKey)
    row = api_key()
    row.tenant.enabled = False
    assert pages.state(row) == "tenant disabled"


def test_the_list_says_when_a_key_was_last_used(admin_client: Client) -> None:
    row = api_key()
    assert "never" in text_of(admin_client.get(LIST))
    at = timezone.now().replace(year=2020, month=2, day=3)
    ApiKeyUse.objects.create(api_key=row, last_used_at=at)
    assert "3 Feb 2020" in text_of(admin_client.get(LIST))


@pytest.mark.parametrize("field", ["name", "public_id"])
def test_keys_are_found_by_name_and_public_id(admin_client: Client, field: str) -> None:
    row, other = api_key("needle"), api_key("hay")
    page = text_of(admin_client.get(LIST, {"q": getattr(row, field)}))
    assert page_of(row) in page
    assert page_of(other) not in page


def test_keys_are_filtered_by_tenant_and_source(admin_client: Client) -> None:
    row, other = api_key("one", tenant=tenant("a")), api_key("two", tenant=tenant("b"))
    page = text_of(admin_client.get(LIST, {"tenant__id__exact": row.tenant_id}))
    assert page_of(row) in page
    assert page_of(other) not in page
    query = {"source__exact": Source.ENVIRONMENT.value}
    assert page_of(row) not in text_of(admin_client.get(LIST, query))


def test_fifty_keys_need_a_fixed_number_of_queries(
    admin_client: Client, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    for number in range(50):
        row = api_key(f"key-{number}", tenant=tenant(f"tenant-{number}"))
        ApiKeyUse.objects.create(api_key=row, last_used_at=timezone.now())
    admin_client.get(LIST)
    with django_assert_max_num_queries(12):
        assert "key-49" in text_of(admin_client.get(LIST))


def test_markup_in_names_is_escaped(admin_client: Client) -> None:
    markup = "<img src onerror>"
    made = admin_client.post(ADD, form(name=markup, tenant=str(tenant(markup).pk)))
    row = ApiKey.objects.get(name=markup)
    rotated = admin_client.post(rotate_url(row), {"overlap_s": "0", "rotation": "yes"})
    for response in (
        made,
        rotated,
        admin_client.get(rotate_url(row)),
        admin_client.get(LIST),
        admin_client.get(page_of(row)),
    ):
        assert markup not in text_of(response)
        assert "&lt;img src" in text_of(response)


def test_a_key_without_a_tenant_gets_one_of_its_own(admin_client: Client) -> None:
    tenant("default")
    offered = admin_client.get(ADD).context["adminform"].form
    assert offered.initial.get("tenant") is None
    admin_client.post(ADD, form(name="bot", tenant=""))
    admin_client.post(ADD, form(name="bot", tenant=""))
    first, second = ApiKey.objects.filter(name="bot").order_by("pk")
    assert first.tenant.name == "bot"
    assert second.tenant not in {first.tenant, tenant("default")}
