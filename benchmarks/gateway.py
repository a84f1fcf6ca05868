"""Starts AILB as an operator would, with the benchmark's upstream as its provider."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.processes import (
    BEARER,
    BenchmarkFailed,
    free_port,
    post,
    running,
    wait_until_ok,
)
from benchmarks.upstream import MODEL

ROOT = Path(__file__).resolve().parent.parent
START_LIMIT_S = 90.0
KEY = BEARER
# What a key usually has: requests and tokens per minute, and a share of a budget.
QUOTAS = """
from gateway.models import ApiKey, Budget, Limit
key = ApiKey.objects.get()
for measure in ("requests", "tokens"):
    Limit.objects.create(measure=measure, amount=10**9, window="minute", api_key=key)
Budget.objects.create(amount_usd=10**6, period="month", tenant=key.tenant)
"""


@dataclass(frozen=True, slots=True)
class Gateway:
    """A running AILB: its base address, ending in /v1, and its first process."""

    url: str
    pid: int

    def background_pids(self) -> list[int]:
        """List the processes below it that are not on the path of requests."""
        below = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()
        return [int(pid) for pid in below if "runjobs" in _command_of(pid)]


def _command_of(pid: str) -> str:
    return Path(f"/proc/{pid}/cmdline").read_text()


def chat_body(*, stream: bool) -> bytes:
    """Write the request that is sent over and over: a short chat."""
    messages = [
        {"role": "system", "content": "You are a helpful assistant."},
        {"role": "user", "content": "Write a sentence with every letter in it."},
    ]
    body: dict[str, object] = {"model": MODEL, "messages": messages, "temperature": 0.5}
    if stream:
        body |= {"stream": True, "stream_options": {"include_usage": True}}
    return json.dumps(body).encode()


@contextmanager
def serving(folder: Path, *, upstream_url: str, core: int) -> Iterator[Gateway]:
    """Run `manage.py serve` with an empty data directory, and wait for /readyz.

    As an operator would have it: a key is needed; the key has two limits and its tenant a
    budget, so large that none is reached.

    Raises:
        BenchmarkFailed: It does not become ready; quotes its log.

    """
    log = folder / "ailb.log"
    env = environment(folder, upstream_url) | {"AILB_API_KEY": KEY}
    port = env["HTTP_PORT"]
    command = [sys.executable, "manage.py", "serve"]
    with running(command, core=core, env=env, cwd=ROOT, log=log) as process:
        ready = f"http://127.0.0.1:{port}/readyz"
        wait_until_ok(ready, process=process, log=log, limit_s=START_LIMIT_S)
        run_in_shell(QUOTAS, env)
        yield Gateway(url=f"http://127.0.0.1:{port}/v1", pid=process.pid)


@contextmanager
def serving_bare(folder: Path, *, upstream_url: str, core: int) -> Iterator[Gateway]:
    """Run one worker without keys, limits and ledger; raises like `serving`."""
    log = folder / "ailb.log"
    env = environment(folder, upstream_url) | {"AILB_AUTH": "open"}
    port = env["HTTP_PORT"]
    run_in_shell("from ailb_project.preparation import prepare; prepare()", env)
    command = [sys.executable, "-m", "ailb_project.server", "--host=127.0.0.1"]
    command += [f"--port={port}", "--application=benchmarks.bare:application"]
    with running(command, core=core, env=env, cwd=ROOT, log=log) as process:
        ready = f"http://127.0.0.1:{port}/readyz"
        wait_until_ok(ready, process=process, log=log, limit_s=START_LIMIT_S)
        yield Gateway(url=f"http://127.0.0.1:{port}/v1", pid=process.pid)


def environment(folder: Path, upstream_url: str) -> dict[str, str]:
    """Give the variables of an AILB with the benchmark's upstream as its provider."""
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "AILB_DATA_DIR": str(folder / "data"),
        "HTTP_PORT": str(free_port()),
        "GRPC_PORT": str(free_port()),
        "ENABLE_MEMORY": "false",
        "OPENAI_API_KEY": "bench",
        "OPENAI_BASE_URL": upstream_url,
        "OPENAI_MODELS": MODEL,
    }


def run_in_shell(code: str, env: Mapping[str, str]) -> None:
    """Run code in Django's shell; raises BenchmarkFailed with its words."""
    command = [sys.executable, "manage.py", "shell", "-v0", "-c", code]
    done = subprocess.run(
        command, cwd=ROOT, env=dict(env), capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise BenchmarkFailed(f"preparing failed:\n{done.stderr[-3000:]}")


def refuse_wrong_answer(url: str, *, stream: bool, expected: str) -> None:
    """Ask once and read the whole answer: a fast error is not a result.

    Raises:
        BenchmarkFailed: The answer is not a 200 that holds `expected`.

    """
    status, headers, data = post(f"{url}/chat/completions", chat_body(stream=stream))
    text = data.decode(errors="replace")
    if status != 200 or expected not in text:
        raise BenchmarkFailed(f"{url} answered {status}: {text[:500]}")
    if "x-ailb-simulated" in {name.lower() for name in headers}:
        raise BenchmarkFailed("the simulator answered, not the benchmark's upstream")
