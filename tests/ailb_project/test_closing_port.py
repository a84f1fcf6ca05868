"""A port that is being closed: who could connect is answered, whoever closes it last."""

from __future__ import annotations

import os
import signal
import socket
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from ailb_project.listener import bind_listener, ignore_beginnings
from ailb_project.server_settings import SERVER_MODULES
from tests.ailb_project.server_process import SETTINGS, wait_until
from tests.ailb_project.supervising import Load, Supervised, supervised


@pytest.mark.parametrize("server", SERVER_MODULES)
@pytest.mark.parametrize(
    "stop",
    [
        pytest.param(lambda it: it.process.terminate(), id="supervisor"),
        pytest.param(lambda it: it.stop_group(), id="group"),
    ],
)
def test_a_stop_under_load_resets_nobody_who_could_connect(
    tmp_path: Path, server: str, stop: Callable[[Supervised], None]
) -> None:
    argv = [sys.executable, "-m", SERVER_MODULES[server], *SETTINGS.to_argv()]
    with supervised(tmp_path, worker_argv=argv) as running:
        assert running.said() == "ready"
        with Load(running.address, clients=8) as load:
            wait_until(lambda: len(set(load.answers)) == 2, "both workers answer")
            stop(running)
            wait_until(load.is_over, "everybody is refused")
        assert running.exit_code() == 0
    assert load.losses == []


def test_a_stop_of_one_worker_leaves_the_port_to_the_other(tmp_path: Path) -> None:
    with supervised(tmp_path) as running:
        assert running.said() == "ready"
        with Load(running.address, clients=2) as load:
            stopped = running.worker_pid()
            os.kill(stopped, signal.SIGTERM)
            wait_until(lambda: stopped not in running.children(), "it has ended")
            count = len(load.answers)
            wait_until(lambda: len(load.answers) > count + 20, "the other answers")
        assert load.failures == []


def test_who_has_begun_to_connect_gets_in_and_nobody_else() -> None:
    with (
        bind_listener("127.0.0.1", 0) as listener,
        socket.socket() as late,
        socket.create_connection(listener.getsockname()) as early,
    ):
        ignore_beginnings(listener.fileno())
        late.settimeout(0.05)
        with pytest.raises(TimeoutError):
            late.connect(listener.getsockname())
        early.sendall(b"hello")
        accepted, _ = listener.accept()
        with accepted:
            accepted.setblocking(True)
            assert accepted.recv(5) == b"hello"
        with pytest.raises(BlockingIOError):
            listener.accept()
