"""Names of the keys that made something."""

from __future__ import annotations

from typing import Any

from django.apps import apps

NOBODY = "nobody with a key"


def key_name(public_id: str) -> str:
    """Name a key with its public id, which is all that is left when it is gone."""
    if not public_id:
        return NOBODY
    keys: Any = apps.get_model("gateway.ApiKey")
    name = keys.objects.filter(public_id=public_id).values_list("name", flat=True)
    found = name.first()
    return f"{found} ({public_id})" if found else public_id
