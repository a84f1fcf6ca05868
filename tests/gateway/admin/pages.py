"""What the tests of the admin post, make and read."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

import pytest
from django.conf import settings
from django.contrib.sessions.models import Session
from django.db import connection
from django.test import Client

from gateway.crypto import Secret
from gateway.keyring import create_key
from gateway.models import ApiKey, Deployment, Model, Provider, Tenant


def inlines(*prefixes: str) -> dict[str, str]:
    """Say that the tables of a page are empty."""
    return {
        f"{prefix}-{name}_FORMS": "0"
        for prefix in prefixes
        for name in ("TOTAL", "INITIAL")
    }


CANARY = "sk-canary-0f0f-Zz9q"
LIST = "/admin/gateway/provider/"
ADD = LIST + "add/"
NO_INLINES = inlines("deployments", "limits")
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


def tenant(name: str = "team") -> Tenant:
    return Tenant.objects.get_or_create(name=name)[0]


def api_key(name: str = "bot", **fields: Any) -> ApiKey:
    """Make a key, changed as `fields` say."""
    row, _ = create_key(name=name, tenant=fields.pop("tenant", None) or tenant())
    ApiKey.objects.filter(pk=row.pk).update(**fields)
    row.refresh_from_db()
    return row


def text_of(response: Any) -> str:
    assert response.status_code == HTTPStatus.OK
    text: str = response.content.decode()
    return text


def everything_stored() -> str:
    """Dump every row of every table; sessions as they read, not as they are packed."""
    dump = [repr(session.get_decoded()) for session in Session.objects.all()]
    assert dump, "nobody is logged in"
    with connection.cursor() as cursor:
        for table in connection.introspection.table_names(cursor):
            if table == "rag_keyword":
                continue  # terms without their texts: it cannot be read
            cursor.execute(f'SELECT * FROM "{table}"')  # noqa: S608 - our own tables
            dump.append(repr(cursor.fetchall()))
    return "\n".join(dump)


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
