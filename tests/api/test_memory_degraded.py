"""What memory needs is away or slow: the chat goes on, and says so; unless it must not."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from django.db import connections, transaction

from gateway.models import Model
from gateway.simulator import Behaviour
from memory.models import MemoryPolicy
from tests.api.gateway_process import Gateway, fresh, wait_until
from tests.api.memory_scenes import (
    ALICE,
    MEMORY,
    NICE,
    WHO,
    ask,
    plain,
    received,
    wait_for_turns,
)
from tests.upstreams.simulators import RunningSimulator, running_simulator

PASSPORT = "My passport number is X1234567"
AGAIN = "What is my passport number again?"


@pytest.fixture(scope="module")
def sim() -> Iterator[RunningSimulator]:
    with running_simulator(behaviour=Behaviour(answer_text=NICE)) as running:
        yield running


@contextmanager
def away(gateway: Gateway) -> Iterator[None]:
    """Take the database away, and bring it back."""
    gateway.let_go()
    kept = gateway.database.with_name("kept")
    gateway.database.rename(kept)
    gateway.database.mkdir()
    try:
        yield
    finally:
        gateway.database.rmdir()
        kept.rename(gateway.database)


def require_memory(gateway: Gateway, sim: RunningSimulator) -> str:
    """Make a model whose requests fail without memory."""
    name = fresh("required")
    gateway.add_provider(name, "openai", sim, models=[name])
    model = gateway.rows(Model).get(name=name)
    gateway.rows(MemoryPolicy).create(model=model, is_required=True)
    return name


def test_without_an_embedder_keywords_find_what_was_said(
    start_gateway: Callable[..., Gateway], sim: RunningSimulator
) -> None:
    gateway = start_gateway(**MEMORY, EMBEDDING_MODEL="/nonexistent")
    gateway.add_provider("a", "openai", sim, models=["openai-model"])
    gateway.apply()
    session = "s"
    ask(gateway, PASSPORT, session)
    for number in range(14):
        ask(gateway, f"Tell me something about the number {number} " * 40, session)
    wait_until(
        lambda: gateway.client.get("/healthz").json["memory"] == "degraded",
        "memory is degraded",
    )
    reply = ask(gateway, AGAIN, session)
    assert reply.headers["x-ailb-memory"] == "degraded"
    assert "X1234567" in plain(received(sim))[-2][1]
    health = gateway.client.get("/healthz").json
    assert "/nonexistent" in health["memory_problem"]
    other = gateway.client.get("/healthz", **{"x-forwarded-for": "192.0.2.1"}).json
    assert (other["memory"], other["memory_problem"]) == ("degraded", None)


def test_without_the_database_the_chat_goes_on_and_a_required_one_fails(
    start_gateway: Callable[..., Gateway], sim: RunningSimulator
) -> None:
    gateway = start_gateway(**MEMORY)
    gateway.add_provider("a", "openai", sim, models=["openai-model"])
    required = require_memory(gateway, sim)
    gateway.apply()
    assert gateway.client.get("/healthz").json["memory"] == "ok"
    with away(gateway):  # before memory has connected to it
        for stream in (False, True):
            reply = ask(gateway, ALICE, "s", stream=stream)
            assert reply.headers["x-ailb-memory"] == "degraded"
            assert plain(received(sim)) == [("user", ALICE)]
        calls = len(sim.calls)
        for stream in (False, True):
            refused = gateway.client.chat(required, session_id="s", stream=stream)
            assert (refused.status, refused.code) == (503, "memory_unavailable")
            assert refused.headers["x-ailb-memory"] == "degraded"
        assert len(sim.calls) == calls, "no attempt was made"
        assert gateway.client.get("/healthz").json["memory"] == "degraded"
    assert ask(gateway, ALICE, "t", model=required).is_whole
    assert ask(gateway, WHO, "t", model=required).headers["x-ailb-memory"] == "hit"
    wait_until(
        lambda: gateway.client.get("/healthz").json["memory"] == "ok", "memory is whole"
    )


def test_memory_that_misses_its_deadline_is_left_out(
    start_gateway: Callable[..., Gateway], sim: RunningSimulator
) -> None:
    gateway = start_gateway(**{**MEMORY, "AILB_CONTEXT_DEADLINE_MS": "100"})
    gateway.add_provider("a", "openai", sim, models=["openai-model"])
    required = require_memory(gateway, sim)
    gateway.apply()
    ask(gateway, ALICE, "s")
    wait_for_turns(gateway, "s", 2)
    with transaction.atomic(using=gateway.alias):  # whoever writes now waits for us
        cursor = connections[gateway.alias].cursor()
        cursor.execute("UPDATE memory_session SET version = version")
        ask(gateway, "This waits for the database", "s")
        reply = ask(gateway, WHO, "s")
        assert reply.headers["x-ailb-memory"] == "degraded"
        assert plain(received(sim)) == [("user", WHO)]
        refused = gateway.client.chat(required, session_id="s")
        assert (refused.status, refused.code) == (503, "memory_unavailable")
    wait_for_turns(gateway, "s", 6)
