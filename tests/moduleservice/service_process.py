"""`manage.py runmoduleservice` and `moduleservice.call` as processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from django.conf import settings

from tests.api.gateway_process import ROOT

STOP_S = 20.0
COMMAND_S = 60.0


@dataclass(frozen=True)
class Service:
    """One that runs, and what it said when it was ready."""

    process: subprocess.Popen[str]
    data_dir: Path
    line: str

    @property
    def address(self) -> str:
        return self.line.split()[3].rstrip(";")

    @property
    def log(self) -> str:
        return (self.data_dir / "log").read_text(encoding="utf-8")

    def call(
        self, *arguments: str, **environment: str
    ) -> subprocess.CompletedProcess[str]:
        """Call it as people do, with the token that is in its data directory."""
        return subprocess.run(
            [
                *(sys.executable, "-m", "moduleservice.call"),
                *(*arguments, "--address", self.address),
            ],
            cwd=ROOT,
            env={
                "PATH": os.environ["PATH"],
                "AILB_DATA_DIR": str(self.data_dir),
                **environment,
            },
            capture_output=True,
            text=True,
            timeout=COMMAND_S,
            check=False,
        )

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(timeout=STOP_S)


def begin_service(
    data_dir: Path, environment: Mapping[str, str]
) -> subprocess.Popen[str]:
    """Start it without waiting. Its log is `log` in the data directory."""
    with (data_dir / "log").open("wb") as log:
        return subprocess.Popen(
            [sys.executable, "manage.py", "runmoduleservice"],
            cwd=ROOT,
            env={
                "PATH": os.environ["PATH"],
                "HOME": str(data_dir),
                "AILB_DATA_DIR": str(data_dir),
                "AILB_ENCRYPTION_KEYS": ",".join(settings.AILB_ENCRYPTION_KEYS),
                "ENABLE_MEMORY": "false",
                "GRPC_PORT": "0",
                **environment,
            },
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )


@contextmanager
def running_service(data_dir: Path, **environment: str) -> Iterator[Service]:
    """Run it, on a free port of loopback, until the block ends."""
    process = begin_service(data_dir, environment)
    assert process.stdout is not None
    try:
        line = process.stdout.readline()
        assert line, (data_dir / "log").read_text()
        yield Service(process, data_dir, line.strip())
    finally:
        process.kill()
        process.communicate()
