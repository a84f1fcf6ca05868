"""What a start does before anything serves: database, environment, first keys."""

from __future__ import annotations

import asyncio
import fcntl
import logging
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.management import call_command
from django.db import connection
from django.utils import timezone

from gateway import environment, keyring
from gateway.auth import is_loopback
from gateway.crypto import SecretUnreadable
from gateway.discovery import refresh_ollama
from gateway.heartbeat import forget_runs
from gateway.late_upstream import LateUpstream
from gateway.snapshot_store import DATABASE_AWAY

logger = logging.getLogger(__name__)

ADMIN = "admin"
RETRY_S = 5.0
KEYS_UNREADABLE = (
    "No API key can be checked or made: what they are stored under cannot be read with "
    "the present AILB_ENCRYPTION_KEYS. Start with the former ones among them."
)
ADVISORY_LOCK = 0x41494C42  # "AILB": PostgreSQL's lock of everybody who migrates


@dataclass(slots=True)
class Prepared:
    """What a start has done and must tell; the secrets are shown once, never logged."""

    warnings: list[str] = field(default_factory=list)
    admin_password: str | None = field(default=None, repr=False)
    api_key: str | None = field(default=None, repr=False)
    is_database_away: bool = False


def prepare() -> Prepared:
    """Bring the database up to date and the environment into its rows.

    Safe when several replicas start together, and to repeat.

    Raises:
        ImproperlyConfigured: A variable is not valid; nothing was changed.
        django.db.Error: The database is away.

    """
    prepared = Prepared()
    with migration_lock():
        call_command("migrate", verbosity=0, interactive=False)
        report = environment.apply_environment(settings)
        prepared.warnings += report.warnings
        prepared.admin_password = make_administrator()
        try:
            prepared.api_key = prepare_keys()
        except SecretUnreadable:
            prepared.warnings.append(KEYS_UNREADABLE)
    forget_runs(
        instance=settings.AILB_MODULE_ID, run=settings.AILB_RUN, now=timezone.now()
    )
    prepared.warnings += asyncio.run(discover())
    return prepared


def prepare_patiently(is_stopping: Callable[[], bool]) -> None:
    """Prepare as soon as the database is back; looks again every few seconds."""
    while not is_stopping():
        try:
            prepared = prepare()
        except DATABASE_AWAY as error:
            logger.warning("database away", extra={"reason": type(error).__name__})
            connection.close()
            pause(is_stopping)
        else:
            if prepared.api_key:
                logger.warning(
                    "first API key made, and not shown: make one with "
                    "'manage.py create_api_key'"
                )
            if prepared.admin_password:
                logger.warning(
                    "administrator made without a known password: set one with "
                    "'manage.py changepassword admin'"
                )
            return


def pause(is_stopping: Callable[[], bool]) -> None:
    """Wait a few seconds, but not when told to stop."""
    until_s = time.monotonic() + RETRY_S
    while time.monotonic() < until_s and not is_stopping():
        time.sleep(0.1)


@contextmanager
def migration_lock() -> Iterator[None]:
    """Let one process at a time migrate."""
    settings.AILB_DATA_DIR.mkdir(parents=True, exist_ok=True, mode=0o700)
    with (settings.AILB_DATA_DIR / "migrate.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        if connection.vendor != "postgresql":
            yield
            return
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_lock(%s)", [ADVISORY_LOCK])
            try:
                yield
            finally:
                cursor.execute("SELECT pg_advisory_unlock(%s)", [ADVISORY_LOCK])


def make_administrator() -> str | None:
    """Make the first administrator; give the password if it was made up here."""
    users = get_user_model().objects
    if users.filter(is_superuser=True).exists():
        return None
    password = settings.AILB_ADMIN_PASSWORD or secrets.token_urlsafe(18)
    users.create_superuser(username=ADMIN, password=password)
    return None if settings.AILB_ADMIN_PASSWORD else password


async def discover() -> list[str]:
    """Ask the providers whose models are discovered; give what went wrong."""
    upstream = LateUpstream()
    try:
        refreshed = await refresh_ollama(upstream)
    finally:
        await upstream.aclose()
    return [
        f"Provider {each.provider}: {each.problem}"
        for each in refreshed
        if each.problem
    ]


def prepare_keys() -> str | None:
    """Bring the environment's key into its row; make a first one if nobody could enter.

    Gives the key that was made here, to be shown once.

    Raises:
        SecretUnreadable: The present AILB_ENCRYPTION_KEYS do not open what keys are
            stored under.

    """
    keyring.adopt_first_key(
        pepper_file=settings.SECRETS_DIR / "key_pepper",
        digest_file=settings.SECRETS_DIR / "api_key_digest",
    )
    keyring.apply_environment_key(settings.AILB_API_KEY)
    is_door_closed = settings.AILB_AUTH == "required" or (
        settings.AILB_AUTH == "auto" and not is_loopback(settings.HOST)
    )
    return keyring.make_first_key() if is_door_closed else None
