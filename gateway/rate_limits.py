"""Rate limits as a load balancer sets them: each a group of Limit rows with its id.

An id of the form `row-<number>` names a Limit row that an operator made.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

from django.db.models import QuerySet

from gateway.caller_address import normal_address
from gateway.kinds import Scope
from gateway.models import ApiKey, Limit, Model, Provider, Tenant
from gateway.operations import exclusive, spelled
from gateway.rate_limit_terms import (
    GLOBAL,
    HOUR,
    MINUTE,
    NAMES,
    RATES,
    ROW_FIELDS,
    SCOPES,
    SECOND,
    Kind,
    RateLimit,
    RateLimitRefused,
    RateLimitUnknown,
    amounts_of,
    check_texts,
    read_target,
)

__all__ = [
    "RateLimit",
    "RateLimitRefused",
    "RateLimitUnknown",
    "rate_limits",
    "remove_rate_limit",
    "set_rate_limit",
]

OPERATORS_ROW = re.compile(r"row-([1-9][0-9]{0,17})")
COLUMNS: Mapping[Scope, str] = {
    Scope.MODEL: "model",
    Scope.PROVIDER: "provider",
    Scope.KEY: "api_key",
    Scope.ADDRESS: "address",
    Scope.TENANT: "tenant",
}
PREFIXES = {scope: prefix for prefix, scope in SCOPES.items()}
NAMES_OF = {kind: name for name, kind in NAMES.items()}


def rate_limits(target: str = "") -> list[RateLimit]:
    """Give all rate limits, or those of one target, in the order they were made.

    Raises:
        RateLimitRefused: It is no target; one that is not there has no limits.

    """
    rows = Limit.objects.select_related("tenant", "api_key", "model", "provider")
    if target:
        try:
            owner = find_owner(target)
        except RateLimitUnknown:
            return []
        rows = rows.filter(**{name: owner.get(name) for name in COLUMNS.values()})
    return [rate_limit_of(group) for group in groups(rows)]


def set_rate_limit(wanted: RateLimit) -> RateLimit:
    """Make a rate limit so, instead of what has its id; give it as it stands.

    Without an id it is named by its target. Rows that stay keep what they have counted.

    Raises:
        RateLimitUnknown: What it is to limit is not there.
        RateLimitRefused: It cannot be.

    """
    named = replace(
        wanted, id=wanted.id or wanted.target, metadata=dict(wanted.metadata)
    )
    check_texts(named)
    amounts = amounts_of(named)
    with exclusive():
        owner = find_owner(named.target)
        rows = list(rows_of(named.id))
        if not rows and OPERATORS_ROW.fullmatch(named.id):
            raise RateLimitUnknown(f"There is no rate limit {named.id!r} to replace.")
        replace_rows(rows, named, owner, amounts)
    return named


def remove_rate_limit(limit_id: str) -> None:
    """Remove a rate limit, whoever made it.

    Raises:
        RateLimitUnknown: There is none of this id.

    """
    with exclusive():
        if not rows_of(limit_id).delete()[0]:
            raise RateLimitUnknown(f"There is no rate limit {limit_id[:200]!r}.")


# --- Whom it limits ------------------------------------------------------------------------


def find_owner(target: str) -> dict[str, Any]:
    """Find the column of a Limit, and its value, that stand for a target.

    Raises:
        RateLimitUnknown: There is nothing of this name.
        RateLimitRefused: It has no such form, or names several keys.

    """
    scope, name = read_target(target)
    row: Any = None
    match scope:
        case Scope.EVERYBODY:
            return {}
        case Scope.ADDRESS:
            return {"address": name}
        case Scope.KEY:
            row = find_key(name)
        case Scope.MODEL:
            known = {row.name: row for row in Model.objects.all()}
            row = known.get(spelled(name, known) or "")
        case Scope.PROVIDER:
            row = Provider.objects.filter(name=name).first()
        case Scope.TENANT:
            row = Tenant.objects.filter(name=name).first()
    if row is None:
        raise RateLimitUnknown(f"There is no {scope.value} {name[:200]!r}.")
    return {COLUMNS[scope]: row}


def find_key(name: str) -> ApiKey | None:
    """Find a key by its public id, or by a name that only it has."""
    by_id = ApiKey.objects.filter(public_id=name).first()
    if by_id is not None:
        return by_id
    named = list(ApiKey.objects.filter(name=name)[:2])
    if len(named) > 1:
        raise RateLimitRefused(
            f"Several keys are called {name[:200]!r}: give the public id of one."
        )
    return named[0] if named else None


def is_named(row: Limit, target: str) -> bool:
    """Say whether a target is what a row limits."""
    scope, name = read_target(target)
    if scope is not row.scope:
        return False
    match scope:
        case Scope.KEY:
            return row.api_key is not None and name in {
                row.api_key.public_id,
                row.api_key.name,
            }
        case Scope.MODEL:
            return row.model is not None and spelled(name, [row.model.name]) is not None
        case _:
            return name == name_of(row)


def name_of(row: Limit) -> str:
    """Name what a row limits as its target does; empty for everybody."""
    if row.api_key is not None:
        return row.api_key.public_id
    if row.address is not None:
        return normal_address(row.address)
    named = row.tenant or row.model or row.provider
    return "" if named is None else named.name


def target_of(row: Limit) -> str:
    """Write the target of a row."""
    prefix = PREFIXES.get(row.scope)
    return GLOBAL if prefix is None else f"{prefix}:{name_of(row)}"


# --- Its rows ------------------------------------------------------------------------------


def rows_of(limit_id: str) -> QuerySet[Limit]:
    """Find the rows of a rate limit, or the operator's row that its id names."""
    if not limit_id or not limit_id.isprintable():
        return Limit.objects.none()
    rows = Limit.objects.filter(rate_limit_id=limit_id)
    operators = OPERATORS_ROW.fullmatch(limit_id)
    if operators is None:
        return rows
    return rows | Limit.objects.filter(pk=int(operators[1]), rate_limit_id="")


def groups(rows: Iterable[Limit]) -> list[list[Limit]]:
    """Put the rows of each rate limit together, those made first in front.

    A row that an operator has given to another target stands apart.
    """
    found: dict[tuple[str, str], list[Limit]] = {}
    for row in rows:
        name = row.rate_limit_id or f"row-{row.pk}"
        found.setdefault((name, target_of(row)), []).append(row)
    return list(found.values())


def replace_rows(
    rows: Sequence[Limit],
    limit: RateLimit,
    owner: Mapping[str, Any],
    amounts: Mapping[Kind, int],
) -> None:
    """Make the rows of a rate limit so: those of the same kind are the same rows."""
    given = asdict(limit)
    del given["id"]
    missing = dict(amounts)
    for row in rows:
        amount = missing.get((row.measure, row.window))
        if amount is None or not is_owned(row, owner):
            row.delete()
            continue
        del missing[row.measure, row.window]
        change_row(
            row,
            amount=amount,
            enabled=limit.enabled,
            rate_limit_id=limit.id,
            rate_limit=given,
        )
    for (measure, window), amount in missing.items():
        Limit.objects.create(
            **owner,
            measure=measure,
            window=window,
            amount=amount,
            enabled=limit.enabled,
            rate_limit_id=limit.id,
            rate_limit=given,
        )


def is_owned(row: Limit, owner: Mapping[str, Any]) -> bool:
    """Say whether a row limits just this."""
    return all(getattr(row, column) == owner.get(column) for column in COLUMNS.values())


def change_row(row: Limit, **values: object) -> None:
    """Write what differs; a row without a difference is left alone."""
    if any(getattr(row, name) != value for name, value in values.items()):
        for name, value in values.items():
            setattr(row, name, value)
        row.save()


# --- What its rows say ---------------------------------------------------------------------


def rate_limit_of(rows: Sequence[Limit]) -> RateLimit:
    """Read a rate limit off its rows: as it was given, if they still say the same."""
    first = rows[0]
    if not first.rate_limit_id:
        return operators_limit(first)
    given = RateLimit(first.rate_limit_id, target_of(first))
    if not first.rate_limit:
        return changed_limit(given, rows)
    given = replace(given, **first.rate_limit)
    if not is_named(first, given.target):  # it was renamed
        given = replace(given, target=target_of(first))
    is_same = amounts_of(given) == {
        (row.measure, row.window): row.amount for row in rows
    }
    if is_same and all(row.enabled is given.enabled for row in rows):
        return given
    return changed_limit(given, rows)


def operators_limit(row: Limit) -> RateLimit:
    """Describe a row that an operator made."""
    limit = RateLimit(id=f"row-{row.pk}", target=target_of(row), enabled=row.enabled)
    kind = (row.measure, row.window)
    if kind in RATES.values():
        return with_rates(limit, {kind: row.amount})
    said = (row.measure, str(row.amount), row.window)
    return replace(limit, metadata=dict(zip(ROW_FIELDS, said, strict=True)))


def changed_limit(given: RateLimit, rows: Sequence[Limit]) -> RateLimit:
    """Describe rows of a load balancer that an operator has changed since."""
    enforced = [row for row in rows if row.enabled] or rows
    amounts: dict[Kind, int] = {}
    for row in enforced:
        kind = (row.measure, row.window)
        amounts[kind] = min(row.amount, amounts.get(kind, row.amount))
    kept = {
        name: text
        for name, text in given.metadata.items()
        if name not in NAMES and name not in ROW_FIELDS
    }
    others = {
        NAMES_OF[kind]: str(amount)
        for kind, amount in amounts.items()
        if kind not in RATES.values()
    }
    limit = replace(given, enabled=enforced[0].enabled, metadata=kept | others)
    return with_rates(limit, amounts)


def with_rates(limit: RateLimit, amounts: Mapping[Kind, int]) -> RateLimit:
    """Set the rates to what rows allow; a burst is a second's rate there."""
    return replace(
        limit,
        requests_per_second=amounts.get(SECOND, 0),
        requests_per_minute=amounts.get(MINUTE, 0),
        requests_per_hour=amounts.get(HOUR, 0),
        burst_size=0,
    )
