"""Starts the benchmark's programs, each on its own core, and reads their CPU time."""

from __future__ import annotations

import os
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from typing_extensions import override

STOP_LIMIT_S = 40.0
BEARER = "sk-of-the-benchmark-only"  # the key that every request carries
_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class BenchmarkFailed(Exception):
    """The benchmark cannot give figures that mean anything; says why."""


@dataclass(frozen=True, slots=True)
class Cores:
    """Which core each program has to itself."""

    gateway: int
    upstream: int
    load: int

    @override
    def __str__(self) -> str:
        """Say who runs where."""
        if self.upstream == self.load:
            return f"AILB on core {self.gateway}, nginx and wrk on core {self.load}"
        return (
            f"AILB on core {self.gateway}, nginx on core {self.upstream}, "
            f"wrk on core {self.load}"
        )


def choose_cores() -> Cores:
    """Give AILB a core of its own; nginx and wrk share one unless there is a third.

    Raises:
        BenchmarkFailed: There are fewer than two.

    """
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        raise BenchmarkFailed("two cores are needed: one for AILB, one for the load")
    return Cores(
        gateway=cores[0], upstream=cores[1], load=cores[min(2, len(cores) - 1)]
    )


def free_port() -> int:
    """Find a loopback port nobody listens on just now."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


@contextmanager
def running(
    command: Sequence[str], *, core: int, env: Mapping[str, str], cwd: Path, log: Path
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a program on one core, its output in `log`; SIGTERM at the end."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            ["taskset", "--cpu-list", str(core), *command],
            env=env,
            cwd=cwd,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        try:
            yield process
        finally:
            process.terminate()
            try:
                process.wait(STOP_LIMIT_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def wait_until_ok(
    url: str, *, process: subprocess.Popen[bytes], log: Path, limit_s: float
) -> None:
    """Return when `url` answers 200.

    Raises:
        BenchmarkFailed: The process ended or the limit passed; quotes its log.

    """
    deadline_s = time.monotonic() + limit_s
    while time.monotonic() < deadline_s and process.poll() is None:
        try:
            with _DIRECT.open(url, timeout=2):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.1)
    state = (
        "ended" if process.poll() is not None else f"was not ready in {limit_s:.0f} s"
    )
    raise BenchmarkFailed(f"{url}: the server {state}.\n{_tail(log)}")


def post(url: str, body: bytes) -> tuple[int, Mapping[str, str], bytes]:
    """Post JSON once: status, headers and the whole answer, an error's included."""
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {BEARER}"}
    request = urllib.request.Request(url, body, headers)  # noqa: S310 - our own loopback
    try:
        with _DIRECT.open(request, timeout=10) as answer:
            return answer.status, dict(answer.headers), answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, dict(error.headers), error.read()


def pin(pids: Sequence[int], *, core: int) -> None:
    """Move processes, with all their threads, to a core."""
    for pid in pids:
        for thread in Path(f"/proc/{pid}/task").iterdir():
            os.sched_setaffinity(int(thread.name), {core})


def cpu_seconds(pid: int) -> float:
    """Sum the user and system time of a process and everything below it."""
    ticks = 0
    children: dict[int, list[int]] = {}
    own: dict[int, int] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue  # it ended while we looked
        child = int(stat.parent.name)
        children.setdefault(int(fields[1]), []).append(child)
        own[child] = int(fields[11]) + int(fields[12])
    pending = [pid]
    while pending:
        current = pending.pop()
        ticks += own.get(current, 0)
        pending += children.get(current, [])
    return ticks / os.sysconf("SC_CLK_TCK")


def _tail(log: Path) -> str:
    return log.read_text(errors="replace")[-3000:]
