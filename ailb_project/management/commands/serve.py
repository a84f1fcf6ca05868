"""`manage.py serve`: one command that starts everything and keeps it running."""

from __future__ import annotations

import logging
import os
import re
import socket
import sys
from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand
from django.db import connections
from typing_extensions import override

from ailb_project import chroma, module_service
from ailb_project.children import ChildSpec
from ailb_project.listener import ListenError, bind_listener
from ailb_project.preparation import Prepared, prepare
from ailb_project.screen import Facts, draw, provider_lines
from ailb_project.server_settings import SERVER_MODULES, ServerSettings
from ailb_project.supervision import Plan, become
from gateway import environment
from gateway.access import Access
from gateway.auth import is_loopback, make_door
from gateway.environment import SIMULATED
from gateway.errors import ConfigurationError, NotReady
from gateway.heartbeat import http_address
from gateway.snapshot import Snapshot
from gateway.snapshot_store import DATABASE_AWAY, SnapshotStore
from gateway.upload_routes import FORM_BYTES
from rag.address import without_password

logger = logging.getLogger(__name__)

LOOPBACK = "127.0.0.1"
METRICS_FOLDER = "metrics"


class Command(BaseCommand):
    """Start everything, print one screen, run until SIGTERM or SIGINT."""

    help = (
        "Start everything: prepares the database, reads the environment, starts HTTP "
        "workers, background jobs and the gRPC service, and prints one screen. Stops on SIGTERM."
    )
    requires_system_checks: list[str] = []

    @override
    def add_arguments(self, parser: ArgumentParser) -> None:
        """Offer what HOST and HTTP_PORT say."""
        parser.add_argument("--host", default=settings.HOST, help="default: HOST")
        parser.add_argument(
            "--port", type=int, default=settings.HTTP_PORT, help="default: HTTP_PORT"
        )

    @override
    def handle(self, *args: Any, **options: Any) -> None:
        """Prepare, and become what supervises."""
        settings.HOST = options["host"]
        os.environ["HOST"] = options["host"]  # the workers read it, too
        try:
            listener = bind_listener(options["host"], options["port"])
            module_service.settle_port()
        except ListenError as error:
            self.stderr.write(f"ailb: {error}")
            sys.exit(1)
        os.environ["AILB_HTTP_ADDRESS"] = http_address(
            options["host"], listener.getsockname()[1]
        )
        prepared = get_prepared()
        simulator = simulator_specs(prepared)
        vectors = vector_specs()
        screen = draw(facts_of(listener, prepared))
        plan = Plan(
            services=(
                *simulator,
                jobs_spec(prepared),
                module_service.spec(),
                *vectors,
            ),
            worker_argv=worker_argv(),
            worker_env={"AILB_RUN": settings.AILB_RUN},
            workers=settings.AILB_WORKERS,
            metrics_folder=str(settings.AILB_DATA_DIR / METRICS_FOLDER),
            drain_timeout_s=settings.AILB_GRACE_S + settings.AILB_DRAIN_TIMEOUT_S,
            screen=screen,
            log_level=settings.AILB_LOG_LEVEL,
        )
        connections.close_all()
        become(plan, listener)


def get_prepared() -> Prepared:
    """Prepare; with the database away, go on with what is kept."""
    try:
        return prepare()
    except DATABASE_AWAY as error:
        logger.warning("database away", extra={"reason": type(error).__name__})
        return Prepared(
            is_database_away=True,
            warnings=[
                (
                    "The database cannot be reached. The last configuration serves, if "
                    "one was kept; the admin works again when the database is back."
                )
            ],
        )


def worker_argv() -> tuple[str, ...]:
    """Write the command line of an HTTP worker."""
    server = ServerSettings(
        max_body_bytes=settings.AILB_MAX_BODY_BYTES,
        max_upload_bytes=settings.AILB_MAX_DOCUMENT_BYTES + FORM_BYTES,
        grace_s=settings.AILB_GRACE_S,
        drain_timeout_s=settings.AILB_DRAIN_TIMEOUT_S,
    )
    program = SERVER_MODULES[settings.AILB_SERVER]
    return (sys.executable, "-m", program, *server.to_argv())


def jobs_spec(prepared: Prepared) -> ChildSpec:
    """Describe the background-jobs process."""
    argv = [sys.executable, str(settings.BASE_DIR / "manage.py"), "runjobs"]
    if prepared.is_database_away:
        argv.append("--prepare")
    return ChildSpec("jobs", tuple(argv), {"AILB_RUN": settings.AILB_RUN})


def simulator_specs(prepared: Prepared) -> list[ChildSpec]:
    """Describe the simulator, where nothing else is configured and nobody is misled.

    Its rows are made or removed accordingly.
    """
    if prepared.is_database_away:
        return []
    is_wanted = (
        settings.AILB_AUTH != "required"
        and is_loopback(settings.HOST)
        and not environment.is_anything_configured()
    )
    if not is_wanted:
        environment.apply_simulator(None)
        return []
    ports = {kind: free_port() for kind in SIMULATED}
    environment.apply_simulator(
        {
            kind: f"http://{LOOPBACK}:{port}" + ("/v1" if kind == "openai" else "")
            for kind, port in ports.items()
        }
    )
    argv = [sys.executable, "-m", "gateway.simulator", "--quiet"]
    for port in ports.values():
        argv += ["--port", str(port)]
    return [ChildSpec("simulator", tuple(argv))]


def vector_specs() -> list[ChildSpec]:
    """Describe the vector store where it is ours to run, and name it to every child.

    Nobody waits for it: what it serves goes on without it until it answers.
    """
    if settings.CHROMA_URL or not is_vector_store_needed():
        return []
    port = chroma.keep_port()
    settings.CHROMA_URL = os.environ["CHROMA_URL"] = chroma.url_of(port)
    settings.AILB_CHROMA_URL_FILE.write_text(settings.CHROMA_URL, encoding="utf-8")
    return [chroma.spec_of(settings.AILB_DATA_DIR, port)]


def is_vector_store_needed() -> bool:
    """Tell whether anything that has vectors is on."""
    return bool(settings.ENABLE_MEMORY or settings.ENABLE_RAG)


def free_port() -> int:
    """Find a free port on loopback."""
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        port: int = probe.getsockname()[1]
        return port


def facts_of(listener: socket.socket, prepared: Prepared) -> Facts:
    """Gather what the screen tells."""
    port = listener.getsockname()[1]
    host = "127.0.0.1" if settings.HOST in {"0.0.0.0", "::"} else settings.HOST  # noqa: S104
    snapshot, warnings = serving_snapshot()
    door = make_door(
        mode=settings.AILB_AUTH, host=settings.HOST, api_key=settings.AILB_API_KEY
    )
    return Facts(
        url=settings.AILB_PUBLIC_URL or f"http://{host}:{port}",
        version=version(),
        door=door.describe(snapshot.access if snapshot else Access()),
        is_open_to_all=door.mode == "open",
        workers=settings.AILB_WORKERS,
        server=settings.AILB_SERVER,
        strategy=settings.ROUTING_STRATEGY,
        vectors=describe_vectors(),
        module_service=module_service.describe(host),
        providers=provider_lines(snapshot) if snapshot else [],
        models=sorted(snapshot.models) if snapshot else [],
        is_simulated=snapshot.is_simulated if snapshot else False,
        warnings=[*prepared.warnings, *warnings, *module_service.warnings()],
        admin_password=prepared.admin_password,
        api_key=prepared.api_key,
    )


def describe_vectors() -> str:
    """Say where the vector store is."""
    if not is_vector_store_needed():
        return "off (ENABLE_MEMORY=false, ENABLE_RAG=false)"
    return f"Chroma at {without_password(settings.CHROMA_URL)}"


def serving_snapshot() -> tuple[Snapshot | None, list[str]]:
    """Compile what the workers serve, and say what is wrong with it."""
    store = SnapshotStore(
        keys=settings.AILB_ENCRYPTION_KEYS,
        default_strategy=settings.ROUTING_STRATEGY,
        last_good=settings.AILB_SNAPSHOT_FILE,
    )
    try:
        store.refresh()
        snapshot = store.current
    except (ConfigurationError, NotReady) as error:
        return None, [store.problem or error.message]
    return snapshot, [*snapshot.warnings, *filter(None, [store.problem])]


def version() -> str:
    """Read the version from the changelog, its one place."""
    text = (settings.BASE_DIR / "CHANGELOG.md").read_text(encoding="utf-8")
    found = re.search(r"^## \[(\d[^\]]*)\]", text, flags=re.MULTILINE)
    return found.group(1) if found else "(unreleased)"
