"""Which changes are refused although the row would be valid: others own or need it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.db import models

from gateway.auth import Principal
from gateway.errors import Conflict
from gateway.kinds import Right, Source
from gateway.models import ApiKey, Model, Tenant
from gateway.models.configuration import Row
from gateway.operations import check_owned, check_stays_away


def check_change(
    row: models.Model, values: Mapping[str, Any], principal: Principal
) -> None:
    """Let an owner's fields alone, and nobody close the door behind themselves.

    `values` are the row's new values by field.

    Raises:
        Conflict: With what forbids it.

    """
    if isinstance(row, Row):
        check_owned(row, values)
    match row:
        case ApiKey() if is_own_key(row, principal) and closes_door(values):
            raise Conflict(
                "This request was made with this very key, which may not disable itself "
                "or give up management_write. Use another one."
            )
        case Tenant() if row.is_anonymous and values.get("name", row.name) != row.name:
            raise Conflict(
                "The anonymous tenant is for requests without a key; it keeps its name.",
                param="name",
            )
        case Tenant() if row.pk == principal.tenant.id and not values.get(
            "enabled", True
        ):
            raise Conflict(
                "This request was made with a key of this tenant, which would disable "
                "the key. Use one of another tenant.",
                param="enabled",
            )


def closes_door(values: Mapping[str, Any]) -> bool:
    """Say whether a key with these values could no longer manage."""
    rights = values.get("rights", [Right.MANAGEMENT_WRITE])
    return not values.get("enabled", True) or Right.MANAGEMENT_WRITE not in rights


def is_own_key(row: ApiKey, principal: Principal) -> bool:
    """Say whether a request was made with this key."""
    return principal.key is not None and principal.key.row_id == row.pk


def check_deletion(row: models.Model, principal: Principal) -> None:
    """Refuse what would come back, or what the request itself stands on.

    Raises:
        Conflict: With what forbids it.

    """
    match row:
        case ApiKey() if is_own_key(row, principal):
            raise Conflict(
                "This request was made with this very key. Delete it with another one."
            )
        case Tenant() if row.is_anonymous:
            raise Conflict(
                "The anonymous tenant is for requests without a key. Disable it instead."
            )
        case Model():
            for deployment in row.deployments.all():
                check_stays_away(deployment, f"Its {deployment}")
        case Row():
            check_stays_away(row, "It")
        case _:
            return  # it belongs to operators alone


def check_rotation(row: ApiKey) -> None:
    """Refuse to rotate a key whose secret the environment says."""
    if row.source == Source.ENVIRONMENT:
        raise Conflict(
            "The secret of this key is that of AILB_API_KEY; change it there."
        )
