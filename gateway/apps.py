"""The app: reinstalls the revision triggers after every migration."""

from __future__ import annotations

from typing import Any

from django.apps import AppConfig
from django.db.models.signals import post_migrate
from typing_extensions import override


class GatewayConfig(AppConfig):
    """Configuration rows, routing and the data plane."""

    name = "gateway"
    verbose_name = "AI load balancer"
    default_auto_field = "django.db.models.BigAutoField"

    @override
    def ready(self) -> None:
        """Connect what a migration must be followed by, and register the checks."""
        from gateway.checks import register_checks  # noqa: PLC0415 - needs the models

        register_checks()
        post_migrate.connect(install_triggers, sender=self)


def install_triggers(*, using: str, **_: Any) -> None:
    """Put the triggers in place; SQLite drops them whenever it remakes a table."""
    from gateway.revision import install  # noqa: PLC0415 - models are not loaded above

    install(using)
