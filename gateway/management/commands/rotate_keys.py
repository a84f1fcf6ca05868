"""`manage.py rotate_keys`: encrypts every stored secret with the newest key."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.db import transaction
from typing_extensions import override

from gateway.crypto import Secret, SecretUnreadable
from gateway.models import KeyPepper, Provider


class Command(BaseCommand):
    """Encrypt credentials, and what keys are stored under, with the first key."""

    help = (
        "Encrypt every stored secret with the first of AILB_ENCRYPTION_KEYS. Put a new "
        "key first, restart, run this, and remove the old key then."
    )

    @override
    def handle(self, *args: Any, **options: Any) -> None:
        """Do all that can be read, and fail if something cannot."""
        done, unreadable = 0, []
        for row, column in stored_secrets():
            secret: Secret = getattr(row, column)
            try:
                plain = secret.reveal(settings.AILB_ENCRYPTION_KEYS)
            except SecretUnreadable:
                unreadable.append(str(row))
                continue
            if plain:
                setattr(row, column, Secret(plain=plain))
                row.save(update_fields=[column])
                done += 1
        self.stdout.write(f"{done} secrets are encrypted with the first key.")
        if unreadable:
            raise CommandError(
                f"Not readable with any of AILB_ENCRYPTION_KEYS: {', '.join(unreadable)}."
            )


def stored_secrets() -> Iterator[tuple[Provider | KeyPepper, str]]:
    """Give each row that holds a secret, locked where the database can, and its column."""
    with transaction.atomic():
        for provider in Provider.objects.select_for_update():
            yield provider, "credential"
        for pepper in KeyPepper.objects.select_for_update():
            yield pepper, "secret"
