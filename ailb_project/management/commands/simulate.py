"""`manage.py simulate`: local model servers for drills, load tests and first steps."""

from __future__ import annotations

import argparse
import asyncio
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from typing_extensions import override

from gateway.simulator.commandline import (
    DESCRIPTION,
    SimulatorStartError,
    add_arguments,
    serve,
)


class Command(BaseCommand):
    """Run simulators in the foreground until SIGTERM or SIGINT."""

    help = DESCRIPTION
    # It touches neither rows nor settings, so nothing of ours can keep it from running.
    requires_system_checks: list[str] = []
    requires_migrations_checks = False

    @override
    def add_arguments(self, parser: CommandParser) -> None:
        # Django's own formatter would fold the table of faults into one paragraph.
        parser.formatter_class = argparse.RawDescriptionHelpFormatter
        add_arguments(parser)

    @override
    def handle(self, *args: object, **options: Any) -> None:
        try:
            asyncio.run(serve(options))
        except SimulatorStartError as error:
            raise CommandError(str(error)) from error
