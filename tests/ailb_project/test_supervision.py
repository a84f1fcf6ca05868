"""What `serve` becomes: the plan on its way through an exec, and the process after it."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from ailb_project.children import ChildKind, ChildSpec
from ailb_project.server_settings import ServerSettings
from ailb_project.supervision import Plan, WorkerSpecs
from tests.ailb_project.server_process import APPLICATION

ROOT = Path(__file__).resolve().parents[2]
BECOME = """
import socket, sys
sys.path.insert(0, sys.argv[1])
from ailb_project.supervision import Plan, become
become(Plan.from_json(sys.stdin.buffer.read()), socket.socket(fileno=int(sys.argv[2])))
"""


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    settings = ServerSettings(application=APPLICATION, drain_timeout_s=2)
    return Plan(
        services=(
            ChildSpec(
                "sleeper",
                ("/bin/sleep", "600"),
                {"NAME": "value"},
                has_link=False,
                exit_words={78: "It cannot."},
            ),
        ),
        worker_argv=(sys.executable, "-m", "ailb_project.server", *settings.to_argv()),
        worker_env={"AILB_RUN": "run"},
        workers=1,
        metrics_folder=str(tmp_path / "metrics"),
        drain_timeout_s=2.0,
        screen="It serves.",
        log_level="info",
    )


def test_a_plan_comes_through_as_it_was(plan: Plan) -> None:
    assert Plan.from_json(plan.to_json()) == plan


def test_several_workers_count_in_files_and_go_on_doing_so(plan: Plan) -> None:
    specs = WorkerSpecs(plan)
    (alone,) = specs(1)
    assert (alone.kind, dict(alone.env)) == (
        ChildKind.WORKER,
        {"AILB_RUN": "run", "AILB_WORKERS": "1"},
    )
    first, second = specs(2)
    assert (first.name, second.name) == ("worker-1", "worker-2")
    for env in (second.env, specs(1)[0].env):
        assert env["PROMETHEUS_MULTIPROC_DIR"] == plan.metrics_folder
    assert Path(plan.metrics_folder).is_dir()


def test_it_supervises_whatever_folder_it_is_called_in(
    plan: Plan, tmp_path: Path
) -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    with (
        listener,
        subprocess.Popen(
            [sys.executable, "-c", BECOME, str(ROOT), str(listener.fileno())],
            cwd=tmp_path,
            pass_fds=(listener.fileno(),),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        ) as process,
    ):
        try:
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write(plan.to_json())
            process.stdin.close()
            assert process.stdout.readline() == b"It serves.\n"
            address = ("127.0.0.1", port)
            with socket.create_connection(address, timeout=30) as client:
                client.sendall(b"GET /echo HTTP/1.1\r\nHost: x\r\n\r\n")
                assert client.recv(64).startswith(b"HTTP/1.1 200")
            process.send_signal(signal.SIGTERM)
            assert process.wait(timeout=60) == 0
        finally:
            process.kill()
