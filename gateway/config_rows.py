"""Every configuration row at one revision, as plain values that a file can keep."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from gateway import models as rows, revision
from gateway.crypto import Secret
from gateway.errors import ConfigurationError
from memory.models import MemoryPolicy

READ_ATTEMPTS = 5

Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class ConfigRows:
    """The rows of one revision as plain dicts, secrets still ciphertext or digests.

    This is what the last-good file holds: compiling it gives the same snapshot.
    """

    revision: int
    providers: tuple[Row, ...]
    models: tuple[Row, ...]
    deployments: tuple[Row, ...]
    strategies: tuple[Row, ...]
    tenants: tuple[Row, ...]
    api_keys: tuple[Row, ...]
    limits: tuple[Row, ...]
    budgets: tuple[Row, ...]
    pepper: str  # ciphertext; empty while there was never a key
    installation: str
    # A file of an older AILB has none of these.
    memory_policies: tuple[Row, ...] = ()
    version_weights: tuple[Row, ...] = ()
    traffic_policy: tuple[Row, ...] = ()


def read_rows() -> ConfigRows:
    """Read every configuration row at one revision.

    Raises:
        ConfigurationError: The configuration kept changing while it was read.
        django.db.Error: The database is away.

    """
    for _ in range(READ_ATTEMPTS):
        # No transaction: SQLite's would wait for whoever writes. A change and its
        # revision are committed together, so an unchanged revision means one state.
        before = revision.current()
        found = ConfigRows(
            revision=before,
            providers=values_of(rows.Provider),
            models=values_of(rows.Model),
            deployments=values_of(rows.Deployment),
            strategies=values_of(rows.RoutingStrategy),
            tenants=values_of(rows.Tenant),
            api_keys=values_of(rows.ApiKey),
            limits=values_of(rows.Limit),
            budgets=values_of(rows.Budget),
            pepper=only(rows.KeyPepper, "secret"),
            installation=only(rows.Installation, "uid"),
            memory_policies=values_of(MemoryPolicy),
            version_weights=values_of(rows.VersionWeight),
            traffic_policy=values_of(rows.TrafficPolicy),
        )
        if revision.current() == before:
            return found
    raise ConfigurationError("The configuration changed while it was read.")


def values_of(model: type[Any]) -> tuple[Row, ...]:
    """Read every row of a table in a stable order."""
    return tuple(map(storable, model.objects.order_by("pk").values()))


def only(model: type[Any], column: str) -> str:
    """Read a column of a table's one row; empty without it."""
    return next((str(row[column]) for row in values_of(model)), "")


def storable(row: Row) -> Row:
    """Turn what JSON does not know into what it does: secrets stay ciphertext."""
    return {
        name: value.stored(()) if isinstance(value, Secret) else plain(value)
        for name, value in row.items()
    }


def plain(value: Any) -> Any:
    """Turn times into unix seconds and decimals into floats."""
    match value:
        case datetime():
            return int(value.timestamp())
        case Decimal():
            return float(value)
        case _:
            return value
