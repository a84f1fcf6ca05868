"""A real gateway process with a database of its own, for end-to-end tests.

How to use it, with the fixtures of `tests/conftest.py`:

    def test_a_chat_is_answered(gateway: Gateway) -> None:
        with running_simulator() as sim:
            gateway.add_provider("a", "openai", sim, models=["m"])
            gateway.apply()                                # now it serves
            assert gateway.client.chat("m").text           # or stream=True

`gateway` is one process for the whole module: give providers and models names that no
other test uses (`fresh("a")`), and reuse the process, a start costs over a second.
`start_gateway(workers=2, AILB_AUTH="required")` starts another one with its own data
directory and environment. Memory is off in them: `start_gateway(ENABLE_MEMORY="true")`
has it on, `start_gateway(AILB_SERVER="uvicorn")` is another server than that of the
environment of the tests (`make test-servers`). Rows are written by the ORM: `gateway.rows(Provider)` is a
manager's queryset on the gateway's own database (Django alias `gateway.alias`), whatever
is done with it serves after `apply()`. `gateway.log()` gives its JSON log lines,
`gateway.stop()` sends SIGTERM and gives the exit code, `gateway.restart()` starts it anew
in the same data directory and on the same port. The simulators are in
`tests.upstreams.simulators`.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any, TypeVar
from uuid import uuid4

import orjson
from django.conf import settings
from django.core.management import call_command
from django.db import connections, models
from prometheus_client.parser import text_string_to_metric_families

from ailb_project.listener import bind_listener
from ailb_project.server_settings import SERVER_MODULES, ServerSettings
from gateway import revision
from gateway.crypto import Secret, digest, mint_api_key, new_pepper, public_id_of
from gateway.models import (
    ApiKey,
    Deployment,
    Installation,
    KeyPepper,
    Model,
    Provider,
    RoutingStrategy,
    Tenant,
)
from tests.client import Client
from tests.upstreams.simulators import RunningSimulator

ROOT = Path(__file__).resolve().parents[2]
SERVER = os.environ.get("AILB_SERVER", "daphne")
LIMIT_S = 15.0
POLL_S = 0.01
OPENAI_KINDS = frozenset({"openai", "openai_compatible"})

Row = TypeVar("Row", bound=models.Model)
_numbers = count(1)


def fresh(name: str) -> str:
    """Make a name that no other test has."""
    return f"{name}-{next(_numbers)}"


def wait_until(
    is_true: Callable[[], bool],
    what: str,
    *,
    limit_s: float = LIMIT_S,
    poll_s: float = POLL_S,
) -> None:
    """Look until it is true; fail with `what` after the limit."""
    deadline_s = time.monotonic() + limit_s
    while not is_true():
        assert time.monotonic() < deadline_s, f"not within {limit_s:g} s: {what}"
        time.sleep(poll_s)


def database_entry(path: Path) -> dict[str, Any]:
    """Configure an SQLite file as the gateway does."""
    entry = {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": str(path),
        "OPTIONS": settings.DATABASES["default"]["OPTIONS"],
    }
    configured = connections.configure_settings({"default": {}, "entry": entry})
    found: dict[str, Any] = configured["entry"]
    return found


@contextmanager
def database_alias(alias: str, path: Path) -> Iterator[str]:
    """Let the ORM of this process write into a file."""
    connections.databases[alias] = database_entry(path)
    try:
        yield alias
    finally:
        connections[alias].close()
        del connections[alias]
        del connections.databases[alias]


def make_template(path: Path) -> None:
    """Make a migrated database, to be copied for each gateway."""
    with database_alias("template", path) as alias:
        call_command("migrate", database=alias, verbosity=0, interactive=False)


@dataclass(eq=False)
class Gateway:
    """One gateway under test; its processes share one socket and one data directory."""

    data_dir: Path
    alias: str
    listener: socket.socket
    workers: int
    environment: Mapping[str, str]
    drain_timeout_s: float = 10.0
    client: Client = field(init=False)
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.client = Client(self.url)

    @property
    def address(self) -> tuple[str, int]:
        address: tuple[str, int] = self.listener.getsockname()
        return address

    @property
    def server(self) -> str:
        """Which server it runs: its own AILB_SERVER, or that of the whole test run."""
        return self.environment.get("AILB_SERVER", SERVER)

    @property
    def url(self) -> str:
        """Where it serves, without /v1."""
        return "http://{}:{}".format(*self.address)

    @property
    def database(self) -> Path:
        return self.data_dir / "ailb.sqlite3"

    # --- Process -----------------------------------------------------------------------

    def start(self) -> None:
        """Start the workers; return when all of them accept requests."""
        pipes = []
        for _ in range(self.workers):
            ready_fd, write_fd = os.pipe()
            pipes.append(ready_fd)
            self.processes.append(self._spawn(write_fd))
            os.close(write_fd)
        for ready_fd in pipes:
            with os.fdopen(ready_fd, "rb") as pipe:
                assert pipe.readline() == b"ready\n", self.log_text()

    def _spawn(self, ready_fd: int) -> subprocess.Popen[bytes]:
        server = ServerSettings(
            fd=self.listener.fileno(),
            ready_fd=ready_fd,
            drain_timeout_s=self.drain_timeout_s,
        )
        with (self.data_dir / "log").open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-m", SERVER_MODULES[self.server], *server.to_argv()],
                cwd=ROOT,
                env={
                    "PATH": os.environ["PATH"],
                    "HOME": str(self.data_dir),
                    "AILB_DATA_DIR": str(self.data_dir),
                    "AILB_ENCRYPTION_KEYS": ",".join(settings.AILB_ENCRYPTION_KEYS),
                    "AILB_RUN": "tests",
                    "ENABLE_MEMORY": "false",  # it loads a model, which few tests need
                    **self.environment,
                },
                pass_fds=[self.listener.fileno(), ready_fd],
                stdout=log,
                stderr=log,
            )

    def stop(self, number: signal.Signals = signal.SIGTERM) -> set[int]:
        """Signal the workers and wait for their end; give their exit codes."""
        self.client.close()  # a drain waits a moment for connections that are kept
        self.client = Client(self.url)
        for process in self.processes:
            process.send_signal(number)
        codes = {process.wait(timeout=LIMIT_S) for process in self.processes}
        self.processes.clear()
        return codes

    def restart(self, **environment: str) -> None:
        """Stop and start again: the same port, the same data, other variables."""
        self.stop()
        self.environment = {**self.environment, **environment}
        self.start()

    def close(self) -> None:
        """End it however the test ended."""
        self.client.close()
        for process in self.processes:
            process.kill()
            process.wait()
        self.listener.close()

    # --- Rows --------------------------------------------------------------------------

    def rows(self, model: type[Row]) -> models.QuerySet[Row]:
        """All rows of a model in this gateway's database."""
        return model._default_manager.using(self.alias).all()

    def let_go(self) -> None:
        """Close this process's connection to the database, until it is used again.

        Before its files are touched: reading them would drop SQLite's locks on them.
        """
        connections[self.alias].close()

    def strategy(self, name: str | None = None, **fields: Any) -> RoutingStrategy:
        """Find a strategy by name, or make one with these fields."""
        if name is not None:
            return self.rows(RoutingStrategy).get(name=name)
        return self.rows(RoutingStrategy).create(name=fresh("strategy"), **fields)

    def add_model(
        self, name: str, strategy: str | RoutingStrategy | None = None, **fields: Any
    ) -> Model:
        """Make a model; `strategy` may be the name of an algorithm."""
        row = self.strategy(strategy) if isinstance(strategy, str) else strategy
        return self.rows(Model).create(name=name, strategy=row, **fields)

    def add_provider(
        self,
        name: str,
        kind: str,
        upstream: RunningSimulator | str,
        *,
        models: Iterable[str] | Mapping[str, str] = (),
        deployment: Mapping[str, Any] | None = None,
        **fields: Any,
    ) -> Provider:
        """Make a provider at a simulator (or a base URL), and its deployments.

        `models` are the names clients ask for, made where they are missing; a mapping
        gives each its upstream model. `deployment` are fields of every deployment.
        """
        provider = self.rows(Provider).create(
            name=name, kind=kind, base_url=base_url(kind, upstream), **fields
        )
        named = models if isinstance(models, Mapping) else {m: m for m in models}
        for model_name, upstream_model in named.items():
            model, _ = self.rows(Model).get_or_create(name=model_name)
            self.rows(Deployment).create(
                model=model,
                provider=provider,
                upstream_model=upstream_model,
                **(deployment or {}),
            )
        return provider

    def add_key(
        self, *, key: str | None = None, tenant: str = "default", **fields: Any
    ) -> str:
        """Make a virtual key (this one, or a new one) with the usual rights; give it."""
        key = key or mint_api_key()
        pepper, _ = self.rows(KeyPepper).get_or_create(
            id=1, defaults={"secret": Secret(plain=new_pepper())}
        )
        owner, _ = self.rows(Tenant).get_or_create(name=tenant)
        hashed = digest(key, pepper.secret.reveal(settings.AILB_ENCRYPTION_KEYS))
        self.rows(ApiKey).create(
            tenant=owner,
            digest=hashed,
            public_id=public_id_of(key) or hashed[:12],
            **{"name": fresh("key"), **fields},
        )
        return key

    def apply(self, *, limit_s: float = LIMIT_S) -> int:
        """Wait until what is written serves in every worker; give its revision."""
        wanted = revision.current(self.alias)
        wait_until(
            lambda: self.serving_revision() >= wanted,
            f"revision {wanted} serves",
            limit_s=limit_s,
            poll_s=0.04,  # looking costs the gateway time, too
        )
        return wanted

    def serving_revision(self) -> int:
        """Give the revision that serves; of several workers the lowest; -1 if none."""
        if self.workers > 1:
            return int(self.metric("ailb_config_revision"))
        version = self.client.get("/healthz").json["config_version"]
        return -1 if version is None else int(version)

    # --- What it says ------------------------------------------------------------------

    def metric(self, name: str, **labels: str) -> float:
        """Sum all samples of this name that have these labels; 0 if none."""
        lines = self.client.get("/metrics").body.decode().splitlines(keepends=True)
        found = "".join(
            line for line in lines if line.startswith((name + "{", name + " "))
        )
        return sum(
            sample.value
            for family in text_string_to_metric_families(found)
            for sample in family.samples
            if sample.name == name and labels.items() <= sample.labels.items()
        )

    def provider_stats(self, name: str) -> dict[str, Any]:
        """One provider's part of /api/routing/stats."""
        stats = self.client.get("/api/routing/stats").json["provider_stats"]
        found: dict[str, Any] = stats[name]
        return found

    def log_text(self) -> str:
        return (self.data_dir / "log").read_text()

    def log(self, message: str | None = None) -> list[dict[str, Any]]:
        """Parse the log lines; only those with this message if it is given."""
        lines = [
            orjson.loads(line)
            for line in self.log_text().splitlines()
            if line.startswith("{")
        ]
        return [line for line in lines if message in {None, line["message"]}]


def base_url(kind: str, upstream: RunningSimulator | str) -> str:
    """Give a provider's address as its kind wants it."""
    if isinstance(upstream, str):
        return upstream
    return upstream.openai_url if kind in OPENAI_KINDS else upstream.url


@contextmanager
def running_gateway(
    data_dir: Path, *, template: Path, workers: int, environment: Mapping[str, str]
) -> Iterator[Gateway]:
    """Run a gateway on a free port until the block ends.

    Its database is a copy of `template`. Database access must be allowed.
    """
    database = data_dir / "ailb.sqlite3"
    shutil.copyfile(template, database)
    given = dict(environment)
    if workers > 1:
        (data_dir / "metrics").mkdir()
        given["PROMETHEUS_MULTIPROC_DIR"] = str(data_dir / "metrics")
    with database_alias(fresh("gateway"), database) as alias:
        gateway = Gateway(
            data_dir, alias, bind_listener("127.0.0.1", 0), workers, given
        )
        # A copy has the name of its template: this one gets its own.
        gateway.rows(Installation).update(uid=uuid4().hex)
        if key := given.get("AILB_API_KEY"):
            gateway.add_key(key=key)  # as `serve` does before it starts workers
        try:
            gateway.start()
            yield gateway
        finally:
            gateway.close()
