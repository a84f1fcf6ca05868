"""A supervisor as a program of its own: `python -m tests.ailb_project.supervised SPEC`.

SPEC is JSON: `workers` (their number), `services` (name to Python source, in the order
in which they stop), `linked` (the name of the one with a link), `worker_argv` (in place
of the HTTP worker), `stop_s`, `margin_s`, `exit_words`.
"""

from __future__ import annotations

import json
import logging
import sys
from typing import Any

from ailb_project.children import ChildKind, ChildSpec
from ailb_project.listener import bind_listener
from ailb_project.supervisor import Supervisor
from tests.ailb_project.server_process import SETTINGS


def main() -> int:
    logging.basicConfig(level=logging.INFO, format="SUPERVISOR %(message)s")
    spec = json.loads(sys.argv[1])
    listener = bind_listener("127.0.0.1", 0)
    print(listener.getsockname()[1], flush=True)  # noqa: T201  # the test reads it
    return Supervisor(
        services_of(spec),
        worker_specs=lambda count: workers_of(spec, count),
        workers=spec.get("workers", 2),
        listener=listener,
        drain_timeout_s=spec.get("stop_s", 10),
        stop_margin_s=spec.get("margin_s", 0),
        on_ready=lambda: print("ready", flush=True),  # noqa: T201  # the test reads it
    ).run()


def services_of(spec: dict[str, Any]) -> list[ChildSpec]:
    words = {int(code): said for code, said in spec.get("exit_words", {}).items()}
    return [
        ChildSpec(
            name=name,
            argv=(sys.executable, "-c", source),
            has_link=name == spec.get("linked"),
            exit_words=words,
        )
        for name, source in spec.get("services", {}).items()
    ]


def workers_of(spec: dict[str, Any], count: int) -> list[ChildSpec]:
    worker = (sys.executable, "-m", "ailb_project.server", *SETTINGS.to_argv())
    return [
        ChildSpec(
            name=f"http-{number}",
            argv=tuple(spec.get("worker_argv", worker)),
            env={"AILB_WORKERS": str(count)},
            kind=ChildKind.WORKER,
        )
        for number in range(count)
    ]


if __name__ == "__main__":
    sys.exit(main())
