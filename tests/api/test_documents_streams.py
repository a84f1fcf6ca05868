"""Streams tell their sources in one chunk before the mark; all else passes as it came."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from gateway.simulator import Behaviour
from tests.api.gateway_process import Gateway, fresh
from tests.api.memory_scenes import wait_for_turns
from tests.api.rag_scenes import QUESTION, ask_documents, sources_of
from tests.api.vendors import sdk
from tests.upstreams.simulators import RunningSimulator, running_simulator

ANSWER = "It is fourteen weeks, as the handbook says [1]; trains are another matter."
KINDS = ("openai", "anthropic", "ollama")


@pytest.fixture(scope="module")
def sim() -> Iterator[RunningSimulator]:
    with running_simulator(behaviour=Behaviour(answer_text=ANSWER)) as running:
        yield running


@pytest.fixture(scope="module")
def library(
    start_library: Callable[..., Gateway], sim: RunningSimulator
) -> Iterator[Gateway]:
    gateway = start_library(ENABLE_MEMORY="true")
    for kind in KINDS:
        gateway.add_provider(kind, kind, sim, models=[f"{kind}-model"])
    gateway.apply()
    yield gateway
    assert not [line for line in gateway.log() if line["level"] == "error"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("with_usage", [False, True])
def test_the_last_chunk_tells_the_sources(
    library: Gateway, kind: str, *, with_usage: bool
) -> None:
    options: Any = {"stream_options": {"include_usage": True}} if with_usage else {}
    reply = ask_documents(
        library, QUESTION, "handbook", model=f"{kind}-model", stream=True, **options
    )
    assert reply.is_whole
    assert reply.headers["x-ailb-rag"] == "hit; count=2"
    first, *between, last = reply.chunks
    for name in ("id", "created", "model", "object"):
        assert last[name] == first[name]
    assert last["choices"] == []
    assert "usage" not in last
    assert [bool(each.get("usage")) for each in between].count(True) == with_usage
    assert bool(between[-1].get("usage")) is with_usage
    cited = [(each["filename"], each["cited"]) for each in sources_of(reply)]
    assert cited == [("leave.txt", True), ("travel.txt", False)]


@pytest.mark.parametrize("fault", ["drip:1", "drip:100000"])
def test_however_the_bytes_arrive_the_chunk_stands_before_the_mark(
    library: Gateway, sim: RunningSimulator, fault: str
) -> None:
    sim.plan.replace([fault])
    reply = ask_documents(library, QUESTION, "handbook", stream=True)
    assert reply.is_whole
    assert reply.text == ANSWER
    assert "ailb" in reply.chunks[-1]
    assert sources_of(reply)[0]["cited"]


def test_every_choice_counts_for_what_is_cited(library: Gateway) -> None:
    reply = ask_documents(library, QUESTION, "handbook", stream=True, n=3)
    assert [each["cited"] for each in sources_of(reply)] == [True, False]


def test_a_stream_without_sources_has_no_such_chunk(library: Gateway) -> None:
    for collection in ("empty", "strict-empty"):
        reply = ask_documents(library, QUESTION, collection, stream=True)
        assert reply.is_whole
        assert reply.headers["x-ailb-rag"] == "miss; count=0"
        assert not [chunk for chunk in reply.chunks if "ailb" in chunk]


@pytest.mark.parametrize("fault", ["error_event_after:4", "die_after:4"])
def test_a_stream_that_failed_tells_none(
    library: Gateway, sim: RunningSimulator, fault: str
) -> None:
    name = fresh("failing")
    library.add_provider(name, "openai", sim, models=[name])
    library.apply()
    behaviour = sim.behaviour
    sim.behaviour = replace(behaviour, tokens_per_s=50)  # so that the fault comes late
    sim.plan.replace([fault], repeat=True)
    try:
        reply = ask_documents(library, QUESTION, "handbook", model=name, stream=True)
    finally:
        sim.plan.replace([])
        sim.behaviour = behaviour
    assert reply.error is not None
    assert b"ailb" not in reply.body
    assert b"[DONE]" not in reply.body


def test_the_official_sdk_reads_the_last_chunk(library: Gateway) -> None:
    stream = sdk(library).chat.completions.create(
        model="openai-model",
        messages=[{"role": "user", "content": QUESTION}],
        extra_body={"rag_collection": "handbook"},
        stream=True,
    )
    *_, last = stream
    assert last.model_extra is not None
    assert last.choices == []
    assert last.model_extra["ailb"]["sources"][0]["cited"] is True


def test_a_session_keeps_the_words_of_a_stream_and_its_sources_come_too(
    library: Gateway,
) -> None:
    session = fresh("stream")
    reply = ask_documents(
        library, QUESTION, "handbook", session_id=session, stream=True
    )
    assert sources_of(reply)
    turns = wait_for_turns(library, session, 2)
    assert [turn.text for turn in turns] == [QUESTION, ANSWER]
