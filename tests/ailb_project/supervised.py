"""A supervisor as a program of its own: `python -m tests.ailb_project.supervised SPEC`.

SPEC is JSON: `workers` (their number), `services` (name to Python source, in the order
in which they stop), `worker_argv` (in place of the HTTP worker), `stop_s`.
"""

from __future__ import annotations

import json
import logging
import sys

from ailb_project.listener import bind_listener
from ailb_project.supervisor import ChildKind, ChildSpec, Supervisor
from tests.ailb_project.server_process import SETTINGS


def main() -> int:
    logging.basicConfig(level=logging.INFO, format="SUPERVISOR %(message)s")
    spec = json.loads(sys.argv[1])
    listener = bind_listener("127.0.0.1", 0)
    worker = (sys.executable, "-m", "ailb_project.server", *SETTINGS.to_argv())
    children = [
        *(
            ChildSpec(name=name, argv=(sys.executable, "-c", source))
            for name, source in spec.get("services", {}).items()
        ),
        *(
            ChildSpec(
                name=f"http-{number}",
                argv=tuple(spec.get("worker_argv", worker)),
                kind=ChildKind.WORKER,
            )
            for number in range(spec.get("workers", 2))
        ),
    ]
    print(listener.getsockname()[1], flush=True)  # noqa: T201  # the test reads it
    return Supervisor(
        children,
        listener=listener,
        drain_timeout_s=spec.get("stop_s", 10),
        stop_margin_s=0,
        on_ready=lambda: print("ready", flush=True),  # noqa: T201  # the test reads it
    ).run()


if __name__ == "__main__":
    sys.exit(main())
