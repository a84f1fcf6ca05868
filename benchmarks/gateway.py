"""Starts AILB as an operator would, with the benchmark's upstream as its provider."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.processes import (
    BenchmarkFailed,
    free_port,
    post,
    running,
    wait_until_ok,
)
from benchmarks.upstream import MODEL

ROOT = Path(__file__).resolve().parent.parent
START_LIMIT_S = 90.0


@dataclass(frozen=True, slots=True)
class Gateway:
    """A running AILB: its base address, ending in /v1, and its first process."""

    url: str
    pid: int


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

    Raises:
        BenchmarkFailed: It does not become ready; quotes its log.

    """
    port, log = free_port(), folder / "ailb.log"
    env = {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "AILB_DATA_DIR": str(folder / "data"),
        "HTTP_PORT": str(port),
        "GRPC_PORT": str(free_port()),
        "ENABLE_MEMORY": "false",
        "OPENAI_API_KEY": "bench",
        "OPENAI_BASE_URL": upstream_url,
        "OPENAI_MODELS": MODEL,
    }
    command = [sys.executable, "manage.py", "serve"]
    with running(command, core=core, env=env, cwd=ROOT, log=log) as process:
        ready = f"http://127.0.0.1:{port}/readyz"
        wait_until_ok(ready, process=process, log=log, limit_s=START_LIMIT_S)
        yield Gateway(url=f"http://127.0.0.1:{port}/v1", pid=process.pid)


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
