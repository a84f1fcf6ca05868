"""The pages of memory policies."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client
from pytest_django import DjangoAssertNumQueries

from gateway.models import Model, Tenant
from memory.models import MemoryPolicy
from tests.gateway.admin.pages import api_key, errors_in, saved, text_of
from tests.memory.admin.rows import client_with, page_of

pytestmark = pytest.mark.django_db

LIST = "/admin/memory/memorypolicy/"
ADD = LIST + "add/"


def form(**fields: Any) -> dict[str, Any]:
    names = [field.name for field in MemoryPolicy._meta.fields if field.name != "id"]
    return dict.fromkeys(names, "") | fields


def test_an_empty_form_says_nothing(admin_client: Client) -> None:
    assert saved(admin_client.post(ADD, form()))
    row = MemoryPolicy.objects.get()
    assert str(row) == "everybody"
    values = [getattr(row, name) for name in ("is_enabled", "is_required", "ttl_days")]
    assert values == [None, None, None]


@pytest.mark.parametrize(("typed", "kept"), [("True", True), ("False", False)])
def test_a_switch_is_on_off_or_inherited(
    admin_client: Client, typed: str, kept: bool
) -> None:
    assert saved(admin_client.post(ADD, form(is_enabled=typed)))
    row = MemoryPolicy.objects.get()
    assert (row.is_enabled, row.is_required) == (kept, None)
    page = text_of(admin_client.get(page_of(row)))
    assert f'<option value="{typed}" selected>' in page
    assert saved(admin_client.post(page_of(row), form()))
    row.refresh_from_db()
    assert row.is_enabled is None


def test_a_policy_is_for_a_model_or_a_key(admin_client: Client) -> None:
    model, key = Model.objects.create(name="gpt-4"), api_key()
    assert saved(admin_client.post(ADD, form(model=model.pk, max_tokens="200")))
    assert saved(admin_client.post(ADD, form(api_key=key.pk, ttl_days="3")))
    both = form(model=model.pk, api_key=key.pk)
    assert "api_key" in errors_in(admin_client.post(ADD, both))
    again = form(model=model.pk)
    assert set(errors_in(admin_client.post(ADD, again))) == {"model"}


def test_everybody_has_one_policy(admin_client: Client) -> None:
    assert saved(admin_client.post(ADD, form()))
    errors = errors_in(admin_client.post(ADD, form()))
    assert "Everybody has a policy already" in str(errors["__all__"])
    row = MemoryPolicy.objects.get()
    assert saved(admin_client.post(page_of(row), form(recall_turns="3")))


def test_empty_fields_show_what_holds_by_default(admin_client: Client) -> None:
    page = text_of(admin_client.get(ADD))
    for value in ("1,500", "8", "10", "30", "none"):
        assert f'placeholder="{value}"' in page, value
    assert ">default: on<" in page
    assert ">default: off<" in page


def test_what_everybodys_policy_says_is_the_default_of_the_others(
    admin_client: Client,
) -> None:
    everybody = MemoryPolicy.objects.create(
        is_enabled=False, max_tokens=777, summary_model="small"
    )
    row = MemoryPolicy.objects.create(model=Model.objects.create(name="gpt-4"))
    for url in (ADD, page_of(row)):
        page = text_of(admin_client.get(url))
        assert 'placeholder="777"' in page
        assert 'placeholder="small"' in page
        assert ">default: on<" not in page
    own = text_of(admin_client.get(page_of(everybody)))
    assert 'placeholder="1,500"' in own
    assert ">default: on<" in own


def test_a_model_for_summaries_must_be_there(admin_client: Client) -> None:
    response = admin_client.post(ADD, form(summary_model="nowhere"))
    assert set(errors_in(response)) == {"summary_model"}
    Model.objects.create(name="small")
    assert saved(admin_client.post(ADD, form(summary_model="small")))
    Model.objects.all().delete()
    row = MemoryPolicy.objects.get()
    changed = form(summary_model="small", ttl_days="9")
    assert saved(admin_client.post(page_of(row), changed))


def test_the_list_says_whom_each_is_for(admin_client: Client) -> None:
    MemoryPolicy.objects.create(is_enabled=False)
    MemoryPolicy.objects.create(model=Model.objects.create(name="gpt-4"))
    key = api_key()
    MemoryPolicy.objects.create(api_key=key, max_tokens=2_000)
    page = text_of(admin_client.get(LIST))
    for text in ("everybody", "gpt-4", f"bot ({key.public_id})", ">off<", ">2,000<"):
        assert text in page, text
    assert ">default<" in page


def test_a_user_who_may_only_look_sees_the_form_without_inputs(db: None) -> None:
    row = MemoryPolicy.objects.create(max_tokens=4_321)
    page = text_of(client_with("view_memorypolicy").get(page_of(row)))
    assert "4321" in page
    assert 'name="_save"' not in page


def test_fifty_policies_need_a_fixed_number_of_queries(
    admin_client: Client, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    tenant = Tenant.objects.create(name="team")
    for number in range(25):
        model = Model.objects.create(name=f"m-{number}")
        MemoryPolicy.objects.create(model=model)
        MemoryPolicy.objects.create(api_key=api_key(f"k-{number}", tenant=tenant))
    admin_client.get(LIST)
    with django_assert_max_num_queries(12):
        assert "k-24" in text_of(admin_client.get(LIST))
