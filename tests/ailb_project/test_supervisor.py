"""A real supervisor with real workers: deaths, restarts, stops."""

from __future__ import annotations

import os
import pty
import signal
import sys
import time
from pathlib import Path

from tests.ailb_project.raw_http import Connection
from tests.ailb_project.server_process import SETTINGS, wait_until
from tests.ailb_project.supervising import SERVICE, Load, is_gone, supervised


def test_a_killed_worker_is_replaced_while_the_other_answers(tmp_path: Path) -> None:
    with supervised(tmp_path) as running:
        assert running.said() == "ready"
        before = set(running.children())
        killed = running.worker_pid()
        os.kill(killed, signal.SIGKILL)
        wait_until(lambda: is_gone(killed), "the worker is dead")
        for _ in range(20):
            assert running.worker_pid() != killed
        wait_until(
            lambda: len(set(running.children()) - before) == 1, "a new worker started"
        )
        wait_until(lambda: running.worker_pid() not in before, "the new one answers")
        deaths = [line for line in running.log.splitlines() if "ended after" in line]
        assert len(deaths) == 1
        assert f"(pid {killed})" in deaths[0]
        assert "killed by signal 9" in deaths[0]
        running.process.terminate()
        assert running.exit_code() == 0


def test_a_rolling_restart_under_load_loses_no_request(tmp_path: Path) -> None:
    with supervised(tmp_path) as running:
        assert running.said() == "ready"
        old = set(running.children())
        with Load(running.address, clients=4) as load:
            wait_until(lambda: set(load.answers) == old, "both workers answer")
            running.process.send_signal(signal.SIGHUP)
            wait_until(lambda: not old & set(running.children()), "the old have gone")
            count = len(load.answers)
            wait_until(lambda: len(load.answers) > count + 20, "the new answer")
        assert load.failures == []
        assert set(load.answers[-10:]) <= set(running.children())
        assert "ended after" not in running.log
        running.process.terminate()
        assert running.exit_code() == 0


def test_a_restart_that_does_not_get_ready_keeps_the_old_workers(
    tmp_path: Path,
) -> None:
    flag = tmp_path / "broken"
    server = [sys.executable, "-m", "ailb_project.server", *SETTINGS.to_argv()]
    script = f"test -e {flag} && exit 3; exec " + '"$@"'
    argv = ["/bin/sh", "-c", script, "sh", *server]
    with supervised(tmp_path, worker_argv=argv) as running:
        assert running.said() == "ready"
        old = set(running.children())
        flag.touch()
        running.process.send_signal(signal.SIGHUP)
        wait_until(lambda: "the old one stays" in running.log, "the restart gave up")
        assert running.worker_pid() in old
        assert set(running.children()) == old
        running.process.terminate()
        assert running.exit_code() == 0


def test_a_stop_of_the_whole_group_lets_requests_end(tmp_path: Path) -> None:
    with supervised(tmp_path, workers=1) as running:
        assert running.said() == "ready"
        with Connection(running.address) as client:
            client.get("/slow?0.7")
            running.wait_for("slow started")
            running.stop_group()
            running.stop_group(signal.SIGINT)
            assert client.answer().body == b"slow but done"
        assert running.exit_code() == 0
    assert running.journal[-1] == "shutdown"


def test_a_second_stop_later_kills_everything(tmp_path: Path) -> None:
    with supervised(tmp_path, workers=1) as running:
        assert running.said() == "ready"
        with Connection(running.address) as stuck, Connection(running.address) as clock:
            stuck.get("/stuck")
            clock.get("/slow?1.1")
            running.wait_for("stuck started")
            running.wait_for("slow started")
            running.process.terminate()
            assert clock.answer().body == b"slow but done"
            running.process.terminate()
            asked_s = time.monotonic()
            assert running.exit_code() == 0
            assert time.monotonic() - asked_s < 2


def test_services_stop_after_the_workers_in_their_order(tmp_path: Path) -> None:
    services = {name: SERVICE.replace("NAME", name) for name in ("jobs", "vectors")}
    with supervised(tmp_path, workers=1, services=services) as running:
        assert running.said() == "ready"
        wait_until(lambda: len(running.journal) == 3, "both services have started")
        with Connection(running.address) as client:
            client.get("/slow?0.5")
            running.wait_for("slow started")
            running.stop_group()
            assert client.answer().body == b"slow but done"
        assert running.exit_code() == 0
    assert running.journal[-3:] == ["shutdown", "jobs stopped", "vectors stopped"]


def test_children_die_with_a_killed_supervisor(tmp_path: Path) -> None:
    services = {"jobs": SERVICE.replace("NAME", "jobs")}
    with supervised(tmp_path, services=services) as running:
        assert running.said() == "ready"
        wait_until(lambda: len(running.journal) == 3, "the service has started")
        children = running.children()
        assert len(children) == 3
        running.process.kill()
        wait_until(lambda: all(map(is_gone, children)), "all children are gone")
    assert "jobs stopped" in running.journal


def test_a_child_that_does_not_stop_is_killed(tmp_path: Path) -> None:
    deaf = SERVICE.replace("NAME", "deaf").replace("raise SystemExit(0)", "pass")
    with supervised(tmp_path, workers=0, stop_s=0.3, services={"deaf": deaf}) as it:
        wait_until(lambda: len(it.journal) == 1, "the service has started")
        pid = int(it.journal[0].split()[-1])
        it.process.terminate()
        assert it.exit_code() == 0
        assert is_gone(pid)
    assert f"Process {pid} does not stop" in it.log


def test_a_worker_that_never_gets_ready_ends_the_supervisor(tmp_path: Path) -> None:
    argv = [sys.executable, "-S", "-c", "raise SystemExit(3)"]
    services = {"jobs": SERVICE.replace("NAME", "jobs")}
    with supervised(
        tmp_path, workers=1, worker_argv=argv, services=services
    ) as running:
        assert running.exit_code() == 1
        assert running.said() == ""
    assert "http-0 ended 5 times before it was ready (exit code 3)" in running.log
    assert "Traceback" not in running.log
    assert running.journal[-1] == "jobs stopped"


def test_a_failing_service_is_started_ever_later(tmp_path: Path) -> None:
    crash = SERVICE.replace("NAME", "crash").replace("while True:", "raise SystemExit")
    crash = crash.split("raise SystemExit\n")[0] + "raise SystemExit(7)"
    with supervised(tmp_path, workers=0, services={"crash": crash}) as running:
        wait_until(lambda: len(running.journal) == 1, "the first start")
        first_s = time.monotonic()
        wait_until(lambda: len(running.journal) == 4, "the fourth start")
        assert time.monotonic() - first_s > 1.2  # 0.2 + 0.4 + 0.8, less the first's end
        for delay_s in ("0.2", "0.4", "0.8"):
            assert f"(exit code 7): starting it again in {delay_s} s" in running.log
        running.process.terminate()
        assert running.exit_code() == 0


def test_a_program_that_does_not_exist_is_named(tmp_path: Path) -> None:
    argv = ["/no/such/program"]
    with supervised(tmp_path, workers=1, worker_argv=argv) as running:
        assert running.exit_code() == 1
    assert "Cannot run /no/such/program: No such file or directory." in running.log


def test_a_terminal_that_goes_away_is_a_stop(tmp_path: Path) -> None:
    master, slave = pty.openpty()
    try:
        with supervised(tmp_path, workers=1, stdin=slave) as running:
            assert running.said() == "ready"
            os.close(master)
            running.process.send_signal(signal.SIGHUP)
            assert running.exit_code() == 0
    finally:
        os.close(slave)
