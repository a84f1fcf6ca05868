"""One real HTTP worker for a test: started, watched through its journal, stopped."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from ailb_project.listener import bind_listener
from ailb_project.server_settings import SERVER_MODULES, ServerSettings
from tests.ailb_project.raw_http import TIMEOUT_S, Connection

ROOT = Path(__file__).resolve().parents[2]
APPLICATION = "tests.ailb_project.asgi_app:application"
SETTINGS = ServerSettings(application=APPLICATION, drain_timeout_s=10)
POLL_S = 0.01


def wait_until(is_true: Callable[[], bool], what: str) -> None:
    deadline_s = time.monotonic() + TIMEOUT_S
    while not is_true():
        assert time.monotonic() < deadline_s, f"never happened: {what}"
        time.sleep(POLL_S)


@dataclass(frozen=True, slots=True)
class ServerProcess:
    process: subprocess.Popen[bytes]
    address: tuple[str, int]
    listener: socket.socket
    directory: Path

    @property
    def log(self) -> str:
        return (self.directory / "log").read_text()

    @property
    def journal(self) -> list[str]:
        path = self.directory / "journal"
        return path.read_text().splitlines() if path.exists() else []

    def connect(self, *, receive_buffer: int = 0) -> Connection:
        return Connection(self.address, receive_buffer=receive_buffer)

    def wait_for(self, event: str) -> None:
        wait_until(lambda: event in self.journal, f"{event} in the journal")

    def stop(self, number: signal.Signals = signal.SIGTERM) -> None:
        """Signal; from here on nobody but the server holds the listening socket."""
        self.listener.close()
        self.process.send_signal(number)

    def is_refusing(self) -> bool:
        try:
            self.connect().socket.close()
        except ConnectionRefusedError:
            return True
        except OSError:  # reset on its way into a closing backlog
            pass
        return False

    def exit_code(self) -> int:
        return self.process.wait(timeout=TIMEOUT_S)

    def resident_bytes(self) -> int:
        statm = Path(f"/proc/{self.process.pid}/statm").read_text()
        return int(statm.split()[1]) * os.sysconf("SC_PAGESIZE")


def spawn(
    settings: ServerSettings,
    directory: Path,
    *,
    server: str = "daphne",
    **environment: str,
) -> tuple[ServerProcess, bytes]:
    """Start a worker and wait until it is ready or has ended; also give what it said."""
    listener = bind_listener("127.0.0.1", 0)
    ready_fd, write_fd = os.pipe()
    settings = replace(settings, fd=listener.fileno(), ready_fd=write_fd)
    with (directory / "log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", SERVER_MODULES[server], *settings.to_argv()],
            cwd=ROOT,
            env=os.environ | environment | {"JOURNAL": str(directory / "journal")},
            pass_fds=[listener.fileno(), write_fd],
            stderr=log,
        )
    os.close(write_fd)
    with os.fdopen(ready_fd, "rb") as pipe:
        said = pipe.readline()
    address: tuple[str, int] = listener.getsockname()
    return ServerProcess(process, address, listener, directory), said


@contextmanager
def running_server(
    directory: Path, settings: ServerSettings = SETTINGS, *, server: str = "daphne"
) -> Iterator[ServerProcess]:
    """Give a worker that is ready; end it however the test ends."""
    running, said = spawn(settings, directory, server=server)
    try:
        assert said == b"ready\n", running.log
        yield running
    finally:
        running.listener.close()
        running.process.kill()
        running.process.wait()
