"""`manage.py serve` as a black box: a process, its screen, its variables and its end.

Memory is off where a test does not ask for it: `serving(folder, ENABLE_MEMORY="true")`.
With the fixture `database_template` as its `template` a first start has no migrations
to run.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from ailb_project.server_settings import SERVER_MODULES
from tests.api.gateway_process import ROOT, SERVER, wait_until
from tests.client import Client, Reply

START_S = 60.0
STOP_S = 40.0
COMMAND_S = 60.0
RULE = "─" * 72
WORKER = re.compile(rb"-m\0(%b)\0" % "|".join(SERVER_MODULES.values()).encode())
CHROMA = b"chroma\0run\0"


@dataclass(eq=False)
class Serve:
    """One `serve` in a data directory, leader of a process group of its own."""

    data_dir: Path
    environment: Mapping[str, str]
    process: subprocess.Popen[bytes] | None = None
    _client: Client | None = None

    def start(self) -> None:
        """Start; return when the screen has been drawn, which means ready."""
        self.begin()
        self.wait_ready()

    def begin(self) -> None:
        """Start without waiting."""
        self._screen_file.unlink(missing_ok=True)
        with self._screen_file.open("wb") as screen, self._log_file.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "manage.py", "serve"],
                cwd=ROOT,
                env=self._variables(),
                stdout=screen,
                stderr=log,
                start_new_session=True,
            )

    def wait_ready(self) -> None:
        """Wait for the screen."""
        wait_until(self._is_drawn, "the screen is drawn", limit_s=START_S)

    @property
    def client(self) -> Client:
        """A client that keeps its connections until the process is stopped."""
        if self._client is None:
            self._client = Client(self.url)
        return self._client

    def _forget_client(self) -> None:
        if self._client is not None:
            self._client.close()
            self._client = None

    def _is_drawn(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, self.log_text()
        return self.screen.count(RULE) == 2

    def _variables(self) -> dict[str, str]:
        return {
            "PATH": os.environ["PATH"],
            "HOME": str(self.data_dir),
            "AILB_DATA_DIR": str(self.data_dir),
            "HTTP_PORT": "0",
            "GRPC_PORT": "0",
            "AILB_SERVER": SERVER,
            "ENABLE_MEMORY": "false",  # it starts a vector store, which few tests need
            **self.environment,
        }

    @property
    def _screen_file(self) -> Path:
        return self.data_dir / "screen"

    @property
    def _log_file(self) -> Path:
        return self.data_dir / "log"

    @property
    def screen(self) -> str:
        """What it has printed on standard output."""
        return self._screen_file.read_text(encoding="utf-8")

    def log_text(self) -> str:
        return self._log_file.read_text(encoding="utf-8")

    @property
    def url(self) -> str:
        found = re.search(r"serves at (http://\S+)", self.screen)
        assert found, self.screen
        return found.group(1)

    def shown(self, pattern: str) -> str | None:
        """Find something on the screen: the first group of the pattern."""
        found = re.search(pattern, self.screen)
        return found.group(1) if found else None

    def chat_once(self, model: str) -> Reply:
        """Ask on a connection of its own, so that any worker may get it."""
        client = Client(self.url)
        try:
            return client.chat(model)
        finally:
            client.close()

    def worker_pids(self) -> set[int]:
        """Find the HTTP workers that run now."""
        assert self.process is not None
        parent = self.process.pid
        return {pid for pid in children_of(parent) if WORKER.search(command_line(pid))}

    def run(
        self, *arguments: str, stdin: str | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run another management command beside it."""
        return subprocess.run(
            [sys.executable, "manage.py", *arguments],
            cwd=ROOT,
            env=self._variables(),
            input=stdin,
            capture_output=True,
            text=True,
            timeout=COMMAND_S,
            check=True,
        )

    def stop(
        self, number: signal.Signals = signal.SIGTERM, *, group: bool = False
    ) -> int:
        """Signal it, or its whole group as a terminal does; give the exit code."""
        assert self.process is not None
        self._forget_client()
        if group:
            os.killpg(self.process.pid, number)
        else:
            self.process.send_signal(number)
        return self.process.wait(timeout=STOP_S)

    def close(self) -> None:
        """End it however the test ended."""
        self._forget_client()
        if self.process is None:
            return
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


@contextmanager
def serving(
    data_dir: Path, template: Path | None = None, /, **environment: str
) -> Iterator[Serve]:
    """Serve until the block ends, on an SQLite file that begins as a copy of `template`."""
    if template is not None:
        shutil.copyfile(template, data_dir / "ailb.sqlite3")
    serve = Serve(data_dir, environment)
    try:
        serve.start()
        yield serve
    finally:
        serve.close()


def refused_start(data_dir: Path, **environment: str) -> subprocess.Popen[str]:
    """Begin a start that should end by itself, to be read with `communicate`."""
    return subprocess.Popen(
        [sys.executable, "manage.py", "serve"],
        cwd=ROOT,
        env={
            "PATH": os.environ["PATH"],
            "HOME": str(data_dir),
            "AILB_DATA_DIR": str(data_dir),
            "HTTP_PORT": "0",
            "GRPC_PORT": "0",
            **environment,
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def survivors(data_dir: Path) -> list[bytes]:
    """List the processes that still run with this data directory."""
    mark = f"AILB_DATA_DIR={data_dir}\0".encode()
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            environ = (entry / "environ").read_bytes()
        except OSError:
            continue
        if mark in environ:
            found.append(command_line(int(entry.name)))
    return found


def chroma_pid(serve: Serve) -> int | None:
    """Find the local vector store; None while there is no such process."""
    assert serve.process is not None
    found = [p for p in children_of(serve.process.pid) if CHROMA in command_line(p)]
    return found[0] if found else None


def children_of(parent: int) -> list[int]:
    """List the processes that a process has started."""
    found = Path(f"/proc/{parent}/task/{parent}/children").read_text(encoding="ascii")
    return [int(pid) for pid in found.split()]


def command_line(pid: int) -> bytes:
    """Read how a process was started; empty if it has ended."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return b""
