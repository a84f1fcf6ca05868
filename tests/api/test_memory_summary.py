"""A rolling summary, from a policy row to the prompt of the next question."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from gateway.models import Model, UsageRecord
from gateway.simulator import Behaviour
from memory.models import MemoryPolicy, Session
from tests.api.gateway_process import Gateway, wait_until
from tests.api.memory_client import rememberer
from tests.api.memory_scenes import MEMORY, ask, received
from tests.upstreams.simulators import RunningSimulator, running_simulator

SUMMARY = "Alice keeps bees in Oslo."


@pytest.fixture
def sim() -> Iterator[RunningSimulator]:
    with running_simulator(behaviour=Behaviour(answer_text=SUMMARY)) as running:
        yield running


def test_a_long_session_is_summarised_by_the_policys_model_and_paid_for(
    start_gateway: Callable[..., Gateway], sim: RunningSimulator
) -> None:
    gateway = start_gateway(AILB_AUTH="required", **MEMORY)
    gateway.add_provider("a", "openai", sim, models=["talker", "writer"])
    caller = rememberer(gateway, "bees", rights=["chat", "memory"])
    model = gateway.rows(Model).get(name="talker")
    gateway.rows(MemoryPolicy).create(model=model, summary_model="writer")
    gateway.apply()
    first = ask(gateway, "Hello", "long", model="talker", headers=caller.headers)
    assert first.status == 200
    turns = [
        {"role": role, "content": f"{role} speaks of hive {number}"}
        for number in range(30)
        for role in ("user", "assistant")
    ]
    caller.add("long", *turns)
    ask(gateway, "And now?", "long", model="talker", headers=caller.headers)

    sessions = gateway.rows(Session).filter(session_id="long").exclude(summary="")
    wait_until(sessions.exists, "a summary")
    session = sessions.get()
    assert session.summary == SUMMARY
    assert session.summary_upto > 40
    paid = gateway.rows(UsageRecord).filter(model="writer", tenant="bees")
    wait_until(paid.exists, "the summary in the ledger")

    ask(gateway, "Tell me about hive 3", "long", model="talker", headers=caller.headers)
    told = [message["content"] for message in received(sim)]
    assert any(SUMMARY in text for text in told[:-1])
    assert told[-1] == "Tell me about hive 3"
