"""One routing strategy an algorithm, with its defaults, under the algorithm's name."""

from __future__ import annotations

from django.db import migrations
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations.state import StateApps

ALGORITHMS = (
    "round_robin",
    "cost_optimized",
    "latency_optimized",
    "load_balanced",
    "failover",
    "random",
)


def make_strategies(apps: StateApps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    """Make what is missing; a row of that name stays as it is."""
    strategies = apps.get_model("gateway", "RoutingStrategy").objects
    for algorithm in ALGORITHMS:
        strategies.using(schema_editor.connection.alias).get_or_create(
            name=algorithm, defaults={"algorithm": algorithm}
        )


def remove_strategies(apps: StateApps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    """Remove those that no model refers to."""
    strategies = apps.get_model("gateway", "RoutingStrategy").objects
    strategies.using(schema_editor.connection.alias).filter(
        name__in=ALGORITHMS, model=None
    ).delete()


class Migration(migrations.Migration):
    dependencies = [("gateway", "0001_initial")]

    operations = [migrations.RunPython(make_strategies, remove_strategies)]
