"""What variables do to a start: strategies that serve, and bad values that stop it."""

from __future__ import annotations

import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.api.gateway_process import Gateway
from tests.api.serve_process import refused_start
from tests.upstreams.simulators import running_simulator


# The other four are what the starts in test_serve.py run with.
@pytest.mark.parametrize("name", ["round_robin", "random"])
def test_a_strategy_named_in_the_environment_serves(
    start_gateway: Callable[..., Gateway], name: str
) -> None:
    gateway = start_gateway(ROUTING_STRATEGY=name)
    with running_simulator() as sim:
        for provider in ("a", "b"):
            gateway.add_provider(provider, "openai", sim, models=["m"])
        gateway.apply()
        replies = [gateway.client.chat("m") for _ in range(4)]
    assert {reply.status for reply in replies} == {200}
    assert {reply.headers["x-ailb-strategy"] for reply in replies} == {name}
    assert gateway.client.get("/api/routing/stats").json["routing_strategy"] == name


BAD = [
    ("ROUTING_STRATEGY", "fastest", "round_robin, cost_optimized, latency_optimized, load_balanced, failover, random"),
    ("HTTP_PORT", "http", "0 to 65535"),
    ("HTTP_PORT", "65536", "0 to 65535"),
    ("AILB_WORKERS", "0", "1 to 64"),
    ("AILB_SERVER", "gunicorn", "daphne, granian, uvicorn"),
    ("AILB_MAX_BODY_MB", "-1", "1 to 1024"),
    ("AILB_AUTH", "maybe", "auto, required, open"),
    ("AILB_GRACE_S", "soon", "a number 0 to 600"),
    ("AILB_DRAIN_TIMEOUT_S", "nan", "0 to 3600"),
    ("AILB_LOG_LEVEL", "loud", "debug, info, warning, error"),
    ("AILB_PUBLIC_URL", "ftp://x", "http(s)://host"),
    ("AILB_API_KEY", "short", "at least 16 characters"),
    ("DATABASE_URL", "mysql://user:secret@host/db", "postgresql://"),
    ("AILB_ENCRYPTION_KEYS", "junk-secret", "Fernet"),
    ("AILB_DATA_DIR", "/proc/nowhere", "a folder"),
    ("OPENAI_API_KEY_FILE", "/nowhere/key", "a readable text file"),
    ("OPENAI_BASE_URL", "ftp://models", "http://host"),
    ("OPENAI_MODELS", "a;b", "model names"),
    ("AILB_FALLBACKS", "nonsense", "model=fallback"),
]  # fmt: skip
SECRET = {"AILB_API_KEY", "DATABASE_URL", "AILB_ENCRYPTION_KEYS"}


@pytest.mark.parametrize(("name", "value", "allowed"), BAD)
def test_a_bad_value_stops_the_start_with_one_line(
    tmp_path: Path, name: str, value: str, allowed: str
) -> None:
    given = (
        {"OPENAI_API_KEY": "sk-x"}
        if name in {"OPENAI_BASE_URL", "OPENAI_MODELS"}
        else {}
    )
    process = refused_start(tmp_path, **given, **{name: value})
    printed, said = process.communicate(timeout=60)
    assert process.returncode == 78
    assert printed == ""
    (line,) = said.splitlines()
    assert line.startswith("ailb: ")
    assert name in line
    assert allowed in line
    assert (value in line) != (name in SECRET)


def test_an_empty_variable_counts_as_unset(tmp_path: Path) -> None:
    names = ("ROUTING_STRATEGY", "AILB_WORKERS", "AILB_AUTH", "DATABASE_URL", "HOST")
    process = refused_start(tmp_path, **dict.fromkeys(names, ""), AILB_LOG_LEVEL="loud")
    _, said = process.communicate(timeout=60)
    assert process.returncode == 78
    assert "AILB_LOG_LEVEL" in said


@pytest.mark.parametrize("name", ["HTTP_PORT", "GRPC_PORT"])
def test_a_taken_port_is_told_in_one_line(tmp_path: Path, name: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        process = refused_start(tmp_path, **{name: str(port)})
        printed, said = process.communicate(timeout=60)
    assert process.returncode == 1
    assert printed == ""
    (line,) = said.splitlines()
    assert str(port) in line
    assert name in line
