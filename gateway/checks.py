"""Django system checks: settings that cannot work together, or should not be deployed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.apps import AppConfig
from django.conf import settings
from django.core.checks import CheckMessage, Error, Warning as CheckWarning, register
from django.core.exceptions import ImproperlyConfigured
from django.db import DatabaseError

from gateway.crypto import encrypt
from gateway.environment import declared_providers
from gateway.errors import ConfigurationError
from gateway.models import KeyPepper
from gateway.operations import parse_fallbacks

TAG = "ailb"
LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})


def check_environment(
    app_configs: Sequence[AppConfig] | None, **_: Any
) -> list[CheckMessage]:
    """E001: the variables that become rows can be read."""
    try:
        declared_providers(settings)
        parse_fallbacks(settings.AILB_FALLBACKS)
    except ImproperlyConfigured as error:
        return [Error(str(error), hint="Correct the variable.", id="ailb.E001")]
    return []


def check_encryption_keys(
    app_configs: Sequence[AppConfig] | None, **_: Any
) -> list[CheckMessage]:
    """E002: credentials can be encrypted."""
    try:
        encrypt("probe", settings.AILB_ENCRYPTION_KEYS)
    except ConfigurationError as error:
        return [
            Error(
                error.message,
                hint="Give Fernet keys separated by commas; the first encrypts.",
                id="ailb.E002",
            )
        ]
    return []


def check_database(
    app_configs: Sequence[AppConfig] | None, **_: Any
) -> list[CheckMessage]:
    """E003: the processes of one instance can share the database."""
    name = str(settings.DATABASES["default"].get("NAME", ""))
    vendor = settings.DATABASES["default"]["ENGINE"].rpartition(".")[2]
    if vendor == "sqlite3" and name in {"", ":memory:"}:
        return [
            Error(
                "DATABASE_URL names a SQLite database in memory, which the processes "
                "of AILB cannot share.",
                hint="Name a file: sqlite:////path/ailb.sqlite3.",
                id="ailb.E003",
            )
        ]
    return []


def check_access(
    app_configs: Sequence[AppConfig] | None, **_: Any
) -> list[CheckMessage]:
    """W001 and W003: nobody is served without a key."""
    if settings.AILB_AUTH == "open":
        return [
            CheckWarning(
                "AILB_AUTH=open serves everybody who can reach this server, at your "
                "cost.",
                hint="Set AILB_AUTH=required and create a key.",
                id="ailb.W001",
            )
        ]
    is_local = settings.AILB_AUTH == "auto" and settings.HOST in LOOPBACK
    if is_local and not settings.AILB_API_KEY and not is_any_key_made():
        return [
            CheckWarning(
                "Every program on this machine is served without a key until there is "
                "the first one.",
                hint="Set AILB_AUTH=required, or create a key: manage.py create_api_key.",
                id="ailb.W003",
            )
        ]
    return []


def is_any_key_made() -> bool:
    """Say whether there was ever a key; a database that is away has none to show."""
    try:
        return KeyPepper.objects.exists()
    except DatabaseError:
        return False


def check_hosts(
    app_configs: Sequence[AppConfig] | None, **_: Any
) -> list[CheckMessage]:
    """W002: a server bound to other addresses than loopback answers to their names."""
    names = {name.strip("[]") for name in settings.ALLOWED_HOSTS}
    if settings.HOST not in LOOPBACK and names <= LOOPBACK:
        return [
            CheckWarning(
                f"HOST={settings.HOST} is reachable from elsewhere, but only requests "
                "to local names are answered.",
                hint="Name the others: AILB_ALLOWED_HOSTS=ailb.example.org.",
                id="ailb.W002",
            )
        ]
    return []


def register_checks() -> None:
    """Make `manage.py check` run these; the warnings only with --deploy."""
    for check in (check_environment, check_encryption_keys, check_database):
        register(check, TAG)
    for check in (check_access, check_hosts):
        register(check, TAG, deploy=True)
