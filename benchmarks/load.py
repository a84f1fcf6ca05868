"""Drives one address with wrk and reads what came of it."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.processes import BEARER, BenchmarkFailed

_SCRIPT = Path(__file__).with_name("chat.lua")


@dataclass(frozen=True, slots=True)
class Run:
    """One run of the load generator, seen from the client."""

    requests: int
    requests_per_s: float
    p50_ms: float
    p99_ms: float


def read_run(output: str) -> Run:
    """Read the line that chat.lua prints.

    Raises:
        BenchmarkFailed: Any answer was an error, or there was none.

    """
    lines = [line for line in output.splitlines() if line.startswith("{")]
    if not lines:
        raise BenchmarkFailed(f"wrk reported nothing:\n{output}")
    seen = json.loads(lines[-1])
    if seen["status_errors"] or seen["socket_errors"] or not seen["requests"]:
        raise BenchmarkFailed(
            f"{seen['requests']} answers, of them {seen['status_errors']} with an error "
            f"status; {seen['socket_errors']} socket errors: no figure counts"
        )
    return Run(
        requests=seen["requests"],
        requests_per_s=seen["requests"] / seen["seconds"],
        p50_ms=seen["p50_ms"],
        p99_ms=seen["p99_ms"],
    )


def drive(url: str, body: bytes, *, connections: int, seconds: int, core: int) -> Run:
    """Post `body` to the chat route as fast as the answers come; raises like read_run."""
    size = ["-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "10s"]
    wrk = ["wrk", *size, "--script", str(_SCRIPT), f"{url}/chat/completions"]
    done = subprocess.run(
        ["taskset", "--cpu-list", str(core), *wrk],
        env={
            "PATH": os.environ["PATH"],
            "BENCH_BODY": body.decode(),
            "BENCH_BEARER": BEARER,
        },
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise BenchmarkFailed(f"wrk failed: {done.stderr or done.stdout}")
    return read_run(done.stdout)


def median(runs: Sequence[Run]) -> Run:
    """Take the median of each figure by itself; the requests are summed."""
    return Run(
        requests=sum(run.requests for run in runs),
        requests_per_s=statistics.median(run.requests_per_s for run in runs),
        p50_ms=statistics.median(run.p50_ms for run in runs),
        p99_ms=statistics.median(run.p99_ms for run in runs),
    )
