"""The command: its options, its ready line and its endings, as a real process."""

from __future__ import annotations

import argparse
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest

from gateway.simulator.commandline import SimulatorStartError, add_arguments, build
from gateway.simulator.plan import FAULT_HELP

ROOT = Path(__file__).resolve().parents[3]
MODULE = (sys.executable, "-m", "gateway.simulator")
COMMAND = (sys.executable, "manage.py", "simulate")
# Starts a child and ends when it reads a line, leaving the child behind.
ORPHANER = """
import subprocess, sys
subprocess.Popen(sys.argv[1:], pass_fds=[int(sys.argv[-1])])
sys.stdin.readline()
"""


def options_of(*arguments: str) -> dict[str, Any]:
    parser = argparse.ArgumentParser(exit_on_error=False)
    add_arguments(parser)
    return vars(parser.parse_args(arguments))


@contextmanager
def simulate(
    *arguments: str, program: tuple[str, ...] = MODULE
) -> Iterator[tuple[subprocess.Popen[str], list[int]]]:
    """Start the command and wait for its ready line; give it and its ports."""
    readable, writable = os.pipe()
    with subprocess.Popen(
        [*program, "--port", "0", *arguments, "--ready-fd", str(writable)],
        cwd=ROOT,
        pass_fds=[writable],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        os.close(writable)
        try:
            with os.fdopen(readable) as ready:
                yield process, json.loads(ready.readline())["ports"]
        finally:
            process.kill()


def status_of(port: int, path: str, body: object = None) -> int:
    connection = HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        method = "GET" if body is None else "POST"
        connection.request(method, path, json.dumps(body))
        return connection.getresponse().status
    finally:
        connection.close()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_serves_until_a_signal_and_exits_with_0(number: signal.Signals) -> None:
    with simulate("--port", "0", "--models", "a,b") as (process, ports):
        assert len(ports) == 2
        assert [status_of(port, "/v1/models/a") for port in ports] == [200, 200]
        assert status_of(ports[0], "/v1/models/c") == 404
        process.send_signal(number)
        shown, errors = process.communicate(timeout=10)
    assert (process.returncode, errors) == (0, "")
    for port in ports:
        assert f"OPENAI_BASE_URL=http://127.0.0.1:{port}/v1\n" in shown
        assert f"ANTHROPIC_BASE_URL=http://127.0.0.1:{port}\n" in shown
        assert f"OLLAMA_BASE_URL=http://127.0.0.1:{port}\n" in shown


def test_it_is_a_management_command_too(tmp_path: Path) -> None:
    plan = tmp_path / "plan.json"
    plan.write_text('{"steps": ["status:503"]}')
    with simulate("--plan", str(plan), program=COMMAND) as (process, ports):
        chat = {"model": "m", "messages": [{"role": "user", "content": "x"}]}
        statuses = [status_of(ports[0], "/v1/chat/completions", chat) for _ in "ab"]
        assert statuses == [503, 200]
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=10)
    assert process.returncode == 0


def test_it_ends_with_its_parent_when_told_to() -> None:
    readable, writable = os.pipe()
    command = [*MODULE, "--port", "0", "--die-with-parent", "--ready-fd", str(writable)]
    with subprocess.Popen(
        [sys.executable, "-c", ORPHANER, *command],
        cwd=ROOT,
        pass_fds=[writable],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as parent:
        os.close(writable)
        with os.fdopen(readable) as ready:
            port = json.loads(ready.readline())["ports"][0]
        assert status_of(port, "/v1/models") == 200
        # Its output ends only when the orphan, which shares it, has ended too.
        parent.communicate("go\n", timeout=10)
    with pytest.raises(ConnectionRefusedError):
        status_of(port, "/v1/models")


def test_a_taken_port_is_one_clear_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        done = subprocess.run(
            [*MODULE, "--port", port], cwd=ROOT, capture_output=True, text=True
        )
    assert done.returncode == 1
    assert f"cannot listen on 127.0.0.1 port {port}" in done.stderr
    assert "choose another with --port" in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("text", ["{", '["explode"]'])
def test_a_bad_plan_file_is_named(tmp_path: Path, text: str) -> None:
    plan = tmp_path / "plan.json"
    plan.write_text(text)
    with pytest.raises(SimulatorStartError, match=r"plan\.json"):
        build(options_of("--plan", str(plan)), 0)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("--port", "65536"),
        ("--kind", "mistral"),
        ("--models", " , "),
        ("--latency-ms", "-1"),
        ("--tokens-per-s", "inf"),
        ("--error-rate", "1.1"),
        ("--error-status", "200"),
    ],
)
def test_a_bad_option_is_refused(name: str, value: str) -> None:
    with pytest.raises(argparse.ArgumentError, match=name):
        options_of(name, value)


def test_options_become_behaviour_in_seconds() -> None:
    behaviour = build(
        options_of("--latency-ms", "250", "--jitter-ms", "50", "--error-rate", "0.1"), 0
    ).behaviour
    assert (behaviour.latency_s, behaviour.jitter_s) == (0.25, 0.05)
    assert (behaviour.error_rate, behaviour.error_status) == (0.1, 500)


def test_the_document_names_every_option() -> None:
    text = (ROOT / "docs" / "simulator.md").read_text()
    parser = argparse.ArgumentParser(add_help=False)
    add_arguments(parser)
    options = [name for action in parser._actions for name in action.option_strings]
    assert [name for name in options if f"`{name}" not in text] == []


def test_the_document_lists_the_faults_as_the_help_does() -> None:
    text = (ROOT / "docs" / "simulator.md").read_text()
    for line in FAULT_HELP.values():
        spec, _, effect = line.partition(": ")
        assert f"| `{spec}` | {effect} |" in text
