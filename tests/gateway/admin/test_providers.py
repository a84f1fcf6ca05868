"""The pages of providers: what they take, refuse, and never show."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib import admin
from django.contrib.admin.models import LogEntry
from django.test import Client

from gateway.kinds import Source
from gateway.models import Deployment, Provider
from tests.gateway.admin.pages import (
    ADD,
    CANARY,
    FORM,
    LIST,
    act,
    credential,
    deployment,
    errors_in,
    page_of,
    provider,
    saved,
)
from tests.upstreams.fixed_answers import FixedAnswers, fixed_answers

pytestmark = pytest.mark.django_db


@pytest.fixture
def server() -> Iterator[FixedAnswers]:
    models = {"data": [{"id": "one"}, {"id": "two"}]}
    with fixed_answers({"/v1/models": (200, models)}) as running:
        yield running


def test_a_provider_made_in_the_form_is_saved_with_its_credential(
    admin_client: Client,
) -> None:
    assert saved(admin_client.post(ADD, FORM))
    row = Provider.objects.get()
    assert (row.name, row.source) == ("acme", Source.OPERATOR)
    assert credential() == CANARY


def test_an_empty_credential_keeps_the_stored_one(admin_client: Client) -> None:
    row = provider(credential=CANARY)
    assert saved(
        admin_client.post(page_of(row), FORM | {"credential": "", "weight": "7"})
    )
    assert Provider.objects.get().weight == 7
    assert credential() == CANARY


def test_a_typed_credential_replaces_the_stored_one(admin_client: Client) -> None:
    row = provider(credential="old-credential")
    assert saved(admin_client.post(page_of(row), FORM))
    assert credential() == CANARY


def test_a_credential_that_looks_like_ciphertext_is_taken_as_typed(
    admin_client: Client,
) -> None:
    assert saved(admin_client.post(ADD, FORM | {"credential": "enc:v1:typed"}))
    assert credential() == "enc:v1:typed"


def test_a_credential_can_be_removed(admin_client: Client) -> None:
    row = provider(credential=CANARY)
    data = FORM | {"credential": "", "remove_credential": "on"}
    assert saved(admin_client.post(page_of(row), data))
    assert credential() == ""


def test_removing_and_entering_a_credential_at_once_is_refused(
    admin_client: Client,
) -> None:
    row = provider(credential="old-credential")
    data = FORM | {"remove_credential": "on"}
    assert set(errors_in(admin_client.post(page_of(row), data))) == {"credential"}
    assert credential() == "old-credential"


@pytest.mark.parametrize(
    "url",
    [
        "https://elsewhere.example.org/v1",
        "http://llm.example.org/v1",
        "https://llm.example.org:8443/v1",
    ],
)
def test_a_kept_credential_is_not_sent_to_another_server(
    admin_client: Client, url: str
) -> None:
    row = provider(credential=CANARY)
    data = FORM | {"credential": "", "base_url": url}
    assert set(errors_in(admin_client.post(page_of(row), data))) == {"credential"}
    assert Provider.objects.get().base_url == "https://llm.example.org/v1"
    assert saved(admin_client.post(page_of(row), data | {"credential": "again"}))
    assert credential() == "again"


@pytest.mark.parametrize(
    "url", ["https://llm.example.org/v2", "https://llm.example.org:443/v1"]
)
def test_another_path_on_the_same_server_keeps_the_credential(
    admin_client: Client, url: str
) -> None:
    row = provider(credential=CANARY)
    data = FORM | {"credential": "", "base_url": url}
    assert saved(admin_client.post(page_of(row), data))
    assert credential() == CANARY


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("name", ""),
        ("name", "a,b"),
        ("kind", "smtp"),
        ("base_url", "llm.example.org"),
        ("base_url", "http://169.254.169.254/v1"),
        ("credential", "two words"),
        ("credential", "schlüssel"),
        ("weight", "0"),
        ("priority", "first"),
        ("connect_timeout_s", "0"),
        ("extra_headers", "[]"),
        ("extra_headers", "{"),
        ("extra_headers", '{"authorization": "Bearer x"}'),
        ("egress_proxy", "https://proxy:3128"),
        ("ca_file", "/no/such/file.pem"),
    ],
)
def test_a_bad_provider_is_refused_at_its_field(
    admin_client: Client, field: str, value: str
) -> None:
    response = admin_client.post(ADD, FORM | {field: value})
    assert set(errors_in(response)) == {field}
    assert CANARY not in response.content.decode()
    assert not Provider.objects.exists()


def test_a_name_that_is_taken_is_refused_at_its_field(admin_client: Client) -> None:
    provider()
    assert set(errors_in(admin_client.post(ADD, FORM))) == {"name"}


def test_empty_json_is_the_default_and_not_a_fault(admin_client: Client) -> None:
    assert saved(admin_client.post(ADD, FORM | {"extra_headers": ""}))
    assert Provider.objects.get().extra_headers == {}


def test_no_page_shows_a_credential(admin_client: Client) -> None:
    admin_client.post(ADD, FORM)
    row = Provider.objects.get()
    admin_client.post(page_of(row), FORM | {"weight": "2"})
    deployment("m", row)
    pages = [
        LIST,
        page_of(row),
        f"/admin/gateway/provider/{row.pk}/history/",
        f"/admin/gateway/provider/{row.pk}/delete/",
        "/admin/gateway/deployment/",
        "/admin/",
    ]
    for page in pages:
        text = admin_client.get(page).content.decode()
        assert CANARY not in text, page
        assert "enc:v1:" not in text, page
    assert "…Zz9q" in admin_client.get(LIST).content.decode()
    for entry in LogEntry.objects.all():
        assert CANARY not in f"{entry.change_message}{entry.object_repr}"


def test_the_history_names_the_credential_only_when_it_was_changed(
    admin_client: Client,
) -> None:
    row = provider(credential="old-credential")
    admin_client.post(page_of(row), FORM | {"credential": "", "weight": "2"})
    assert "redential" not in LogEntry.objects.latest("id").get_change_message()
    admin_client.post(page_of(row), FORM | {"weight": "2"})
    assert "Credential" in LogEntry.objects.latest("id").get_change_message()


@pytest.mark.parametrize(
    ("stored", "hint"),
    [
        ("", "none"),
        ("short", "set"),
        (CANARY, "…Zz9q"),
        ("enc:v1:" + "x" * 40, "unreadable"),
    ],
)
def test_a_list_shows_the_last_four_of_a_long_credential_at_most(
    admin_client: Client, stored: str, hint: str
) -> None:
    provider(credential=stored)
    text = admin_client.get(LIST).content.decode()
    assert hint in re.sub(r"\s+", " ", text)
    assert ("credential unreadable" in text) == (hint == "unreadable")


@pytest.mark.parametrize(
    ("fields", "state"),
    [
        ({}, "enabled"),
        ({"enabled": False}, "disabled"),
        ({"source": Source.SIMULATOR}, "simulated"),
        ({"enabled": False, "enabled_when_withdrawn": True}, "withdrawn"),
    ],
)
def test_a_list_shows_the_state_of_each_provider(
    admin_client: Client, fields: dict[str, Any], state: str
) -> None:
    row = provider(**fields)
    response = admin_client.get(LIST)
    page = admin.site.get_model_admin(Provider)
    assert page.state(row) == state  # type: ignore[attr-defined]  # ours
    assert state in response.content.decode()


def test_what_the_environment_owns_is_not_changed_by_a_form(
    admin_client: Client,
) -> None:
    row = provider(source=Source.ENVIRONMENT, credential="from-variable")
    data = FORM | {
        "name": "other",
        "kind": "anthropic",
        "base_url": "https://elsewhere.example.org",
        "remove_credential": "on",
        "weight": "9",
        "enabled": "",
    }
    assert saved(admin_client.post(page_of(row), data))
    after = Provider.objects.get()
    assert (after.name, after.kind) == ("acme", "openai_compatible")
    assert after.base_url == "https://llm.example.org/v1"
    assert credential() == "from-variable"
    assert (after.weight, after.enabled) == (9, False)
    assert after.source == Source.ENVIRONMENT


def test_what_the_environment_owns_is_shown_and_explained(admin_client: Client) -> None:
    row = provider(source=Source.ENVIRONMENT, credential="from-variable")
    response = admin_client.get(page_of(row))
    assert not {"name", "kind", "base_url", "credential", "remove_credential"} & set(
        response.context["adminform"].form.fields
    )
    text = response.content.decode()
    assert "Comes from environment variables" in text
    assert "https://llm.example.org/v1" in text
    assert "…able" in text
    assert "from-variable" not in text
    assert "Secret(" not in text


def test_testing_connections_tells_about_each_provider(
    admin_client: Client, server: FixedAnswers
) -> None:
    good = provider("good", base_url=f"{server.url}/v1")
    bad = provider("bad", base_url=f"{server.url}/nothing")
    broken = provider("broken", extra_headers={"Host": "x"})
    told = act(admin_client, "test_connection", good, bad, broken)
    assert "good: It answers and lists 2 models." in " ".join(told)
    assert "bad: Something answers, but not with a list of models" in " ".join(told)
    assert "Provider 'broken': extra_headers:" in " ".join(told)
    assert len(told) == 3


def test_discovery_makes_deployments_and_says_how_many(
    admin_client: Client, server: FixedAnswers
) -> None:
    row = provider(base_url=f"{server.url}/v1")
    (first,) = act(admin_client, "discover_models", row)
    assert (
        first
        == "acme: It lists 2 models; 2 deployments made: one at acme, two at acme."
    )
    (second,) = act(admin_client, "discover_models", row)
    assert second == "acme: It lists 2 models; nothing to add."
    assert row.deployments.filter(enabled=True, source=Source.OPERATOR).count() == 2


def test_discovery_at_a_provider_that_is_away_says_why(
    admin_client: Client, server: FixedAnswers
) -> None:
    server.routes["/v1/models"] = (401, {})
    row = provider(base_url=f"{server.url}/v1")
    (told,) = act(admin_client, "discover_models", row)
    assert told.startswith("acme: It answers, but refuses the credential (401).")
    assert not row.deployments.exists()


def test_deleting_a_provider_asks_first(admin_client: Client) -> None:
    row = provider()
    deployment("m", row)
    url = f"/admin/gateway/provider/{row.pk}/delete/"
    assert "Are you sure" in admin_client.get(url).content.decode()
    assert Provider.objects.exists()
    assert saved(admin_client.post(url, {"post": "yes"}))
    assert not Provider.objects.exists()
    assert not Deployment.objects.exists()
