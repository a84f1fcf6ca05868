"""Databases of a test's own on a PostgreSQL server, where one answers."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import pytest
from django.core.management import call_command
from django.db import connections

SERVER = "postgresql://postgres@127.0.0.1:5432"
ALIAS = "pg"


@contextmanager
def empty_database() -> Iterator[str]:
    """Make an empty database and give its URL; skip where no server answers."""
    name = f"ailb_test_{secrets.token_hex(6)}"
    try:
        server = psycopg.connect(
            f"{SERVER}/postgres", autocommit=True, connect_timeout=3
        )
    except psycopg.OperationalError as error:
        pytest.skip(f"no PostgreSQL at 127.0.0.1:5432: {str(error).splitlines()[0]}")
    try:
        server.execute(f"CREATE DATABASE {name}")
        try:
            yield f"{SERVER}/{name}"
        finally:
            server.execute(f"DROP DATABASE {name} WITH (FORCE)")
    finally:
        server.close()


@contextmanager
def migrated_database() -> Iterator[str]:
    """Make a migrated database in this process, and give its alias.

    After pytest-django's own databases, which would else include this one, and where
    the database may be used.
    """
    with empty_database() as url:
        entry = {
            "ENGINE": "django.db.backends.postgresql",
            "NAME": url.rpartition("/")[2],
            "HOST": "127.0.0.1",
            "PORT": "5432",
            "USER": "postgres",
        }
        connections.databases[ALIAS] = connections.configure_settings(
            {"default": {}, ALIAS: entry}
        )[ALIAS]
        try:
            call_command("migrate", database=ALIAS, verbosity=0)
            yield ALIAS
        finally:
            connections[ALIAS].close()
            del connections[ALIAS]
            del connections.databases[ALIAS]
