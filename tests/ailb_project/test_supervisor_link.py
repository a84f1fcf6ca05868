"""How a real supervisor stops, with a child that takes leave of the load balancer."""

from __future__ import annotations

import json
import socket
import time
from pathlib import Path
from typing import Any

import pytest

from ailb_project.supervisor_link import LEAVE_S
from tests.ailb_project.raw_http import Connection
from tests.ailb_project.server_process import wait_until
from tests.ailb_project.supervising import LINKED, SERVICE, supervised

WITH_LINK: dict[str, Any] = {
    "workers": 1,
    "services": {"linked": LINKED},
    "linked": "linked",
    "margin_s": 10,
}


def ask(link: socket.socket, **message: Any) -> None:
    link.sendall(json.dumps(message).encode() + b"\n")


def read(link: socket.socket) -> Any:
    line = b""
    while not line.endswith(b"\n"):
        received = link.recv(1)
        assert received, "the supervisor hung up"
        line += received
    return json.loads(line)


def test_leave_is_taken_before_the_workers_stop_and_services_end_in_their_order(
    tmp_path: Path,
) -> None:
    services = {name: SERVICE.replace("NAME", name) for name in ("jobs", "vectors")}
    services = {"jobs": services["jobs"], "linked": LINKED, "vectors": services["vectors"]}  # fmt: skip
    with supervised(tmp_path, **WITH_LINK | {"services": services}) as running:
        assert running.said() == "ready"
        wait_until(lambda: len(running.journal) == 4, "all services have started")
        _, link = running.take_link()
        with link, Connection(running.address) as client:
            running.process.terminate()
            asked = read(link)
            assert asked["do"] == "leave"
            assert client.ask("/echo").json["is_draining"] is False
            client.get("/slow?0.3")
            running.wait_for("slow started")
            ask(link, id=asked["id"])
            assert client.answer().body == b"slow but done"
            assert running.exit_code() == 0
    assert running.journal[-4:] == ["shutdown", "jobs stopped", "linked stopped", "vectors stopped"]  # fmt: skip


def test_a_child_that_does_not_take_leave_holds_nothing_up_for_long(
    tmp_path: Path,
) -> None:
    with supervised(tmp_path, **WITH_LINK) as running:
        assert running.said() == "ready"
        _, link = running.take_link()
        with link, Connection(running.address) as client:
            client.get("/slow?3.2")
            running.wait_for("slow started")
            began_s = time.monotonic()
            running.stop_group()  # the worker has it long before its turn
            assert client.answer().body == b"slow but done"
            assert running.exit_code() == 0
            assert LEAVE_S <= time.monotonic() - began_s < LEAVE_S + 6
    assert "did not take leave in 3 s" in running.log


@pytest.mark.parametrize(
    ("is_graceful", "timeout_s", "last"),
    [(True, 0.2, b"last\n"), (False, None, b"")],
    ids=["in a given time", "at once"],
)
def test_a_stop_that_is_ordered_limits_the_requests(
    tmp_path: Path, is_graceful: bool, timeout_s: float | None, last: bytes
) -> None:
    with supervised(tmp_path, **WITH_LINK) as running:
        assert running.said() == "ready"
        _, link = running.take_link()
        with link, Connection(running.address) as client:
            client.get("/last-words")
            running.wait_for("last words started")
            began_s = time.monotonic()
            ask(link, id=5, do="stop", is_graceful=is_graceful, timeout_s=timeout_s)
            assert read(link) == {"id": 5, "running": 1, "wanted": 1}
            asked = read(link)
            assert asked["do"] == "leave"
            ask(link, id=6, do="scale", workers=2)
            assert read(link) == {"id": 6, "error": "Everything stops."}
            ask(link, id=asked["id"], error="the load balancer is away")
            said = client.socket.makefile("rb").read()
            assert said.endswith(b"0\r\n\r\n") is is_graceful
            assert last in said
            assert running.exit_code() == 0
            assert time.monotonic() - began_s < 8  # the drain limit is 10 s
    assert "could not take leave: the load balancer is away" in running.log
    assert ("does not stop: killing it" in running.log) is not is_graceful


def test_an_exit_code_with_a_meaning_is_said_loudly_and_tried_again(
    tmp_path: Path,
) -> None:
    taken = SERVICE.replace("NAME", "taken").replace("while True:", "raise SystemExit")
    taken = taken.split("raise SystemExit\n")[0] + "raise SystemExit(78)"
    words = {"78": "the port is taken"}
    with supervised(
        tmp_path, workers=0, services={"taken": taken}, exit_words=words
    ) as running:
        wait_until(lambda: len(running.journal) == 2, "it is tried again")
        assert "taken: the port is taken" in running.log
        running.process.terminate()
        assert running.exit_code() == 0
