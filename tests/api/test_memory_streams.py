"""Streams are remembered as they were heard: whole, or as far as the client listened."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import orjson
import pytest

from gateway.simulator import Behaviour
from tests.ailb_project.raw_http import Connection
from tests.api.gateway_process import Gateway, fresh
from tests.api.memory_scenes import (
    ALICE,
    MEMORY,
    WHO,
    ask,
    plain,
    received,
    turns_of,
    wait_for_turns,
)
from tests.client import chat_body
from tests.upstreams.simulators import RunningSimulator, running_simulator

LONG = " ".join(f"word{number}" for number in range(40))


@pytest.fixture(scope="module")
def sim() -> Iterator[RunningSimulator]:
    with running_simulator(behaviour=Behaviour(answer_text=LONG)) as running:
        yield running


@pytest.fixture(scope="module")
def remembering(
    start_gateway: Callable[..., Gateway], sim: RunningSimulator
) -> Gateway:
    gateway = start_gateway(**MEMORY)
    for kind in ("openai", "anthropic", "ollama"):
        gateway.add_provider(kind, kind, sim, models=[f"{kind}-model"])
    gateway.apply()
    return gateway


@pytest.mark.parametrize("kind", ["openai", "anthropic", "ollama"])
def test_a_whole_stream_is_kept_word_for_word(remembering: Gateway, kind: str) -> None:
    session = fresh(kind)
    ask(remembering, ALICE, session, model=f"{kind}-model", stream=True)
    question, answer = wait_for_turns(remembering, session, 2)
    assert (question.role, question.text) == ("user", ALICE)
    assert (answer.role, answer.text) == ("assistant", LONG)
    assert not answer.is_partial
    assert answer.model == f"{kind}-model"


def leave_after(gateway: Gateway, session: str, text: str) -> None:
    """Ask for a stream, and leave as soon as this was heard."""
    messages = [{"role": "user", "content": ALICE}]
    with gateway.client.streaming(
        "openai-model", messages=messages, session_id=session
    ) as response:
        heard = ""
        for line in response.iter_lines():
            heard += line
            if text in heard:
                return
    raise AssertionError("the stream ended")


def test_what_a_client_heard_before_it_left_is_kept_as_partial(
    remembering: Gateway, sim: RunningSimulator
) -> None:
    session = fresh("leaves")
    sim.plan.replace(["stall_after:6"])
    leave_after(remembering, session, "word")
    question, answer = wait_for_turns(remembering, session, 2)
    assert question.text == ALICE
    assert answer.is_partial
    assert answer.text
    assert LONG.startswith(answer.text)
    assert answer.text != LONG


def test_an_answer_that_broke_off_is_replaced_by_the_next_try(
    remembering: Gateway, sim: RunningSimulator
) -> None:
    session = fresh("again")
    sim.plan.replace(["stall_after:6"])
    leave_after(remembering, session, "word")
    wait_for_turns(remembering, session, 2)
    ask(remembering, ALICE, session, stream=True)
    ask(remembering, WHO, session, stream=True)
    said = plain(received(sim))
    assert said == [("user", ALICE), ("assistant", LONG), ("user", WHO)]


def test_a_client_that_left_before_a_word_was_said_leaves_nothing(
    remembering: Gateway, sim: RunningSimulator
) -> None:
    session, before = fresh("silent"), len(sim.calls)
    sim.plan.replace(["hang"])
    body = chat_body("openai-model", stream=True, text=ALICE, session_id=session)
    sent = orjson.dumps(body)
    with Connection(remembering.address) as connection:
        connection.send(
            b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\n"
            b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n"
            % len(sent)
            + sent
        )
        sim.wait_for(lambda seen: len(seen) > before)
    sim.wait_for(lambda seen: seen[-1].closed_after_s is not None)
    assert len(sim.calls) == before + 1
    assert ask(remembering, WHO, session).headers["x-ailb-memory"] == "miss"
    assert [turn.text for turn in wait_for_turns(remembering, session, 2)] == [
        WHO,
        LONG,
    ]


def test_a_stream_that_failed_is_not_remembered(
    remembering: Gateway, sim: RunningSimulator
) -> None:
    session = fresh("failed")
    sim.plan.replace(["die_after:6"])
    body = {
        "model": "openai-model",
        "messages": [{"role": "user", "content": ALICE}],
        "session_id": session,
        "stream": True,
    }
    reply = remembering.client.post("/v1/chat/completions", body)
    assert reply.error is not None
    assert ask(remembering, WHO, session).headers["x-ailb-memory"] == "miss"
    wait_for_turns(remembering, session, 2)
    assert [turn.text for turn in turns_of(remembering, session)] == [WHO, LONG]


def test_of_several_choices_the_first_is_remembered(
    remembering: Gateway, sim: RunningSimulator
) -> None:
    session = fresh("choices")
    ask(remembering, ALICE, session, n=2)
    turns = wait_for_turns(remembering, session, 2)
    assert [turn.text for turn in turns] == [ALICE, LONG]
