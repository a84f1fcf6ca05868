"""Drives one address with wrk and reads what came of it."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.calls import Call
from benchmarks.processes import BenchmarkFailed

_SCRIPT = Path(__file__).with_name("chat.lua")
_TIMEOUT_S = 60


class NothingAnswered(BenchmarkFailed):
    """No request was answered while the load lasted; nothing else was wrong."""


@dataclass(frozen=True, slots=True)
class Run:
    """One run of the load generator, seen from the client."""

    requests: int
    requests_per_s: float
    p50_ms: float
    p99_ms: float


@dataclass(frozen=True, slots=True)
class Latency:
    """How long answers took, seen from the client."""

    p50_ms: float
    p95_ms: float
    p99_ms: float


def read_run(output: str) -> Run:
    """Read the line that chat.lua prints.

    Raises:
        BenchmarkFailed: Any answer was an error, or there was none.

    """
    seen = _read(output)
    return Run(
        requests=seen["requests"],
        requests_per_s=seen["requests"] / seen["seconds"],
        p50_ms=seen["p50_ms"],
        p99_ms=seen["p99_ms"],
    )


def drive(call: Call, *, connections: int, seconds: int, core: int) -> Run:
    """Send one call as fast as the answers come; raises like read_run."""
    return read_run(_wrk(call, connections=connections, seconds=seconds, core=core))


def time_one_by_one(call: Call, *, seconds: int, core: int) -> tuple[Run, Latency]:
    """Send one call at a time; raises like read_run."""
    output = _wrk(call, connections=1, seconds=seconds, core=core)
    seen = _read(output)
    latency = Latency(seen["p50_ms"], seen["p95_ms"], seen["p99_ms"])
    return read_run(output), latency


def median(runs: Sequence[Run]) -> Run:
    """Take the median of each figure by itself; the requests are summed."""
    return Run(
        requests=sum(run.requests for run in runs),
        requests_per_s=statistics.median(run.requests_per_s for run in runs),
        p50_ms=statistics.median(run.p50_ms for run in runs),
        p99_ms=statistics.median(run.p99_ms for run in runs),
    )


def _wrk(call: Call, *, connections: int, seconds: int, core: int) -> str:
    size = ["-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", f"{_TIMEOUT_S}s"]
    wrk = ["wrk", *size, "--script", str(_SCRIPT), call.url]
    # A body of a megabyte fits into no environment variable.
    with tempfile.NamedTemporaryFile(prefix="ailb-bench-body-") as body:
        body.write(call.body)
        body.flush()
        headers = "\n".join(f"{name}: {value}" for name, value in call.headers.items())
        done = subprocess.run(
            ["taskset", "--cpu-list", str(core), *wrk],
            env={
                "PATH": os.environ["PATH"],
                "BENCH_BODY_FILE": body.name,
                "BENCH_HEADERS": headers,
            },
            capture_output=True,
            text=True,
            check=False,
        )
    if done.returncode != 0:
        raise BenchmarkFailed(f"wrk failed: {done.stderr or done.stdout}")
    return done.stdout


def _read(output: str) -> dict[str, Any]:
    lines = [line for line in output.splitlines() if line.startswith("{")]
    if not lines:
        raise BenchmarkFailed(f"wrk reported nothing:\n{output}")
    seen: dict[str, Any] = json.loads(lines[-1])
    if seen["status_errors"] or seen["socket_errors"]:
        raise BenchmarkFailed(
            f"{seen['requests']} answers, of them {seen['status_errors']} with an error "
            f"status; {seen['socket_errors']} socket errors: no figure counts"
        )
    if not seen["requests"]:
        raise NothingAnswered("no request was answered: no figure counts")
    return seen
