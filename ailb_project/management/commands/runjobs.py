"""`manage.py runjobs`: the background-jobs process."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from argparse import ArgumentParser
from typing import Any

from asgiref.sync import (
    sync_to_async,  # noqa: TID251 - a process of its own, not the request path
)
from django.core.management.base import BaseCommand
from typing_extensions import override

from ailb_project.preparation import prepare_patiently
from gateway.jobs import JobRunner


class Command(BaseCommand):
    """Do the background work until SIGTERM; several may run, one of them leads."""

    help = (
        "Do the background work: writes usage into the database, tells of budgets, "
        "keeps discovered models fresh, removes what is old. Several may run, one on "
        "each machine; the one that holds the lease does what is to be done once."
    )

    requires_system_checks: list[str] = []  # of pages, which it does not have

    @override
    def add_arguments(self, parser: ArgumentParser) -> None:
        """Add the one option."""
        parser.add_argument(
            "--prepare",
            action="store_true",
            help="first wait for the database, migrate it and read the environment",
        )

    @override
    def handle(self, *args: Any, **options: Any) -> None:
        """Run in an event loop of its own."""
        asyncio.run(run(is_preparing=options["prepare"]))


async def run(*, is_preparing: bool) -> None:
    """Work until told to stop."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    if is_preparing:
        await sync_to_async(prepare_patiently)(stop.is_set)
    await JobRunner(holder=f"{socket.gethostname()}:{os.getpid()}").run(stop)
