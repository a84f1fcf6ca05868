"""`manage.py check` names settings that cannot work together."""

from __future__ import annotations

from typing import Any

import pytest
from django.core.checks import run_checks
from pytest_django import Settings

from gateway import keyring


def found(*, deploy: bool = False) -> set[str]:
    messages = run_checks(tags=["ailb"], include_deployment_checks=deploy)
    return {str(message.id) for message in messages}


def test_the_settings_of_a_fresh_checkout_pass(settings: Settings) -> None:
    settings.AILB_AUTH = "required"
    assert found(deploy=True) == set()


@pytest.mark.parametrize(
    ("name", "value", "check"),
    [
        ("AILB_FALLBACKS", "gpt-4", "ailb.E001"),
        ("OPENAI_BASE_URL", "ftp://files", "ailb.E001"),
        ("OLLAMA_BASE_URL", "http://169.254.169.254", "ailb.E001"),
        ("AILB_ENCRYPTION_KEYS", ["not a key"], "ailb.E002"),
    ],
)
def test_what_cannot_work_is_an_error(
    settings: Settings, name: str, value: Any, check: str
) -> None:
    assert found() == set()
    setattr(settings, name, value)
    assert found() == {check}


@pytest.mark.parametrize("name", ["", ":memory:"])
def test_a_database_in_memory_cannot_be_shared(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setitem(settings.DATABASES["default"], "NAME", name)
    assert found() == {"ailb.E003"}


@pytest.mark.parametrize(
    ("values", "check"),
    [
        ({"AILB_AUTH": "open"}, "ailb.W001"),
        (
            {"HOST": "0.0.0.0", "ALLOWED_HOSTS": ["localhost", "[::1]"]},
            "ailb.W002",
        ),
    ],
)
def test_what_should_not_be_deployed_is_a_warning_of_deploy_alone(
    settings: Settings, values: dict[str, Any], check: str
) -> None:
    for name, value in values.items():
        setattr(settings, name, value)
    assert found() == set()
    assert found(deploy=True) == {check}


@pytest.mark.django_db
def test_a_door_that_is_open_to_this_machine_is_a_warning_until_the_first_key(
    settings: Settings,
) -> None:
    settings.AILB_AUTH, settings.HOST = "auto", "127.0.0.1"
    assert found(deploy=True) == {"ailb.W003"}
    settings.AILB_API_KEY = "a-key-of-the-environment"
    assert found(deploy=True) == set()
    settings.AILB_API_KEY = ""
    keyring.make_first_key()
    assert found(deploy=True) == set()
