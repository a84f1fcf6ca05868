"""Django system checks: settings that cannot work together, or should not be deployed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.apps import AppConfig
from django.conf import settings
from django.core.checks import CheckMessage, Error, Warning as CheckWarning, register
from django.core.exceptions import ImproperlyConfigured

from gateway.crypto import encrypt
from gateway.environment import declared_providers
from gateway.errors import ConfigurationError
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
    """W001: somebody must have a key."""
    if settings.AILB_AUTH == "open":
        return [
            CheckWarning(
                "AILB_AUTH=open serves everybody who can reach this server, at your "
                "cost.",
                hint="Set AILB_AUTH=required and create a key.",
                id="ailb.W001",
            )
        ]
    return []


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
