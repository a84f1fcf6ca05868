"""What the tests of the admin post, make and read."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

import pytest
from django.conf import settings
from django.test import Client

from gateway.crypto import Secret
from gateway.models import Deployment, Model, Provider

CANARY = "sk-canary-0f0f-Zz9q"
LIST = "/admin/gateway/provider/"
ADD = LIST + "add/"
NO_INLINES = {"deployments-TOTAL_FORMS": "0", "deployments-INITIAL_FORMS": "0"}
FORM: dict[str, Any] = {
    "name": "acme",
    "kind": "openai_compatible",
    "base_url": "https://llm.example.org/v1",
    "credential": CANARY,
    "enabled": "on",
    "priority": "0",
    "weight": "1",
    "max_concurrency": "",
    "connect_timeout_s": "5",
    "first_byte_timeout_s": "60",
    "response_timeout_s": "120",
    "idle_timeout_s": "60",
    "extra_headers": "{}",
    "egress_proxy": "",
    "ca_file": "",
    **NO_INLINES,
}
MODEL_FORM: dict[str, Any] = {
    "name": "gpt-4",
    "enabled": "on",
    "strategy": "",
    "fallbacks": "",
    "defaults": "{}",
    **NO_INLINES,
}


def provider(name: str = "acme", **fields: Any) -> Provider:
    values = {"kind": "openai_compatible", "base_url": "https://llm.example.org/v1"}
    return Provider.objects.create(name=name, **values | fields)


def deployment(model: str, row: Provider, **fields: Any) -> Deployment:
    return Deployment.objects.create(
        model=Model.objects.get_or_create(name=model)[0],
        provider=row,
        upstream_model=fields.pop("upstream_model", model),
        **fields,
    )


def credential() -> str:
    stored: Secret = Provider.objects.get().credential
    return stored.reveal(settings.AILB_ENCRYPTION_KEYS)


def page_of(row: Any) -> str:
    return f"/admin/gateway/{row._meta.model_name}/{row.pk}/change/"


def errors_in(response: Any) -> dict[str, list[str]]:
    """Give the errors by field of a form that was refused."""
    assert response.status_code == HTTPStatus.OK, "the form was taken"
    return {**response.context["adminform"].form.errors}


def saved(response: Any) -> bool:
    if response.status_code == HTTPStatus.OK:
        pytest.fail(f"refused: {errors_in(response)}")
    return bool(response.status_code == HTTPStatus.FOUND)


def act(client: Client, name: str, *rows: Provider) -> list[str]:
    data = {"action": name, "_selected_action": [row.pk for row in rows]}
    response = client.post(LIST, data, follow=True)
    return [str(message) for message in response.context["messages"]]
