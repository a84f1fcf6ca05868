"""`manage.py rotate_keys`: every secret under the newest key, and nothing lost."""

from __future__ import annotations

from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from gateway import keyring
from gateway.crypto import Secret, new_encryption_key
from gateway.models import KeyPepper, Provider

pytestmark = pytest.mark.django_db


def rotate() -> str:
    out = StringIO()
    call_command("rotate_keys", stdout=out)
    return out.getvalue()


def make_provider(name: str, credential: str) -> Provider:
    return Provider.objects.create(
        name=name,
        kind="openai",
        base_url="http://127.0.0.1/v1",
        credential=Secret(plain=credential),
    )


def test_the_old_key_may_go_afterwards(settings) -> None:
    old, new = new_encryption_key(), new_encryption_key()
    settings.AILB_ENCRYPTION_KEYS = [old]
    make_provider("with", "sk-vendor")
    make_provider("without", "")
    pepper = keyring.pepper()
    settings.AILB_ENCRYPTION_KEYS = [new, old]
    assert "2 secrets" in rotate()
    settings.AILB_ENCRYPTION_KEYS = [new]
    assert Provider.objects.get(name="with").credential.reveal([new]) == "sk-vendor"
    assert not Provider.objects.get(name="without").credential
    assert keyring.pepper() == pepper


def test_what_no_key_opens_is_named_and_left_as_it_is(settings) -> None:
    lost, new = new_encryption_key(), new_encryption_key()
    settings.AILB_ENCRYPTION_KEYS = [lost]
    make_provider("lost", "sk-lost")
    stored = Provider.objects.get().credential
    settings.AILB_ENCRYPTION_KEYS = [new]
    keyring.pepper()
    with pytest.raises(CommandError, match="lost"):
        rotate()
    assert Provider.objects.get().credential == stored
    assert KeyPepper.objects.exists()
