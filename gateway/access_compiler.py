"""Rows to access: compiles tenants, keys, limits and budgets, part of every snapshot."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from types import MappingProxyType
from typing import TypeVar

from gateway.access import (
    NANO_PER_USD,
    Access,
    ApiKey,
    Budget,
    KeyRing,
    Limit,
    Tenant,
)
from gateway.caller_address import normal_address
from gateway.config_rows import ConfigRows, Row
from gateway.crypto import Secret, SecretUnreadable
from gateway.errors import ConfigurationError
from gateway.kinds import Measure, Period, Right, Scope, Window

T = TypeVar("T", Limit, Budget)
# Whose a limit or budget is: the kind, and a row id or an IP address.
Owner = tuple[Scope, int | str | None]


def compile_access(found: ConfigRows, encryption_keys: Sequence[str] | None) -> Access:
    """Compile who may ask how much: a pure function of its arguments.

    Disabled limits and budgets are left out, and so are disabled tenants and keys.

    Raises:
        ConfigurationError: Some row cannot be served; the message names it.

    """
    limits = grouped(map(limit_from, enabled(found.limits)))
    budgets = grouped(map(budget_from, enabled(found.budgets)))
    tenants = {
        row["id"]: Tenant(
            id=row["id"],
            name=row["name"],
            limits=limits.get((Scope.TENANT, row["id"]), ()),
            budgets=budgets.get((Scope.TENANT, row["id"]), ()),
        )
        for row in enabled(found.tenants)
    }
    models = {row["id"]: row["name"] for row in found.models}
    providers = {row["id"]: row["name"] for row in found.providers}
    return Access(
        tenants=MappingProxyType({tenant.name: tenant for tenant in tenants.values()}),
        keys=compile_keys(
            found, tenants, limits, budgets, encryption_keys=encryption_keys
        ),
        everybody=limits.get((Scope.EVERYBODY, None), ()),
        by_model=MappingProxyType(named(limits, Scope.MODEL, models)),
        by_provider=MappingProxyType(named(limits, Scope.PROVIDER, providers)),
        by_address=MappingProxyType(addressed(limits)),
        limit_ids=frozenset(each.id for group in limits.values() for each in group),
        budget_ids=frozenset(each.id for group in budgets.values() for each in group),
    )


def enabled(rows: Iterable[Row]) -> list[Row]:
    """Leave out what is disabled."""
    return [row for row in rows if row["enabled"]]


def grouped(owned: Iterable[tuple[Owner, T]]) -> Mapping[Owner, tuple[T, ...]]:
    """Group limits or budgets by their owner."""
    groups: defaultdict[Owner, tuple[T, ...]] = defaultdict(tuple)
    for owner, value in owned:
        groups[owner] += (value,)
    return dict(groups)


def named(
    limits: Mapping[Owner, tuple[Limit, ...]], scope: Scope, names: Mapping[int, str]
) -> dict[str, tuple[Limit, ...]]:
    """Give the limits of one scope by the name of their row."""
    return {
        names[row_id]: found
        for (kind, row_id), found in limits.items()
        if kind is scope and isinstance(row_id, int) and row_id in names
    }


def addressed(
    limits: Mapping[Owner, tuple[Limit, ...]],
) -> dict[str, tuple[Limit, ...]]:
    """Give the limits of callers by their IP address."""
    return {
        address: found
        for (kind, address), found in limits.items()
        if kind is Scope.ADDRESS and isinstance(address, str)
    }


def owner_of(row: Row) -> Owner:
    """Find whose a limit or budget is."""
    for scope, column in (
        (Scope.KEY, "api_key_id"),
        (Scope.TENANT, "tenant_id"),
        (Scope.MODEL, "model_id"),
        (Scope.PROVIDER, "provider_id"),
    ):
        if row.get(column) is not None:
            return scope, row[column]
    # A file of an older AILB has no such column.
    if (address := row.get("address")) is not None:
        return Scope.ADDRESS, address_from(row["id"], address)
    return Scope.EVERYBODY, None


def address_from(row_id: int, address: str) -> str:
    """Write the IP address of a Limit row as callers' addresses are written."""
    try:
        return normal_address(address)
    except ValueError as error:
        raise ConfigurationError(f"Limit {row_id}: {error}.") from error


def limit_from(row: Row) -> tuple[Owner, Limit]:
    """Compile one Limit row."""
    owner = owner_of(row)
    try:
        measure = Measure(row["measure"])
        is_rate = measure is not Measure.CONCURRENCY
        window_s = Window(row["window"]).length_s if is_rate else None
    except ValueError as error:
        raise ConfigurationError(f"Limit {row['id']}: {error}.") from error
    return owner, Limit(
        id=row["id"],
        scope=owner[0],
        measure=measure,
        amount=row["amount"],
        window_s=window_s,
    )


def budget_from(row: Row) -> tuple[Owner, Budget]:
    """Compile one Budget row."""
    owner = owner_of(row)
    try:
        period = Period(row["period"])
    except ValueError as error:
        raise ConfigurationError(f"Budget {row['id']}: {error}.") from error
    return owner, Budget(
        id=row["id"],
        scope=owner[0],
        period=period,
        amount_nano_usd=int(Decimal(str(row["amount_usd"])) * NANO_PER_USD),
        warn_percent=row["warn_percent"],
        is_hard=row["is_hard"],
        blocks_unknown_price=row["blocks_unknown_price"],
    )


def compile_keys(
    found: ConfigRows,
    tenants: Mapping[int, Tenant],
    limits: Mapping[Owner, tuple[Limit, ...]],
    budgets: Mapping[Owner, tuple[Budget, ...]],
    *,
    encryption_keys: Sequence[str] | None,
) -> KeyRing:
    """Compile the keys that open the door, and what they are digested under."""
    keys: dict[str, tuple[ApiKey, float | None]] = {}
    for row in enabled(found.api_keys):
        if (tenant := tenants.get(row["tenant_id"])) is None:
            continue
        key = ApiKey(
            row_id=row["id"],
            public_id=row["public_id"],
            name=row["name"],
            tenant=tenant,
            rights=rights_of(row),
            models=names_or_all(row["allowed_models"]),
            collections=names_or_all(row["allowed_collections"]),
            limits=limits.get((Scope.KEY, row["id"]), ()),
            budgets=budgets.get((Scope.KEY, row["id"]), ()),
        )
        keys |= digests_of(row, key)
    pepper, is_unreadable = open_pepper(found.pepper, encryption_keys)
    return KeyRing(keys=keys, pepper=pepper, is_unreadable=is_unreadable)


def rights_of(row: Row) -> frozenset[Right]:
    """Read a key's rights; a word that is none gives no right."""
    known = {right.value: right for right in Right}
    return frozenset(known[name] for name in row["rights"] if name in known)


def names_or_all(names: Sequence[str]) -> frozenset[str] | None:
    """Read a list of allowed names; an empty one allows all."""
    return frozenset(names) or None


def digests_of(row: Row, key: ApiKey) -> dict[str, tuple[ApiKey, float | None]]:
    """Give the secrets of a key and when each ends: the former one of a rotation, too."""
    ends_s = row["expires_at"]
    opened: dict[str, tuple[ApiKey, float | None]] = {row["digest"]: (key, ends_s)}
    if row["previous_digest"]:
        ends = [end for end in (ends_s, row["previous_until"]) if end is not None]
        opened[row["previous_digest"]] = (key, min(ends))
    return opened


def open_pepper(stored: str, keys: Sequence[str] | None) -> tuple[str | None, bool]:
    """Open the pepper: the plain text, and whether it could not be read."""
    if not stored or keys is None:
        return None, False
    try:
        return Secret(ciphertext=stored).reveal(keys), False
    except SecretUnreadable:
        return None, True
