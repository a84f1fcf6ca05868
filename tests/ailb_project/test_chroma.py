"""The local Chroma server as a program: its port, its files, its log, its end."""

from __future__ import annotations

import socket
import subprocess
from pathlib import Path

import pytest

from ailb_project.chroma import LOOPBACK, keep_port, spec_of
from ailb_project.chroma_entry import LONGEST_LOG
from tests.ailb_project.server_process import wait_until
from tests.rag.chroma_server import (
    DIRECT,
    RunningChroma,
    is_answering,
    running_chroma,
)

COLLECTIONS = "/api/v2/tenants/default_tenant/databases/default_database/collections"


def test_a_kept_port_is_nobody_elses() -> None:
    port = keep_port()
    with socket.socket() as other, pytest.raises(OSError, match="in use"):
        other.bind((LOOPBACK, port))
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((LOOPBACK, port))


def test_it_answers_in_private_files_and_ends_with_0(tmp_path: Path) -> None:
    folder = tmp_path / "chroma"
    folder.mkdir(mode=0o755)
    with running_chroma(tmp_path) as chroma:
        assert folder.stat().st_mode & 0o777 == 0o700
        files = [path for path in tmp_path.rglob("*") if path.is_file()]
        assert {"chroma.sqlite3", "chroma.log", "chroma.lock"} <= {
            path.name for path in files
        }
        assert {path.stat().st_mode & 0o777 for path in files} == {0o600}
        assert chroma.stop() == 0
        assert not is_answering(chroma.url)


def test_it_says_nothing_but_to_its_log_and_no_request_is_there(tmp_path: Path) -> None:
    with running_chroma(tmp_path) as chroma:
        before = chroma.log_text()
        assert str(tmp_path / "chroma") in before
        with DIRECT.open(f"{chroma.url}{COLLECTIONS}", timeout=15) as answer:
            assert answer.read() == b"[]"
        assert chroma.log_text() == before
        chroma.stop()
        port = keep_port()
    spec = spec_of(tmp_path, port)
    process = subprocess.Popen(
        spec.argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    wait_until(lambda: is_answering(f"http://{LOOPBACK}:{port}"), "it answers")
    process.terminate()
    assert process.communicate(timeout=15) == (b"", b"")


def test_a_long_log_is_begun_anew(tmp_path: Path) -> None:
    log = tmp_path / "chroma.log"
    log.write_text("old\n" * LONGEST_LOG)
    with running_chroma(tmp_path):
        assert log.stat().st_size < LONGEST_LOG


def test_a_second_server_waits_until_the_first_has_gone(tmp_path: Path) -> None:
    with running_chroma(tmp_path) as first:
        port = keep_port()
        second = RunningChroma(tmp_path)
        waiting = subprocess.Popen(spec_of(tmp_path, port).argv)
        try:
            wait_until(lambda: "Waiting: another" in second.log_text(), "it waits")
            assert is_answering(first.url)
            assert not is_answering(f"http://{LOOPBACK}:{port}")
            first.kill()
            wait_until(lambda: is_answering(f"http://{LOOPBACK}:{port}"), "it serves")
        finally:
            waiting.kill()
            waiting.wait()
