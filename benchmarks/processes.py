"""Starts the benchmark's programs, each on its own core; reads their CPU and memory."""

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

ROOT = Path(__file__).resolve().parent.parent
STOP_LIMIT_S = 40.0
IDLE_LIMIT_S = 30.0
_IDLE_SAMPLE_S = 0.25
_IDLE_SHARE = 0.2  # of the core: what a server does with no request is below
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
            return f"servers on core {self.gateway}, nginx and wrk on core {self.load}"
        return (
            f"servers on core {self.gateway}, nginx on core {self.upstream}, "
            f"wrk on core {self.load}"
        )


def choose_cores() -> Cores:
    """Give what is measured a core of its own; nginx and wrk share one unless there is a third.

    Raises:
        BenchmarkFailed: There are fewer than two.

    """
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        raise BenchmarkFailed(
            "two cores are needed: one for the server, one for the load"
        )
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
        except OSError:
            time.sleep(0.1)
    state = (
        "ended" if process.poll() is not None else f"was not ready in {limit_s:.0f} s"
    )
    raise BenchmarkFailed(f"{url}: the server {state}.\n{_tail(log)}")


def post(
    url: str, body: bytes, headers: Mapping[str, str]
) -> tuple[int, Mapping[str, str], bytes]:
    """Post once: status, headers and the whole answer, an error's included.

    Raises:
        BenchmarkFailed: There is no answer.

    """
    request = urllib.request.Request(url, body, dict(headers))  # noqa: S310 - our own loopback
    try:
        with _DIRECT.open(request, timeout=30) as answer:
            return answer.status, dict(answer.headers), answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, dict(error.headers), error.read()
    except OSError as error:
        raise BenchmarkFailed(f"{url} does not answer: {error}") from error


def pin(pids: Sequence[int], *, core: int) -> None:
    """Move processes, with all their threads, to a core."""
    for pid in pids:
        for thread in Path(f"/proc/{pid}/task").iterdir():
            os.sched_setaffinity(int(thread.name), {core})


def cpu_seconds(pid: int) -> float:
    """Sum the user and system time of a process and everything below it."""
    own = _processes()
    ticks = sum(own[each].ticks for each in _tree(pid, own))
    return ticks / os.sysconf("SC_CLK_TCK")


def resident_mib(pid: int) -> float:
    """Give the resident memory of one process, what it shares included."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def resident_tree_mib(pid: int) -> float:
    """Sum the resident memory of a process and everything below it.

    What several share (programs, libraries) counts several times, as in a sum over `ps`.
    """
    return sum(resident_mib(each) for each in _tree(pid, _processes()))


def proportional_tree_mib(pid: int) -> float:
    """Sum the same with each page shared out among the processes that have it (PSS).

    Close to what a container is charged, where each page counts once.
    """
    return sum(_proportional_mib(each) for each in _tree(pid, _processes()))


def _proportional_mib(pid: int) -> float:
    rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
    kib = next(line for line in rollup.splitlines() if line.startswith("Pss:"))
    return int(kib.split()[1]) / 1024


def find_below(pid: int, word: str) -> list[int]:
    """List the processes below one whose command line has a word, the oldest first."""
    below = _tree(pid, _processes())
    return [each for each in sorted(below) if word in _command_of(each)]


def wait_until_idle(pid: int) -> None:
    """Return when a server has done what a run left in its queue.

    Raises:
        BenchmarkFailed: It is busy for 30 s more.

    """
    deadline_s = time.monotonic() + IDLE_LIMIT_S
    before_s = cpu_seconds(pid)
    while time.monotonic() < deadline_s:
        time.sleep(_IDLE_SAMPLE_S)
        now_s = cpu_seconds(pid)
        if now_s - before_s <= _IDLE_SHARE * _IDLE_SAMPLE_S:
            return
        before_s = now_s
    raise BenchmarkFailed(f"process {pid} does not come to rest")


@dataclass(frozen=True, slots=True)
class _Process:
    parent: int
    ticks: int


def _processes() -> dict[int, _Process]:
    found = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue  # it ended while we looked
        ticks = int(fields[11]) + int(fields[12])
        found[int(stat.parent.name)] = _Process(int(fields[1]), ticks)
    return found


def _tree(pid: int, processes: Mapping[int, _Process]) -> list[int]:
    children: dict[int, list[int]] = {}
    for child, process in processes.items():
        children.setdefault(process.parent, []).append(child)
    found, pending = [], [pid] if pid in processes else []
    while pending:
        current = pending.pop()
        found.append(current)
        pending += children.get(current, [])
    return found


def _command_of(pid: int) -> str:
    return Path(f"/proc/{pid}/cmdline").read_text(errors="replace")


def _tail(log: Path) -> str:
    return log.read_text(errors="replace")[-3000:]
