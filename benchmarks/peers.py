"""The peers: installs LiteLLM and Portkey beside us, and starts each at its leanest."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from benchmarks.figures import Contender
from benchmarks.processes import (
    BEARER,
    ROOT,
    BenchmarkFailed,
    free_port,
    running,
    wait_until_ok,
)
from benchmarks.servers import Server
from benchmarks.upstream import Answer

# The newest whose `proxy` extra could be installed in full.
LITELLM = "litellm[proxy]==1.106.12"
PORTKEY = {
    "private": True,
    "dependencies": {"@portkey-ai/gateway": "1.15.2"},
    # With newer ones this Portkey answers every stream with 500: it changes headers that
    # they hand on from fetch, which are immutable.
    "overrides": {"@hono/node-server": "1.13.8"},
}
FOLDER = ROOT / ".bench"
START_LIMIT_S = 120.0
_LITELLM_HOME, _PORTKEY_HOME = FOLDER / "litellm", FOLDER / "portkey"
_PORTKEY_SCRIPT = Path("node_modules/@portkey-ai/gateway/build/start-server.js")
_INSTALLED = "installed.txt"


def install() -> None:
    """Install both, each into its own folder, unless that version is there.

    Raises:
        BenchmarkFailed: npm is missing or an installation failed; quotes its last words.

    """
    if shutil.which("npm") is None or shutil.which("node") is None:
        raise BenchmarkFailed("Portkey needs node and npm")
    python = _LITELLM_HOME / "bin" / "python"
    make = [sys.executable, "-m", "venv", str(_LITELLM_HOME)]
    pip = [str(python), "-m", "pip", "install", "--quiet", LITELLM]
    _install(_LITELLM_HOME, LITELLM, [make, pip])
    npm = ["npm", "install", "--no-audit", "--no-fund", "--ignore-scripts"]
    _PORTKEY_HOME.mkdir(parents=True, exist_ok=True)
    wanted = json.dumps(PORTKEY)
    (_PORTKEY_HOME / "package.json").write_text(wanted)
    _install(_PORTKEY_HOME, wanted, [npm])


@contextmanager
def litellm(folder: Path, urls: Mapping[Answer, str], *, core: int) -> Iterator[Server]:
    """Run LiteLLM's proxy: one worker, a master key, no database, errors logged only.

    Raises:
        BenchmarkFailed: It does not start; quotes its log.

    """
    config, log, port = folder / "config.yaml", folder / "litellm.log", free_port()
    config.write_text(json.dumps(litellm_config(urls)))  # JSON is YAML
    env = _environment(folder) | {
        "LITELLM_MODE": "PRODUCTION",  # read no .env
        "LITELLM_LOG": "ERROR",
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",  # ask no other host
        "NO_DOCS": "True",
        "DISABLE_ADMIN_UI": "True",
    }
    command = [str(_LITELLM_HOME / "bin" / "litellm"), "--config", str(config)]
    command += ["--host", "127.0.0.1", "--port", str(port), "--num_workers", "1"]
    with running(command, core=core, env=env, cwd=folder, log=log) as process:
        alive = f"http://127.0.0.1:{port}/health/liveliness"
        wait_until_ok(alive, process=process, log=log, limit_s=START_LIMIT_S)
        base = dict.fromkeys(urls, f"http://127.0.0.1:{port}/v1")
        yield Server(Contender.LITELLM, base, process.pid, process.pid)


def litellm_config(urls: Mapping[Answer, str]) -> dict[str, object]:
    """Write its configuration: a model for each answer."""
    models = [
        {
            "model_name": answer.model,
            "litellm_params": {
                "model": f"openai/{answer.model}",
                "api_base": url,
                "api_key": "bench",
            },
        }
        for answer, url in urls.items()
    ]
    return {
        "model_list": models,
        "litellm_settings": {"set_verbose": False, "telemetry": False},
        "general_settings": {"master_key": BEARER},
    }


@contextmanager
def portkey(folder: Path, urls: Mapping[Answer, str], *, core: int) -> Iterator[Server]:
    """Run Portkey's gateway without its console; it is told the upstream in headers.

    Raises:
        BenchmarkFailed: It does not start; quotes its log.

    """
    log, port = folder / "portkey.log", free_port()
    env = _environment(folder) | {"NODE_ENV": "production"}
    script = str(_PORTKEY_HOME / _PORTKEY_SCRIPT)
    command = ["node", script, "--headless", f"--port={port}"]
    with running(command, core=core, env=env, cwd=folder, log=log) as process:
        alive = f"http://127.0.0.1:{port}/"
        wait_until_ok(alive, process=process, log=log, limit_s=START_LIMIT_S)
        yield Server(
            Contender.PORTKEY,
            dict.fromkeys(urls, f"http://127.0.0.1:{port}/v1"),
            process.pid,
            process.pid,
            {answer: portkey_headers(url) for answer, url in urls.items()},
        )


def portkey_headers(url: str) -> dict[str, str]:
    """Give the headers that send a request to this upstream."""
    return {"x-portkey-provider": "openai", "x-portkey-custom-host": url}


def _install(home: Path, wanted: str, commands: Sequence[Sequence[str]]) -> None:
    mark = home / _INSTALLED
    if mark.exists() and mark.read_text() == wanted:
        return
    print(f"Installing {home.name} into {home} (once) ...", flush=True)
    for command in commands:
        home.mkdir(parents=True, exist_ok=True)
        done = subprocess.run(
            command, cwd=home, capture_output=True, text=True, check=False
        )
        if done.returncode != 0:
            raise BenchmarkFailed(f"{home.name}: {done.stderr[-3000:]}")
    mark.write_text(wanted)


def _environment(folder: Path) -> dict[str, str]:
    return {"PATH": os.environ["PATH"], "HOME": str(folder)}
