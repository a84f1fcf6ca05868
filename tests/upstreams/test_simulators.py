"""The simulator in a thread of its own."""

from __future__ import annotations

import socket
import threading
from http.client import HTTPConnection

import orjson
import pytest

from gateway.simulator import State
from tests.upstreams.simulators import RunningSimulator, running_simulator

CHAT = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}


def post(sim: RunningSimulator) -> int:
    connection = HTTPConnection("127.0.0.1", sim.port, timeout=10)
    try:
        connection.request("POST", "/v1/chat/completions", orjson.dumps(CHAT))
        return connection.getresponse().status
    finally:
        connection.close()


def test_a_test_can_script_it_wait_for_it_and_stop_it() -> None:
    others = {thread.ident for thread in threading.enumerate()}
    with running_simulator(plan=["status:503"]) as sim:
        assert [post(sim), post(sim)] == [503, 200]
        entries = sim.wait_for(lambda seen: len(seen) == 2)
        assert [e.state for e in entries] == [State.ANSWERED] * 2
        assert len(sim.calls) == 2
        sim.stop()
        with pytest.raises(ConnectionRefusedError):
            post(sim)
        sim.start()
        assert post(sim) == 200
    left = [thread for thread in threading.enumerate() if thread.ident not in others]
    assert "simulator" not in {thread.name for thread in left}


def test_a_hanging_call_does_not_keep_it_from_ending() -> None:
    with running_simulator(plan=["hang"]) as sim:
        hanging = HTTPConnection("127.0.0.1", sim.port, timeout=10)
        hanging.request("POST", "/v1/chat/completions", orjson.dumps(CHAT))
        sim.wait_for(lambda seen: len(seen) == 1)
    hanging.close()
    assert sim.journal.entries[0].state is State.FAILED


def test_a_taken_port_is_told_at_once() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with (
            pytest.raises(OSError, match="address already in use"),
            running_simulator(port=port),
        ):
            pass
