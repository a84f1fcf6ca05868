"""The kinds of rows there are under `/api`, and what is done to them in the database."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from django.db import models, transaction
from django.db.models import QuerySet

from gateway.auth import Principal
from gateway.errors import NotFound
from gateway.keyring import rotate_key
from gateway.models import (
    Deployment,
    Model,
    Provider,
    RoutingStrategy,
)
from gateway.views.management import access, quotas
from gateway.views.management.access import (
    KeySerializer,
    MintedKeySerializer,
    TenantSerializer,
)
from gateway.views.management.catalogue import (
    DeploymentSerializer,
    ModelSerializer,
    ProviderSerializer,
    StrategySerializer,
)
from gateway.views.management.quotas import BudgetSerializer, LimitSerializer
from gateway.views.management.refusals import refusals
from gateway.views.management.rows import RowSerializer
from gateway.views.management.rules import (
    check_change,
    check_deletion,
    check_rotation,
)

Row = Mapping[str, Any]  # as JSON


@dataclass(frozen=True, slots=True)
class Page:
    """Which part of a list is asked for: at most `limit` rows after a key."""

    limit: int
    after: str | None = None
    filters: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Resource:
    """One kind of row: its path, how it is named there, and how it is read.

    `key` is the column that names a row in the path and orders the list; it is unique.
    `filters` are the list's query parameters and the columns they compare.
    """

    path: str
    noun: str
    serializer: type[RowSerializer[Any]]
    rows: Callable[[], QuerySet[Any]]
    key: str = "name"
    filters: Mapping[str, str] = field(default_factory=dict)
    made_serializer: type[RowSerializer[Any]] | None = None  # if it shows more

    @property
    def is_numbered(self) -> bool:
        """Say whether rows are named by a number."""
        return self.key == "id"


TENANTS = Resource("tenants", "tenant", TenantSerializer, access.tenants)
KEYS = Resource(
    "keys",
    "key",
    KeySerializer,
    access.keys,
    key="public_id",
    filters={"tenant": "tenant__name"},
    made_serializer=MintedKeySerializer,
)
LIMITS = Resource(
    "limits",
    "limit",
    LimitSerializer,
    quotas.limits,
    key="id",
    filters={
        "tenant": "tenant__name",
        "key": "api_key__public_id",
        "model": "model__name",
        "provider": "provider__name",
        "address": "address",
    },
)
BUDGETS = Resource(
    "budgets",
    "budget",
    BudgetSerializer,
    quotas.budgets,
    key="id",
    filters={"tenant": "tenant__name", "key": "api_key__public_id"},
)
PROVIDERS = Resource(
    "providers",
    "provider",
    ProviderSerializer,
    Provider.objects.all,
    filters={"kind": "kind"},
)
MODELS = Resource(
    "models",
    "model",
    ModelSerializer,
    lambda: Model.objects.select_related("strategy"),
    filters={"strategy": "strategy__name"},
)
DEPLOYMENTS = Resource(
    "deployments",
    "deployment",
    DeploymentSerializer,
    lambda: Deployment.objects.select_related("model", "provider"),
    key="id",
    filters={"model": "model__name", "provider": "provider__name"},
)
STRATEGIES = Resource(
    "strategies", "strategy", StrategySerializer, RoutingStrategy.objects.all
)


def list_rows(resource: Resource, page: Page) -> Row:
    """Read one page of a list, and from where the next one goes on."""
    rows = resource.rows().order_by(resource.key)
    for name, value in page.filters.items():
        rows = rows.filter(**{resource.filters[name]: value})
    if page.after is not None:
        rows = rows.filter(**{f"{resource.key}__gt": page.after})
    found = list(rows[: page.limit + 1])
    shown = found[: page.limit]
    has_more = len(found) > len(shown)
    return {
        "results": resource.serializer(shown, many=True).data,
        "next": str(getattr(shown[-1], resource.key)) if has_more else None,
    }


def show_row(resource: Resource, row_id: str) -> Row:
    """Read one row."""
    return shown(resource, resource.serializer(), found(resource, row_id))


def make_row(resource: Resource, data: Row) -> Row:
    """Make a row of what a client sent.

    Raises:
        ClientError: It is refused; the error names the client's field.

    """
    serializer = resource.serializer(data=data)
    with refusals(serializer.wire_name), transaction.atomic():
        serializer.is_valid(raise_exception=True)
        return shown(resource, serializer, serializer.save())


def change_row(resource: Resource, row_id: str, data: Row, principal: Principal) -> Row:
    """Change the fields that a client sent; raises like `make_row`."""
    serializer = resource.serializer(data=data, partial=True)
    with refusals(serializer.wire_name), transaction.atomic():
        row = found(resource, row_id, is_locked=True)
        serializer.instance = row
        serializer.is_valid(raise_exception=True)
        check_change(row, serializer.validated_data, principal)
        return shown(resource, serializer, serializer.save())


def delete_row(resource: Resource, row_id: str, principal: Principal) -> Row:
    """Delete a row."""
    with transaction.atomic():
        row = found(resource, row_id, is_locked=True)
        check_deletion(row, principal)
        row.delete()
    return {"id": row_id, "deleted": True}


def rotate(row_id: str, overlap: timedelta) -> Row:
    """Give a key a new secret, and show it."""
    serializer = KeySerializer()
    with transaction.atomic():
        row = found(KEYS, row_id, is_locked=True)
        check_rotation(row)
        serializer.secret = rotate_key(row, overlap=overlap)
        return shown(KEYS, serializer, row)


def found(resource: Resource, row_id: str, *, is_locked: bool = False) -> Any:
    """Find a row by its name in the path; locked, none but its own columns are read.

    Raises:
        NotFound: There is none.

    """
    rows = resource.rows()
    if is_locked:  # others' columns could not be locked with it
        rows = rows.model.objects.select_for_update()
    row = rows.filter(**{resource.key: row_id}).first()
    if row is None:
        raise NotFound(f"There is no {resource.noun} '{row_id[:200]}'.")
    return row


def shown(resource: Resource, serializer: RowSerializer[Any], row: models.Model) -> Row:
    """Read a row anew, with all that its answer shows."""
    serializer.instance = resource.rows().get(pk=row.pk)
    return dict(serializer.to_representation(serializer.instance))
