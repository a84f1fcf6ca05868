"""`manage.py runmoduleservice`: the process that a network load balancer manages AILB by."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand
from typing_extensions import override

from gateway.errors import ConfigurationError
from moduleservice.config import Config
from moduleservice.figures import Figures
from moduleservice.lifecycle import ModuleService
from moduleservice.limits import Limits
from moduleservice.processes import Processes
from moduleservice.routes import Routes
from moduleservice.server import CannotServe
from moduleservice.status import Status
from moduleservice.terms import terms_from_settings
from moduleservice.versions import Versions

TOKEN_VARIABLES = ("AILB_GRPC_TOKEN", "AILB_GRPC_TOKEN_FILE")
PARTS = (Status, Figures, Routes, Config, Limits, Versions, Processes)


class Command(BaseCommand):
    """Serve ModuleService until SIGTERM or SIGINT."""

    help = (
        "Serve marchproxy.ModuleService over gRPC on HOST and GRPC_PORT, until SIGTERM. "
        "`serve` starts it, too. Ends with code 78 when it cannot listen there."
    )
    requires_system_checks: list[str] = []

    @override
    def handle(self, *args: Any, **options: Any) -> None:
        """Run in an event loop of its own."""
        try:
            asyncio.run(self._run())
        except (CannotServe, ConfigurationError) as error:
            self.stderr.write(f"ailb: {error}")
            sys.exit(os.EX_CONFIG)

    async def _run(self) -> None:
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        service = ModuleService(terms_from_settings(), PARTS)
        await service.run(
            stop, self._say_nothing if service.is_supervised else self._say
        )

    def _say(self, address: str) -> None:
        self.stdout.write(f"ModuleService serves at {address}; {where_the_token_is()}")
        self.stdout.flush()

    def _say_nothing(self, address: str) -> None:
        """`serve` has a screen of its own."""


def where_the_token_is() -> str:
    """Say where whoever manages this instance finds the token."""
    if any(os.environ.get(name) for name in TOKEN_VARIABLES):
        return "its token is that of AILB_GRPC_TOKEN."
    return f"its token is in {settings.AILB_GRPC_TOKEN_PATH}."
