"""What `serve` becomes once everything is prepared: the process that keeps it running.

Without Django, which took ten times the memory for nothing: it asks no database.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import signal
import socket
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NoReturn, Self

from ailb_project.lean_imports import as_if_missing

with as_if_missing("ssl"):  # which asyncio can do without, and so can we: 4 MiB
    from ailb_project.children import ChildKind, ChildSpec
    from ailb_project.logs import JsonFormatter
    from ailb_project.supervisor import STOP_SIGNALS, Supervisor


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything that is to run. `screen` is printed once the workers are ready.

    Every worker is started as `worker_argv` with `worker_env`; `metrics_folder` is made
    when several count together. `drain_timeout_s` is their grace and drain limit.
    """

    services: tuple[ChildSpec, ...]
    worker_argv: tuple[str, ...]
    worker_env: Mapping[str, str]
    workers: int
    metrics_folder: str
    drain_timeout_s: float
    screen: str
    log_level: str

    def to_json(self) -> bytes:
        """Write it for the other side of an exec."""
        return json.dumps(asdict(self)).encode()

    @classmethod
    def from_json(cls, data: bytes) -> Self:
        """Read what `to_json` has written."""
        given = json.loads(data)
        services = tuple(service_from(each) for each in given.pop("services"))
        argv = tuple(given.pop("worker_argv"))
        return cls(services=services, worker_argv=argv, **given)


def service_from(given: dict[str, object]) -> ChildSpec:
    """Read one service; JSON has lists for tuples and texts for keys."""
    argv, fds, words = (given.pop(n) for n in ("argv", "pass_fds", "exit_words"))
    assert isinstance(argv, list)
    assert isinstance(fds, list)
    assert isinstance(words, dict)
    rest: dict[str, object] = {**given, "kind": ChildKind(str(given["kind"]))}
    return ChildSpec(
        argv=tuple(argv),
        pass_fds=tuple(fds),
        exit_words={int(code): text for code, text in words.items()},
        **rest,  # type: ignore[arg-type]  # as `to_json` has written it
    )


class WorkerSpecs:
    """Describes the HTTP workers, which share one socket and one set of metrics.

    Their number is known to each. Once there was more than one they count in files, for
    good: what those that have ended counted still counts.
    """

    def __init__(self, plan: Plan) -> None:
        """Nothing is made before workers are wanted."""
        self._plan = plan
        self._has_metrics = False

    def __call__(self, count: int) -> list[ChildSpec]:
        """Describe so many; raises OSError where the metrics have no folder."""
        env = {**self._plan.worker_env, "AILB_WORKERS": str(count)}
        if count > 1 and not self._has_metrics:
            empty_folder(Path(self._plan.metrics_folder))
            self._has_metrics = True
        if self._has_metrics:
            env["PROMETHEUS_MULTIPROC_DIR"] = self._plan.metrics_folder
        return [
            ChildSpec(
                f"worker-{number}", self._plan.worker_argv, env, kind=ChildKind.WORKER
            )
            for number in range(1, count + 1)
        ]

    def forget_gauges(self, pid: int) -> None:
        """Drop what a dead worker said of the moment; what it counted stays."""
        if self._has_metrics:
            # Here, as it takes 4 MiB, and one worker alone counts without files.
            from prometheus_client.multiprocess import mark_process_dead  # noqa: PLC0415

            mark_process_dead(pid, path=self._plan.metrics_folder)  # type: ignore[no-untyped-call]


def empty_folder(folder: Path) -> None:
    """Make a folder anew."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True, mode=0o700)


def find_ourselves_anywhere() -> None:
    """Let every program that is started find ours, whatever folder this is called in."""
    root, known = str(Path(__file__).resolve().parents[1]), os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (root, known)))


def become(plan: Plan, listener: socket.socket) -> NoReturn:
    """Turn this process into its supervision; a stop that comes meanwhile is kept."""
    plan_fd = os.memfd_create("ailb-plan", 0)
    with os.fdopen(plan_fd, "wb", closefd=False) as file:
        file.write(plan.to_json())
    os.lseek(plan_fd, 0, os.SEEK_SET)
    listener.set_inheritable(True)
    find_ourselves_anywhere()
    signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
    sys.stdout.flush()
    sys.stderr.flush()
    argv = (sys.executable, "-m", "ailb_project.supervision")
    os.execv(sys.executable, [*argv, str(plan_fd), str(listener.fileno())])  # noqa: S606  # our own program, no shell


def main() -> None:
    """Supervise what the plan says until SIGTERM or SIGINT."""
    plan_fd, listener_fd = map(int, sys.argv[1:])
    with os.fdopen(plan_fd, "rb") as file:
        plan = Plan.from_json(file.read())
    log_as_json(plan.log_level)
    specs = WorkerSpecs(plan)
    listener = socket.socket(fileno=listener_fd)
    listener.set_inheritable(False)
    supervisor = Supervisor(
        plan.services,
        worker_specs=specs,
        workers=plan.workers,
        listener=listener,
        drain_timeout_s=plan.drain_timeout_s,
        on_ready=lambda: show(plan.screen),
        on_worker_exit=specs.forget_gauges,
    )
    sys.exit(supervisor.run())


def log_as_json(level: str) -> None:
    """Log as every other process does: one JSON object a line on standard error."""
    handler = logging.StreamHandler()
    handler.setFormatter(JsonFormatter())
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
    logging.getLogger("ailb_project").setLevel(level.upper())


def show(screen: str) -> None:
    """Print the one screen."""
    sys.stdout.write(screen + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
