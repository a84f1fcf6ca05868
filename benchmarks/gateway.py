"""Starts AILB as an operator would, with the benchmark's upstream as its provider."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from ailb_project.server_settings import SERVER_MODULES
from benchmarks.figures import Contender
from benchmarks.processes import (
    BEARER,
    ROOT,
    BenchmarkFailed,
    find_below,
    free_port,
    running,
    wait_until_ok,
)
from benchmarks.servers import Server
from benchmarks.upstream import Answer

START_LIMIT_S = 90.0
DAPHNE = "daphne"
_MISCONFIGURED = 78


class ServerRefused(Exception):
    """`manage.py serve` refuses the HTTP server that AILB_SERVER asks for."""


def server_name() -> str:
    """Give the HTTP server that AILB is measured on."""
    return os.environ.get("AILB_SERVER") or DAPHNE


def worker_module() -> str:
    """Give the module that a worker runs; raises ServerRefused."""
    module = SERVER_MODULES.get(server_name())
    if module is None:
        raise ServerRefused(f"known are {', '.join(SERVER_MODULES)}")
    return module


@contextmanager
def serving(
    folder: Path,
    urls: Mapping[Answer, str],
    *,
    core: int,
    more_rows: Sequence[str] = (),
) -> Iterator[Server]:
    """Run `manage.py serve` with a fresh data directory, and wait for /readyz.

    As an operator would have it: a key is needed; the key has two limits and its tenant a
    budget, so large that none is reached. `more_rows` are calls of
    benchmarks/ailb_rows.py.

    Raises:
        BenchmarkFailed: It does not become ready; quotes its log.
        ServerRefused: AILB_SERVER is not known to it.

    """
    log = folder / "ailb.log"
    env = environment(folder) | {"AILB_API_KEY": BEARER}
    make_rows(env, urls, ["rows.make_quotas()", *more_rows])
    command = [sys.executable, "manage.py", "serve"]
    with running(command, core=core, env=env, cwd=ROOT, log=log) as process:
        ready = f"http://127.0.0.1:{env['HTTP_PORT']}/readyz"
        try:
            wait_until_ok(ready, process=process, log=log, limit_s=START_LIMIT_S)
        except BenchmarkFailed as failure:
            if process.poll() == _MISCONFIGURED:
                raise ServerRefused(str(failure)) from failure
            raise
        workers = find_below(process.pid, worker_module())
        if len(workers) != 1:
            raise BenchmarkFailed(f"AILB has {len(workers)} workers instead of one")
        yield _server(Contender.AILB, env, process.pid, workers[0], urls)


@contextmanager
def serving_bare(
    folder: Path, urls: Mapping[Answer, str], *, core: int
) -> Iterator[Server]:
    """Run one worker without keys, limits and ledger; raises like `serving`."""
    log = folder / "ailb.log"
    env = environment(folder) | {"AILB_AUTH": "open"}
    make_rows(env, urls, [])
    command = [sys.executable, "-m", worker_module(), "--host=127.0.0.1"]
    command += [
        f"--port={env['HTTP_PORT']}",
        "--application=benchmarks.bare:application",
    ]
    with running(command, core=core, env=env, cwd=ROOT, log=log) as process:
        ready = f"http://127.0.0.1:{env['HTTP_PORT']}/readyz"
        wait_until_ok(ready, process=process, log=log, limit_s=START_LIMIT_S)
        yield _server(Contender.BARE, env, process.pid, process.pid, urls)


def background_pids(server: Server) -> list[int]:
    """List the processes of an AILB that are not on the path of requests."""
    assert server.pid is not None
    return find_below(server.pid, "runjobs")


def environment(folder: Path) -> dict[str, str]:
    """Give the variables of an AILB without memory, documents and providers."""
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "AILB_DATA_DIR": str(folder / "data"),
        "HTTP_PORT": str(free_port()),
        "GRPC_PORT": str(free_port()),
        "ENABLE_MEMORY": "false",
        "ENABLE_RAG": "false",
        "AILB_SERVER": server_name(),
    }


def make_rows(
    env: Mapping[str, str], urls: Mapping[Answer, str], calls: Sequence[str]
) -> None:
    """Prepare the database and make its rows; raises like `serving`."""
    upstream = {answer.model: url for answer, url in urls.items()}
    code = [
        "from benchmarks import ailb_rows as rows",
        "rows.prepare()",
        f"rows.make_upstream({upstream!r})",
        *calls,
    ]
    command = [sys.executable, "manage.py", "shell", "-v0", "-c", "\n".join(code)]
    done = subprocess.run(
        command, cwd=ROOT, env=dict(env), capture_output=True, text=True, check=False
    )
    if done.returncode == _MISCONFIGURED:
        raise ServerRefused(done.stderr[-500:])
    if done.returncode != 0:
        raise BenchmarkFailed(f"preparing failed:\n{done.stderr[-3000:]}")


def _server(
    contender: Contender,
    env: Mapping[str, str],
    pid: int,
    worker_pid: int,
    urls: Mapping[Answer, str],
) -> Server:
    base = f"http://127.0.0.1:{env['HTTP_PORT']}/v1"
    return Server(contender, dict.fromkeys(urls, base), pid, worker_pid)
