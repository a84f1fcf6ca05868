"""The revision number of the configuration, bumped by database triggers."""

from __future__ import annotations

from django.db import connections, models, transaction

from gateway.errors import ConfigurationError
from gateway.models import (
    ApiKey,
    Budget,
    ConfigRevision,
    Deployment,
    KeyPepper,
    Limit,
    Model,
    Provider,
    RoutingStrategy,
    Tenant,
    TrafficPolicy,
    VersionWeight,
)
from memory.models import MemoryPolicy

# Every table whose rows a snapshot is compiled from.
CONFIGURATION: tuple[type[models.Model], ...] = (
    Provider,
    RoutingStrategy,
    Model,
    Deployment,
    Tenant,
    KeyPepper,
    ApiKey,
    Limit,
    Budget,
    MemoryPolicy,
    TrafficPolicy,
    VersionWeight,
)
EVENTS = ("INSERT", "UPDATE", "DELETE")


def current(using: str = "default") -> int:
    """Read the revision of the configuration; 0 before the first row was written."""
    row = ConfigRevision.objects.using(using).filter(id=1)
    return row.values_list("revision", flat=True).first() or 0


def bump(using: str = "default") -> int:
    """Count one change without any, so that every worker compiles anew; give the revision.

    Raises:
        django.db.Error: The database is away.

    """
    with transaction.atomic(using), connections[using].cursor() as cursor:
        cursor.execute(bump_statement())
        return current(using)


def install(using: str) -> None:
    """Create the triggers anew. Safe to repeat, and before the tables are there.

    Raises:
        ConfigurationError: The database is neither SQLite nor PostgreSQL.

    """
    connection = connections[using]
    watched: tuple[type[models.Model], ...] = (ConfigRevision, *CONFIGURATION)
    tables = {model._meta.db_table for model in watched}
    if not tables <= set(connection.introspection.table_names()):
        return  # migrated back to where there is nothing to watch
    match connection.vendor:
        case "sqlite":
            statements = sqlite_statements()
        case "postgresql":
            statements = postgresql_statements()
        case vendor:
            raise ConfigurationError(
                f"AILB runs on SQLite or PostgreSQL, not {vendor}."
            )
    with connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)


def bump_statement() -> str:
    """Write the statement that counts one change; it makes the row if need be."""
    table = ConfigRevision._meta.db_table
    return (
        f"INSERT INTO {table} (id, revision) VALUES (1, 1) "  # noqa: S608 - our table
        f"ON CONFLICT (id) DO UPDATE SET revision = {table}.revision + 1"
    )


def sqlite_statements() -> list[str]:
    """One trigger a table and event; SQLite knows only row triggers."""
    statements = []
    for model in CONFIGURATION:
        table = model._meta.db_table
        for event in EVENTS:
            name = f"{table}_{event.lower()}_bumps_revision"
            statements += [
                f"DROP TRIGGER IF EXISTS {name}",
                (
                    f"CREATE TRIGGER {name} AFTER {event} ON {table} "
                    f"BEGIN {bump_statement()}; END"
                ),
            ]
    return statements


def postgresql_statements() -> list[str]:
    """One statement trigger a table; TRUNCATE counts, too."""
    statements = [
        (
            "CREATE OR REPLACE FUNCTION ailb_bump_revision() RETURNS trigger AS $$ "
            f"BEGIN {bump_statement()}; RETURN NULL; END $$ LANGUAGE plpgsql"
        ),
    ]
    for model in CONFIGURATION:
        table = model._meta.db_table
        name = f"{table}_bumps_revision"
        statements += [
            f"DROP TRIGGER IF EXISTS {name} ON {table}",
            (
                f"CREATE TRIGGER {name} AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE "
                f"ON {table} FOR EACH STATEMENT EXECUTE FUNCTION ailb_bump_revision()"
            ),
        ]
    return statements
