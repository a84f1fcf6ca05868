"""A session id is enough: what was said comes back, to whom it belongs and no other."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from django.db import transaction
from django.db.models import F

from gateway.models import Model
from gateway.remembering import SEEN_LIMIT_S
from gateway.simulator import Behaviour
from memory.models import MemoryPolicy, Session
from tests.api.gateway_process import Gateway, fresh
from tests.api.memory_scenes import (
    ALICE,
    MEMORY,
    NICE,
    WHO,
    ask,
    plain,
    received,
    turns_of,
    wait_for_turns,
)
from tests.client import Client
from tests.upstreams.simulators import RunningSimulator, running_simulator

ALL = ["chat", "embeddings", "memory"]


@pytest.fixture(scope="module")
def sim() -> Iterator[RunningSimulator]:
    with running_simulator(behaviour=Behaviour(answer_text=NICE)) as running:
        yield running


@pytest.fixture(scope="module")
def remembering(
    start_gateway: Callable[..., Gateway], sim: RunningSimulator
) -> Gateway:
    """Start a gateway with a model at each kind of vendor."""
    gateway = start_gateway(**MEMORY)
    for kind in ("openai", "anthropic", "ollama"):
        gateway.add_provider(kind, kind, sim, models=[f"{kind}-model"])
    gateway.apply()
    return gateway


@pytest.mark.parametrize("stream", [False, True])
def test_the_users_example_works_word_for_word(
    remembering: Gateway, sim: RunningSimulator, *, stream: bool
) -> None:
    session = "user-123" if not stream else "user-124"
    first = ask(remembering, ALICE, session, stream=stream)
    assert first.headers["x-ailb-memory"] == "miss"
    assert plain(received(sim)) == [("user", ALICE)]
    second = ask(remembering, WHO, session, stream=stream)
    assert second.headers["x-ailb-memory"] == "hit"
    assert plain(received(sim)) == [
        ("user", ALICE),
        ("assistant", NICE),
        ("user", WHO),
    ]
    assert "session_id" not in sim.calls[-1].body


def test_another_key_with_the_same_id_gets_nothing_of_it(
    start_gateway: Callable[..., Gateway], sim: RunningSimulator
) -> None:
    gateway = start_gateway(AILB_AUTH="required", **MEMORY)
    gateway.add_provider("a", "openai", sim, models=["openai-model"])
    one = {"authorization": f"Bearer {gateway.add_key(tenant='one', rights=ALL)}"}
    two = {"authorization": f"Bearer {gateway.add_key(tenant='two', rights=ALL)}"}
    deaf = {"authorization": f"Bearer {gateway.add_key(tenant='one', rights=['chat'])}"}
    gateway.apply()
    ask(gateway, ALICE, "user-123", headers=one)
    other = ask(gateway, WHO, "user-123", headers=two)
    assert other.headers["x-ailb-memory"] == "miss"
    assert plain(received(sim)) == [("user", WHO)]
    without = ask(gateway, WHO, "user-123", headers=deaf)
    assert without.headers["x-ailb-memory"] == "off"
    assert plain(received(sim)) == [("user", WHO)]
    assert ask(gateway, WHO, "user-123", headers=one).headers["x-ailb-memory"] == "hit"
    assert ("user", ALICE) in plain(received(sim))


def test_a_request_without_a_session_has_no_part_in_it(
    remembering: Gateway, sim: RunningSimulator
) -> None:
    reply = remembering.client.chat("openai-model", text=WHO)
    assert "x-ailb-memory" not in reply.headers
    assert plain(received(sim)) == [("user", WHO)]


def test_the_header_names_the_session_too_and_the_body_is_over_it(
    remembering: Gateway, sim: RunningSimulator
) -> None:
    session = fresh("header")
    ask(remembering, ALICE, session)
    body = {"model": "openai-model", "messages": [{"role": "user", "content": WHO}]}
    reply = remembering.client.post(
        "/v1/chat/completions", body, **{"x-session-id": session}
    )
    assert reply.headers["x-ailb-memory"] == "hit"
    other = ask(remembering, WHO, fresh("other"), headers={"x-session-id": "s"})
    assert other.headers["x-ailb-memory"] == "miss"
    refused = remembering.client.post(
        "/v1/chat/completions", body, **{"x-session-id": "x" * 257}
    )
    assert refused.status == 400
    assert refused.error
    assert refused.error["param"] == "X-Session-ID"


def test_an_error_says_what_became_of_memory_as_well(remembering: Gateway) -> None:
    reply = remembering.client.post(
        "/v1/chat/completions",
        {"model": "no", "messages": [{"role": "user", "content": "x"}]},
        **{"x-session-id": "s"},
    )
    assert reply.status == 404
    assert reply.headers["x-ailb-memory"] == "off"


def test_a_client_that_sends_its_history_gets_nothing_twice(
    remembering: Gateway, sim: RunningSimulator
) -> None:
    session = fresh("history")
    ask(remembering, ALICE, session)
    history = [
        {"role": "user", "content": ALICE},
        {"role": "assistant", "content": NICE},
        {"role": "user", "content": WHO},
    ]
    reply = ask(remembering, "", session, messages=history)
    assert reply.headers["x-ailb-memory"] == "miss"
    assert received(sim) == history
    stored = wait_for_turns(remembering, session, 4)
    assert [turn.text for turn in stored] == [ALICE, NICE, WHO, NICE]


def test_system_messages_stay_in_front_and_are_not_stored(
    remembering: Gateway, sim: RunningSimulator
) -> None:
    session = fresh("system")
    rule = {"role": "system", "content": "Be brief."}
    for text in (ALICE, WHO):
        messages = [rule, {"role": "user", "content": text}]
        ask(remembering, "", session, messages=messages)
    assert plain(received(sim)) == [
        ("system", "Be brief."),
        ("user", ALICE),
        ("assistant", NICE),
        ("user", WHO),
    ]
    stored = wait_for_turns(remembering, session, 4)
    assert {turn.role for turn in stored} == {"user", "assistant"}


@pytest.mark.parametrize("kind", ["anthropic", "ollama"])
@pytest.mark.parametrize("stream", [False, True])
def test_other_vendors_get_a_valid_conversation(
    remembering: Gateway, sim: RunningSimulator, kind: str, *, stream: bool
) -> None:
    session, model = fresh(kind), f"{kind}-model"
    ask(remembering, ALICE, session, model=model, stream=stream)
    reply = ask(remembering, WHO, session, model=model, stream=stream)
    assert reply.headers["x-ailb-memory"] == "hit"
    said = str(received(sim))
    assert said.index(ALICE) < said.index(NICE) < said.index(WHO)


def test_what_is_not_to_be_stored_is_not(
    remembering: Gateway, sim: RunningSimulator
) -> None:
    session = fresh("store")
    ask(remembering, ALICE, session)
    reply = ask(remembering, "My cat is called Tom", session, store=False)
    assert reply.headers["x-ailb-memory"] == "hit"
    assert sim.calls[-1].body["store"] is False
    ask(remembering, WHO, session, store=True)
    assert "Tom" not in str(received(sim))
    texts = [turn.text for turn in wait_for_turns(remembering, session, 4)]
    assert texts == [ALICE, NICE, WHO, NICE]


def test_a_retry_is_not_stored_twice(remembering: Gateway) -> None:
    session = fresh("retry")
    ask(remembering, ALICE, session, headers={"x-request-id": "abc"})
    ask(remembering, ALICE, session, headers={"x-request-id": "abc"})
    ask(remembering, ALICE, session, headers={"x-stainless-retry-count": "1"})
    ask(remembering, WHO, session)
    stored = wait_for_turns(remembering, session, 4)
    live = [turn.text for turn in stored if not turn.is_superseded]
    assert live == [ALICE, NICE, WHO, NICE]


TOOLS = [
    {"type": "function", "function": {"name": "weather", "parameters": {}}},
]


def test_a_tool_loop_keeps_what_was_sent_before_byte_for_byte(
    remembering: Gateway, sim: RunningSimulator
) -> None:
    session = fresh("tools")
    for number in range(12):  # more than the recent window
        ask(
            remembering, f"Fact {number}: the weather in town {number} is fine", session
        )
    question = {"role": "user", "content": "Which tool tells the weather in town 3?"}
    first = ask(remembering, "", session, messages=[question], tools=TOOLS)
    woven = received(sim)
    assert len(woven) > 1
    message = first.json["choices"][0]["message"]
    assert message["tool_calls"], "the simulator calls a tool"
    result = {
        "role": "tool",
        "tool_call_id": message["tool_calls"][0]["id"],
        "content": "Sunny",
    }
    ask(
        remembering,
        "",
        session,
        messages=[question, message, result],
        tools=TOOLS,
    )
    again = received(sim)
    assert again[: len(woven)] == woven
    assert [each["role"] for each in again[len(woven) :]] == ["assistant", "tool"]


def test_older_turns_come_back_in_a_block_before_the_question(
    remembering: Gateway, sim: RunningSimulator
) -> None:
    session = fresh("long")
    ask(remembering, "My passport number is X1234567", session)
    for number in range(14):
        ask(remembering, f"Tell me something about the number {number} " * 40, session)
    reply = ask(remembering, "What is my passport number again?", session)
    assert reply.headers["x-ailb-memory"] == "hit"
    *_, block, question = plain(received(sim))
    assert question == ("user", "What is my passport number again?")
    assert block[0] == "user"
    assert "X1234567" in block[1]
    assert "<<memory " in block[1]


def test_more_prompt_counts_against_the_context_window(
    remembering: Gateway, sim: RunningSimulator
) -> None:
    name = fresh("small")
    remembering.add_provider(
        name, "openai", sim, models=[name], deployment={"context_window": 1000}
    )
    remembering.apply()
    session = fresh("window")
    for number in range(10):
        ask(remembering, f"{number} " + "words " * 60, session)
    ask(remembering, WHO, session, model=name)
    added = sum(len(str(each["content"])) for each in received(sim)[:-1])
    assert 0 < added / 4 < 150, "at most 15 % of the window"


def test_a_policy_switches_memory_off_for_a_model(
    remembering: Gateway, sim: RunningSimulator
) -> None:
    name, session = fresh("off"), fresh("off")
    remembering.add_provider(name, "openai", sim, models=[name])
    row = remembering.rows(Model).get(name=name)
    remembering.rows(MemoryPolicy).create(model=row, is_enabled=False)
    remembering.apply()
    for text in (ALICE, WHO):
        reply = ask(remembering, text, session, model=name)
        assert reply.headers["x-ailb-memory"] == "off"
    assert plain(received(sim)) == [("user", WHO)]
    assert turns_of(remembering, session) == []


def test_memory_that_is_switched_off_is_off(
    start_gateway: Callable[..., Gateway], sim: RunningSimulator
) -> None:
    gateway = start_gateway(ENABLE_MEMORY="false")
    gateway.add_provider("a", "openai", sim, models=["openai-model"])
    gateway.apply()
    ask(gateway, ALICE, "s")
    assert ask(gateway, WHO, "s").headers["x-ailb-memory"] == "off"
    assert plain(received(sim)) == [("user", WHO)]
    assert gateway.client.get("/healthz").json["memory"] == "off"


@contextmanager
def writing(gateway: Gateway) -> Iterator[None]:
    """Let whoever else writes to the database wait until the block ends."""
    with transaction.atomic(using=gateway.alias):
        gateway.rows(Session).update(version=F("version"))
        yield


def test_what_was_said_survives_a_stop(
    start_gateway: Callable[..., Gateway], sim: RunningSimulator
) -> None:
    gateway = start_gateway(**MEMORY)
    gateway.add_provider("a", "openai", sim, models=["openai-model"])
    gateway.apply()
    with writing(gateway):
        ask(gateway, ALICE, "one")
        ask(gateway, ALICE, "two")  # waits behind the other one
        for process in gateway.processes:
            process.terminate()
    gateway.restart()
    for session in ("one", "two"):
        assert ask(gateway, WHO, session).headers["x-ailb-memory"] == "hit"
        assert ("user", ALICE) in plain(received(sim))


def test_two_processes_see_each_others_turns_at_once(
    start_gateway: Callable[..., Gateway], sim: RunningSimulator
) -> None:
    gateway = start_gateway(workers=2, AILB_WORKERS="2", **MEMORY)
    gateway.add_provider("a", "openai", sim, models=["openai-model"])
    gateway.apply()
    for number in range(10):
        gateway.client.close()
        gateway.client = Client(gateway.url)  # another connection, another process
        ask(gateway, f"Note {number}", "s", stream=number % 2 == 0)
        said = [text for role, text in plain(received(sim)) if role == "user"]
        if number:
            assert f"Note {number - 1}" in " ".join(said[:-1])
    for stream in (False, True):
        with writing(gateway):
            began_s = time.monotonic()
            ask(gateway, ALICE, f"held-{stream}", stream=stream)
            assert time.monotonic() - began_s >= SEEN_LIMIT_S, "it waits for that"
