"""Databases of a test's own on a PostgreSQL server, where one answers.

The fixture `postgresql_template` of `tests/conftest.py` is a migrated one: to copy it
costs less than to migrate another.
"""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
from django.core.management import call_command
from django.db import connections

ROOT = Path(__file__).resolve().parents[1]
SERVER = "postgresql://postgres@127.0.0.1:5432"
ALIAS = "pg"
TESTS_S = 170
# Plugins that no test on PostgreSQL uses, and which take a second to import.
UNUSED = ("cacheprovider", "schemathesis", "xdist", "anyio")


def name_of(url: str) -> str:
    return url.rpartition("/")[2]


@contextmanager
def empty_database(*, template: str = "template1") -> Iterator[str]:
    """Make a database and give its URL; skip where no server answers.

    It has what the template of this name has, to which nobody may be connected.
    """
    name = f"ailb_test_{secrets.token_hex(6)}"
    try:
        server = psycopg.connect(
            f"{SERVER}/postgres", autocommit=True, connect_timeout=3
        )
    except psycopg.OperationalError as error:
        pytest.skip(f"no PostgreSQL at 127.0.0.1:5432: {str(error).splitlines()[0]}")
    try:
        server.execute(f"CREATE DATABASE {name} TEMPLATE {template}".encode())
        try:
            yield f"{SERVER}/{name}"
        finally:
            server.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())
    finally:
        server.close()


@contextmanager
def database_alias(url: str) -> Iterator[str]:
    """Let the ORM of this process use a database, and give its alias.

    After pytest-django's own databases, which would else include this one, and where
    the database may be used.
    """
    entry = {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": name_of(url),
        "HOST": "127.0.0.1",
        "PORT": "5432",
        "USER": "postgres",
    }
    connections.databases[ALIAS] = connections.configure_settings(
        {"default": {}, ALIAS: entry}
    )[ALIAS]
    try:
        yield ALIAS
    finally:
        connections[ALIAS].close()
        del connections[ALIAS]
        del connections.databases[ALIAS]


@contextmanager
def migrated_template() -> Iterator[str]:
    """Make a migrated database that nobody is connected to, and give its name."""
    with empty_database() as url:
        with database_alias(url) as alias:
            call_command("migrate", database=alias, verbosity=0)
        yield name_of(url)


@contextmanager
def migrated_database(template: str) -> Iterator[str]:
    """Make a copy of `migrated_template`, and give its alias in this process."""
    with empty_database(template=template) as url, database_alias(url) as alias:
        yield alias


def pass_on_postgresql(
    *tests: str, template: str, options: tuple[str, ...] = (), **environment: str
) -> None:
    """Run tests in a process of their own whose database is a copy of the template."""
    with empty_database() as url:
        run = subprocess.run(
            [
                *(sys.executable, "-m", "pytest", "-q"),
                *(word for name in UNUSED for word in ("-p", f"no:{name}")),
                *options,
                *tests,
            ],
            cwd=ROOT,
            env={
                **os.environ,
                "DATABASE_URL": url,
                "MIGRATED_TEMPLATE": template,
                **environment,
            },
            capture_output=True,
            text=True,
            check=False,
            timeout=TESTS_S,
        )
    assert run.returncode == 0, run.stdout + run.stderr
