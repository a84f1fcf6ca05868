"""The vector store that `serve` starts: where it is, how it dies, when there is none."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.api.gateway_process import wait_until
from tests.api.serve_process import Serve, children_of, chroma_pid, serving, survivors
from tests.rag.chroma_server import is_answering

START_S = 30.0


@pytest.fixture(scope="module")
def serve(
    tmp_path_factory: pytest.TempPathFactory, database_template: Path
) -> Iterator[Serve]:
    """Everything as it comes, for tests that follow on each other."""
    folder = tmp_path_factory.mktemp("serve")
    with serving(folder, database_template, ENABLE_MEMORY="") as started:
        yield started


def url_of_chroma(serve: Serve) -> str:
    found = serve.shown(r"Vectors +Chroma at (http://127\.0\.0\.1:\d+)")
    assert found, serve.screen
    return found


def wait_for_chroma(serve: Serve) -> None:
    url = url_of_chroma(serve)
    wait_until(lambda: is_answering(url), "Chroma answers", limit_s=START_S)


def variables_of(pid: int) -> list[bytes]:
    return Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")


def test_a_killed_one_comes_back_on_the_same_port(serve: Serve) -> None:
    wait_for_chroma(serve)
    url, killed = url_of_chroma(serve), chroma_pid(serve)
    assert killed is not None
    os.kill(killed, signal.SIGKILL)
    wait_until(lambda: chroma_pid(serve) not in {None, killed}, "another is started")
    wait_until(lambda: is_answering(url), "it answers", limit_s=START_S)
    assert serve.client.chat("auto").status == 200


def test_it_dies_with_a_killed_serve_and_its_folder_serves_again(serve: Serve) -> None:
    url = url_of_chroma(serve)
    assert serve.process is not None
    serve.process.kill()
    serve.process.wait()
    wait_until(lambda: survivors(serve.data_dir) == [], "everything has ended")
    assert not is_answering(url)
    serve.start()
    wait_for_chroma(serve)


def test_it_is_known_to_every_child_and_ends_last_with_0(serve: Serve) -> None:
    wait_for_chroma(serve)
    url = url_of_chroma(serve)
    assert serve.process is not None
    parent, chroma = serve.process.pid, chroma_pid(serve)
    assert chroma is not None
    # A worker, the jobs, the simulator, the gRPC service, and it.
    assert len(children_of(parent)) == 5
    for child in children_of(parent):
        assert f"CHROMA_URL={url}".encode() in variables_of(child)
    os.kill(chroma, signal.SIGSTOP)
    os.killpg(parent, signal.SIGTERM)
    wait_until(lambda: children_of(parent) == [chroma], "the others have ended")
    os.kill(chroma, signal.SIGCONT)
    assert serve.process.wait(timeout=15) == 0
    assert survivors(serve.data_dir) == []
    assert not is_answering(url)
    for line in serve.log_text().splitlines():
        json.loads(line)


def test_none_is_started_where_another_is_named(
    tmp_path: Path, database_template: Path
) -> None:
    away = {"ENABLE_MEMORY": "true", "CHROMA_URL": "http://me:whispered@127.0.0.1:9"}
    with serving(tmp_path, database_template, **away) as serve:
        assert serve.shown(r"Vectors +(.+)") == "Chroma at http://127.0.0.1:9"
        assert "whispered" not in serve.screen
        assert chroma_pid(serve) is None
        assert not (tmp_path / "chroma").exists()
        assert serve.client.chat("auto").status == 200
        assert serve.stop() == 0
