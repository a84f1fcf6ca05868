"""A real supervisor whose number of workers changes, by its link and under load."""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.ailb_project.raw_http import Connection
from tests.ailb_project.server_process import SETTINGS, wait_until
from tests.ailb_project.supervising import LINKED, Load, Supervised, is_gone, supervised


@dataclass
class Place:
    """A supervisor of one worker at first, and the end of its link."""

    running: Supervised
    child: int
    link: socket.socket
    broken: Path  # while it exists no new worker starts

    def say(self, line: bytes) -> dict[str, Any]:
        """Send a line; give the next that comes back."""
        self.link.sendall(line + b"\n")
        answer = b""
        while not answer.endswith(b"\n"):
            received = self.link.recv(65_536)
            assert received, "the supervisor hung up"
            answer += received
        found: dict[str, Any] = json.loads(answer)
        return found

    def ask(self, do: str, **fields: Any) -> dict[str, Any]:
        return self.say(json.dumps({"id": 1, "do": do, **fields}).encode())

    def has(self, count: int) -> bool:
        """Say whether so many workers run, and each of them knows it."""
        told = self.running.workers_told()
        counts = self.ask("workers")
        assert counts["wanted"] == count
        return counts["running"] == count and told == [str(count)] * count

    def scale(self, count: int) -> None:
        self.ask("scale", workers=count)
        wait_until(lambda: self.has(count), f"{count} workers run and know it")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    directory = tmp_path_factory.mktemp("supervised")
    broken = directory / "broken"
    server = [sys.executable, "-m", "ailb_project.server", *SETTINGS.to_argv()]
    script = f"test -e {broken} && exit 3; exec " + '"$@"'
    spec: dict[str, Any] = {
        "workers": 1,
        "worker_argv": ["/bin/sh", "-c", script, "sh", *server],
        "services": {"linked": LINKED},
        "linked": "linked",
    }
    with supervised(directory, **spec) as running:
        assert running.said() == "ready"
        child, link = running.take_link()
        place = Place(running, child, link, broken)
        yield place
        place.link.close()


def test_up_and_down_again_under_load_refuses_no_request(place: Place) -> None:
    first = place.running.worker_pid()
    with Load(place.running.address, clients=4) as load, ExitStack() as stack:
        place.scale(3)
        wait_until(lambda: is_gone(first), "who knew of one worker has gone")
        wait_until(lambda: len(set(load.answers[-100:])) == 3, "all three answer")
        started = place.running.journal.count("slow started")
        slow = [
            stack.enter_context(Connection(place.running.address)) for _ in range(9)
        ]
        for client in slow:
            client.get("/slow?0.5")
        wait_until(
            lambda: place.running.journal.count("slow started") == started + 9,
            "every worker has requests under way",
        )
        place.scale(1)
        assert {client.answer().body for client in slow} == {b"slow but done"}
        count = len(load.answers)
        wait_until(lambda: len(load.answers) > count + 20, "the last one answers")
    assert load.failures == []
    assert len(set(load.answers[-10:])) == 1
    assert "ended after" not in place.running.log
    assert "killing it" not in place.running.log


def test_the_last_wish_wins(place: Place) -> None:
    for count in (4, 1, 3):
        assert place.ask("scale", workers=count)["wanted"] == count
    place.scale(2)
    assert place.ask("workers") == {"id": 1, "running": 2, "wanted": 2}
    place.scale(1)


def test_workers_that_do_not_get_ready_are_given_up(place: Place) -> None:
    before = place.running.worker_pid()
    place.broken.touch()
    assert place.ask("scale", workers=3) == {"id": 1, "running": 1, "wanted": 3}
    wait_until(lambda: place.ask("workers")["wanted"] == 1, "it is content with one")
    assert place.running.worker_pid() == before
    assert "More workers did not get ready" in place.running.log
    place.broken.unlink()
    place.scale(2)
    place.scale(1)


@pytest.mark.parametrize(
    "line",
    [b"", b"{", b"\xff\x00", b"[1]", b'"scale"', b"1e999", b"[" * 10_000,
     b'{"id": 1, "do": ["scale"]}', b'{"id": [], "do": "fly"}',
     b'{"do": "scale"}', b'{"do": "scale", "workers": 0}',
     b'{"do": "scale", "workers": 65}', b'{"do": "scale", "workers": true}',
     b'{"do": "scale", "workers": "2"}', b'{"do": "stop", "timeout_s": -1}',
     b'{"do": "stop", "timeout_s": "soon"}', b'{"do": "leave"}'],
)  # fmt: skip
def test_a_line_that_is_no_order_is_answered_with_an_error(
    place: Place, line: bytes
) -> None:
    assert place.say(line)["error"]
    assert place.ask("workers") == {"id": 1, "running": 1, "wanted": 1}


def test_an_answer_that_nobody_waits_for_is_dropped(place: Place) -> None:
    for number in (b"7", b"[]", b"null"):
        place.link.sendall(b'{"id": ' + number + b"}\n")
    assert place.ask("workers")["running"] == 1


def test_the_link_comes_again_with_the_child(place: Place) -> None:
    place.link.sendall(b'{"id": 1, "do": "sca')
    os.kill(place.child, signal.SIGKILL)
    place.link.close()
    place.child, place.link = place.running.take_link()
    assert place.ask("workers") == {"id": 1, "running": 1, "wanted": 1}


def test_a_line_without_an_end_closes_the_link_and_nothing_else(place: Place) -> None:
    place.link.sendall(b"x" * 200_000)
    with suppress(ConnectionResetError):  # it has not read all of it
        assert place.link.recv(1) == b""
    assert place.running.worker_pid()
