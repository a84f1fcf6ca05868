"""The vector store when its server is dead, hangs, drips, or is something else."""

from __future__ import annotations

import base64
import socket
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from typing_extensions import override

from ailb_project.chroma import keep_port, url_of
from rag.errors import VectorStoreUnavailable
from rag.vectorstore import VectorStore
from tests.rag.chroma_server import running_chroma
from tests.rag.vectors import fill, fresh_space, listed, names, vectors


class Clock:
    """A clock that stands until the test moves it."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def test_without_an_address_every_call_says_what_to_do() -> None:
    store = VectorStore(None)
    one = vectors(1)
    calls = [
        lambda: store.upsert("abc", ["a"], one, [{"session": 1}]),
        lambda: store.query("abc", one[0], where={}, limit=1),
        lambda: store.delete("abc", ["a"]),
        lambda: store.delete_everywhere(["a"]),
        lambda: list(store.ids("abc")),
        lambda: store.drop("abc"),
        store.spaces,
        store.check,
    ]
    for call in calls:
        with pytest.raises(VectorStoreUnavailable, match="There is no vector store: "):
            call()
    store.close()


def test_a_dead_server_is_left_alone_for_two_seconds_and_found_again(
    tmp_path: Path,
) -> None:
    clock, space = Clock(), fresh_space()
    with running_chroma(tmp_path) as chroma:
        store = VectorStore(chroma.url, timeout_s=30, clock=clock)
        made = fill(store, space, 5)
        chroma.kill()
        with pytest.raises(VectorStoreUnavailable) as told:
            store.query(space, made[0], where={}, limit=3)
        assert chroma.url in str(told.value)
        assert "see that it runs" in str(told.value)
        chroma.start()
        clock.now_s += 1.9
        with pytest.raises(VectorStoreUnavailable, match="see that it runs"):
            store.check()
        clock.now_s += 0.2
        store.check()
        assert len(store.query(space, made[0], where={}, limit=9)) == 5
        store.close()


def test_a_server_that_hangs_costs_one_call_its_time_and_no_other(
    tmp_path: Path,
) -> None:
    clock, space = Clock(), fresh_space()
    with running_chroma(tmp_path) as chroma:
        store = VectorStore(chroma.url, timeout_s=30, clock=clock)
        made = fill(store, space, 5)
        chroma.pause()
        with pytest.raises(VectorStoreUnavailable, match=r"not answer within 0\.2 s"):
            store.query(space, made[0], where={}, limit=3, timeout_s=0.2)
        begun_s = time.monotonic()
        for _ in range(100):
            with pytest.raises(VectorStoreUnavailable, match="not answer"):
                store.query(space, made[0], where={}, limit=3)
        assert time.monotonic() - begun_s < 0.2
        chroma.resume()
        clock.now_s += 2.1
        assert len(store.query(space, made[0], where={}, limit=9)) == 5
        store.close()


def test_who_has_no_time_left_spoils_it_for_nobody(tmp_path: Path) -> None:
    space = fresh_space()
    with running_chroma(tmp_path) as chroma:
        store = VectorStore(chroma.url, timeout_s=30, clock=Clock())
        made = fill(store, space, 5)
        chroma.pause()
        with pytest.raises(VectorStoreUnavailable, match="There was no time"):
            store.query(space, made[0], where={}, limit=3, timeout_s=0)
        chroma.resume()
        assert len(store.query(space, made[0], where={}, limit=9)) == 5
        store.close()


def test_a_server_that_hangs_from_the_first_word_on_is_bounded(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        store = VectorStore(url_of(silent.getsockname()[1]), timeout_s=0.3)
        begun_s = time.monotonic()
        with pytest.raises(VectorStoreUnavailable):
            store.spaces()
        assert time.monotonic() - begun_s < 3  # chromadb may have to be imported
        store.close()


class Dripping(BaseHTTPRequestHandler):
    """Answers with a byte now and then, and never ends."""

    ended = threading.Event()

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "1000000")
        self.end_headers()
        while not self.ended.wait(0.02):
            self.wfile.write(b" ")

    @override
    def log_message(self, format: str, *args: object) -> None: ...


class Talking(BaseHTTPRequestHandler):
    """Answers every question with a page that is not Chroma's."""

    authorizations: list[str | None] = []

    def do_GET(self) -> None:
        self.authorizations.append(self.headers["Authorization"])
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"<html>\n<p>It works!</p>\n</html>")

    @override
    def log_message(self, format: str, *args: object) -> None: ...


@pytest.fixture
def web_server(request: pytest.FixtureRequest) -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), request.param) as server:
        Dripping.ended.clear()
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"127.0.0.1:{server.server_port}"
        Dripping.ended.set()
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("web_server", [Dripping], indirect=True)
def test_an_answer_in_drops_is_bounded_as_a_whole(web_server: str) -> None:
    store = VectorStore(f"http://{web_server}", timeout_s=0.3)
    with pytest.raises(VectorStoreUnavailable, match=r"not answer within 0\.3 s"):
        store.spaces()
    store.close()


@pytest.mark.parametrize("web_server", [Talking], indirect=True)
def test_a_server_that_is_not_chroma_is_told_without_the_password(
    web_server: str,
) -> None:
    store = VectorStore(f"http://ailb:hunter2@{web_server}", timeout_s=30)
    with pytest.raises(VectorStoreUnavailable) as told:
        store.spaces()
    text = str(told.value)
    assert f"The vector store at http://{web_server} fails (" in text
    assert "hunter2" not in text
    assert "\n" not in text
    login = base64.b64encode(b"ailb:hunter2").decode()
    assert Talking.authorizations[-1] == f"Basic {login}"
    store.close()


@pytest.mark.parametrize("web_server", [Talking], indirect=True)
def test_proxies_of_the_environment_are_not_used(
    web_server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    nowhere = url_of(keep_port())
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, nowhere)
    store = VectorStore(f"http://{web_server}", timeout_s=30)
    with pytest.raises(VectorStoreUnavailable, match="JSONDecodeError"):
        store.check()
    store.close()


def test_what_was_written_before_a_kill_under_load_is_found_after_it(
    tmp_path: Path,
) -> None:
    space, written = fresh_space(), []
    made = vectors(6_000)
    with running_chroma(tmp_path) as chroma:
        store = VectorStore(chroma.url, timeout_s=30)
        half_way = threading.Event()

        def write() -> None:
            for start in range(0, len(made), 100):
                part = names(len(made))[start : start + 100]
                try:
                    store.upsert(
                        space, part, made[start : start + 100], [{"s": 1}] * 100
                    )
                except VectorStoreUnavailable:
                    return
                written.extend(part)
                if len(written) == 2_500:  # beyond where its index is first flushed
                    half_way.set()

        writer = threading.Thread(target=write)
        writer.start()
        assert half_way.wait(60)
        chroma.kill()
        writer.join()
        assert 2_500 <= len(written) < len(made)
        store.close()
        chroma.start()
        store = VectorStore(chroma.url, timeout_s=30)
        store.check()
        assert set(written) <= set(listed(store, space))
        for number in range(0, len(written), 250):
            ((name, _),) = store.query(space, made[number], where={"s": 1}, limit=1)
            assert name == f"id-{number}"
        store.close()
