"""The tenant of those who need no key, and one for the first keys."""

from __future__ import annotations

from django.db import migrations
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations.state import StateApps

NAMES = ("anonymous", "default")


def make_tenants(apps: StateApps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    """Make what is missing."""
    tenants = apps.get_model("gateway", "Tenant").objects
    for name in NAMES:
        tenants.using(schema_editor.connection.alias).get_or_create(name=name)


def remove_tenants(apps: StateApps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    """Remove those that no key belongs to."""
    tenants = apps.get_model("gateway", "Tenant").objects
    tenants.using(schema_editor.connection.alias).filter(
        name__in=NAMES, api_keys=None
    ).delete()


class Migration(migrations.Migration):
    dependencies = [("gateway", "0006_usage")]

    operations = [migrations.RunPython(make_tenants, remove_tenants)]
