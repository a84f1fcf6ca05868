"""Whoever looks at the pages of documents, which are switched on."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import User
from django.test import Client
from pytest_django import Settings


@pytest.fixture(autouse=True)
def switched_on(settings: Settings) -> None:
    settings.ENABLE_RAG = True


@pytest.fixture
def admin_client(django_user_model: type[User]) -> Client:
    """Log in without a password: hashing one takes longer than a test."""
    client = Client()
    client.force_login(django_user_model.objects.create_superuser("root"))
    return client
