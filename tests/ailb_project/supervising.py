"""A supervisor for a test: started, asked under load, and its link with a child taken."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.ailb_project.raw_http import TIMEOUT_S, Connection
from tests.ailb_project.server_process import ROOT, wait_until

# A service that writes down its start and its stop.
SERVICE = """
import os, pathlib, signal
def note(event):
    with pathlib.Path(os.environ["JOURNAL"]).open("a") as journal:
        journal.write(event + "\\n")
def stop(*_):
    note("NAME stopped")
    raise SystemExit(0)
signal.signal(signal.SIGTERM, stop)
note("NAME started %d" % os.getpid())
while True:
    signal.pause()
"""

# The same, which first hands its end of the link to the test.
LINKED = """
import os, socket
at = socket.socket(socket.AF_UNIX)
at.connect(os.path.join(os.path.dirname(os.environ["JOURNAL"]), "link"))
end = int(os.environ["AILB_SUPERVISOR_FD"])
socket.send_fds(at, [str(os.getpid()).encode()], [end])
os.close(end)
""" + SERVICE.replace("NAME", "linked")


@dataclass(frozen=True, slots=True)
class Supervised:
    process: subprocess.Popen[str]
    address: tuple[str, int]
    directory: Path
    links: socket.socket

    @property
    def log(self) -> str:
        return (self.directory / "log").read_text()

    @property
    def journal(self) -> list[str]:
        path = self.directory / "journal"
        return path.read_text().splitlines() if path.exists() else []

    def wait_for(self, event: str) -> None:
        wait_until(lambda: event in self.journal, f"{event} in the journal")

    def said(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def worker_pid(self) -> int:
        with Connection(self.address) as client:
            return int(client.ask("/echo").json["pid"])

    def children(self) -> list[int]:
        path = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        return [int(pid) for pid in path.read_text().split()]

    def workers_told(self) -> list[str]:
        """Tell what each worker that serves now knows of their number."""
        return [
            told
            for pid in self.children()
            if (told := environment_of(pid).get("AILB_WORKERS"))
        ]

    def take_link(self) -> tuple[int, socket.socket]:
        """Take over the link of the next LINKED child; also gives its process id."""
        connection, _ = self.links.accept()
        with connection:
            said, (end, *_), _, _ = socket.recv_fds(connection, 16, 1)
        link = socket.socket(fileno=end)
        link.settimeout(TIMEOUT_S)
        return int(said), link

    def exit_code(self) -> int:
        return self.process.wait(timeout=TIMEOUT_S)

    def stop_group(self, number: signal.Signals = signal.SIGTERM) -> None:
        os.killpg(self.process.pid, number)


@contextmanager
def supervised(
    directory: Path, *, stdin: int = subprocess.DEVNULL, **spec: Any
) -> Iterator[Supervised]:
    links = socket.socket(socket.AF_UNIX)
    links.settimeout(TIMEOUT_S)
    links.bind(str(directory / "link"))
    links.listen()
    with (directory / "log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.ailb_project.supervised", json.dumps(spec)],
            cwd=ROOT,
            env=os.environ | {"JOURNAL": str(directory / "journal")},
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            start_new_session=True,
        )
    try:
        assert process.stdout is not None
        port = int(process.stdout.readline())
        yield Supervised(process, ("127.0.0.1", port), directory, links)
    finally:
        links.close()
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


def environment_of(pid: int) -> dict[str, str]:
    """Read what a process was started with; nothing if it has ended."""
    try:
        pairs = Path(f"/proc/{pid}/environ").read_text().split("\0")
    except (FileNotFoundError, ProcessLookupError):
        return {}
    return dict(pair.split("=", 1) for pair in pairs if "=" in pair)


def is_gone(pid: int) -> bool:
    """Tell whether a process has ended; a zombie nobody waits for has."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return True
    return state == "Z"


class Load:
    """Clients that ask all the time, half on new connections, half on kept ones.

    A client that is refused gives up; that is a failure, but no loss.
    """

    def __init__(self, address: tuple[str, int], *, clients: int) -> None:
        self._address = address
        self._ended = threading.Event()
        self.failures: list[str] = []
        self.answers: list[int] = []
        self._threads = [
            threading.Thread(target=self._run, args=(number % 2 == 0,))
            for number in range(clients)
        ]

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        for thread in self._threads:
            thread.join(TIMEOUT_S)

    def _run(self, keeps_alive: bool) -> None:
        while not self._ended.is_set():
            try:
                with Connection(self._address) as client:
                    self._ask(client, keeps_alive=keeps_alive)
            except (OSError, EOFError) as error:
                self.failures.append(repr(error))
                if isinstance(error, ConnectionRefusedError):
                    return

    @property
    def losses(self) -> list[str]:
        """What was accepted and not answered."""
        refused = ConnectionRefusedError.__name__
        return [loss for loss in self.failures if not loss.startswith(refused)]

    def is_over(self) -> bool:
        """Tell whether all clients were refused."""
        return not any(thread.is_alive() for thread in self._threads)

    def _ask(self, client: Connection, *, keeps_alive: bool) -> None:
        while not self._ended.is_set():
            answer = client.ask("/echo")
            self.answers.append(answer.json["pid"])
            if not keeps_alive or answer.headers.get("connection") == "close":
                return
