"""A name of this installation, made once."""

from __future__ import annotations

import secrets

from django.db import migrations, models
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations.state import StateApps


def name_installation(apps: StateApps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    """Draw the name; one that is there stays."""
    installations = apps.get_model("gateway", "Installation").objects
    installations.using(schema_editor.connection.alias).get_or_create(
        id=1, defaults={"uid": secrets.token_hex(8)}
    )


class Migration(migrations.Migration):
    dependencies = [("gateway", "0007_first_tenants")]

    operations = [
        migrations.CreateModel(
            name="Installation",
            fields=[
                (
                    "id",
                    models.PositiveSmallIntegerField(
                        default=1, primary_key=True, serialize=False
                    ),
                ),
                ("uid", models.CharField(max_length=32)),
            ],
            options={
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(id=1), name="installation_single_row"
                    )
                ],
            },
        ),
        migrations.RunPython(name_installation, migrations.RunPython.noop),
    ]
