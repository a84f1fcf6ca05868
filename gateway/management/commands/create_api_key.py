"""`manage.py create_api_key`: makes a virtual key and prints it once."""

from __future__ import annotations

from argparse import ArgumentParser
from datetime import datetime
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError
from django.utils.dateparse import parse_datetime
from django.utils.timezone import is_naive, make_aware
from typing_extensions import override

from gateway.crypto import SecretUnreadable
from gateway.keyring import create_key
from gateway.kinds import Right
from gateway.models import Tenant
from gateway.models.access import DEFAULT_RIGHTS


def names(text: str) -> list[str]:
    """Split a list that is written with commas."""
    return [name.strip() for name in text.split(",") if name.strip()]


class Command(BaseCommand):
    """Make a virtual key; the key alone goes to standard output."""

    help = (
        "Make a virtual key and print it, once: only a digest of it is kept. Rights: "
        + ", ".join(right.value for right in Right)
        + "."
    )

    @override
    def add_arguments(self, parser: ArgumentParser) -> None:
        """Offer what a key has."""
        parser.add_argument("name", help="what the key is for")
        parser.add_argument(
            "--tenant",
            help="whose key it is; made if it is missing (default: one of its own)",
        )
        parser.add_argument(
            "--rights",
            type=names,
            default=[right.value for right in DEFAULT_RIGHTS],
            help="with commas; default: " + ",".join(DEFAULT_RIGHTS),
        )
        parser.add_argument(
            "--models", type=names, default=[], help="with commas; default: all"
        )
        parser.add_argument(
            "--collections", type=names, default=[], help="with commas; default: all"
        )
        parser.add_argument(
            "--expires", help="when it stops working, as 2030-01-31T12:00:00Z"
        )

    @override
    def handle(self, *args: Any, **options: Any) -> None:
        """Make it."""
        try:
            row, key = create_key(
                name=options["name"],
                tenant=tenant_named(options["tenant"]),
                rights=options["rights"],
                allowed_models=options["models"],
                allowed_collections=options["collections"],
                expires_at=moment(options["expires"]),
            )
        except ValidationError as error:
            raise CommandError("; ".join(error.messages)) from error
        except SecretUnreadable as error:
            raise CommandError(error.message) from error
        self.stderr.write(
            f"Key {row.public_id} of tenant {row.tenant} with the rights "
            f"{', '.join(row.rights) or 'none'}. It is shown only now:"
        )
        self.stdout.write(key)


def tenant_named(name: str | None) -> Tenant | None:
    """Find or make a tenant; none where no name is given."""
    return None if name is None else Tenant.objects.get_or_create(name=name)[0]


def moment(text: str | None) -> datetime | None:
    """Read a moment; one without a zone is in UTC."""
    if not text:
        return None
    try:
        found = parse_datetime(text)
    except ValueError:
        found = None
    if found is None:
        raise CommandError(
            f"--expires {text!r} is not a moment: write 2030-01-31T12:00:00Z."
        )
    return make_aware(found) if is_naive(found) else found
