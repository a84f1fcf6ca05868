"""A chat that names a collection is answered from its documents, and tells its sources."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from gateway.models import Model, Tenant
from gateway.simulator import Behaviour
from memory.models import MemoryPolicy
from rag.models import Collection
from tests.api.gateway_process import Gateway, fresh
from tests.api.memory_scenes import ask, plain, received, wait_for_turns
from tests.api.rag_scenes import (
    LEAVE,
    QUESTION,
    TRAVEL,
    ask_documents,
    sources_of,
)
from tests.api.vendors import sdk
from tests.client import Reply
from tests.upstreams.rerankers import running_reranker
from tests.upstreams.simulators import RunningSimulator, running_simulator

ANSWER = "Fourteen weeks [1]."
KINDS = ("openai", "anthropic", "ollama")
ONLY_TRAVEL = {"type": "eq", "key": "year", "value": 2026}


@pytest.fixture(scope="module")
def sim() -> Iterator[RunningSimulator]:
    with running_simulator(behaviour=Behaviour(answer_text=ANSWER)) as running:
        yield running


@pytest.fixture(scope="module")
def library(
    start_library: Callable[..., Gateway], sim: RunningSimulator
) -> Iterator[Gateway]:
    """Start a gateway with filled collections and a model at each kind of vendor."""
    gateway = start_library(ENABLE_MEMORY="true")
    for kind in KINDS:
        gateway.add_provider(kind, kind, sim, models=[f"{kind}-model"])
    key = gateway.add_key(tenant=tenant_of(gateway), rights=["chat", "memory"])
    gateway.apply()
    gateway.client._http.headers["authorization"] = f"Bearer {key}"
    yield gateway
    assert not [line for line in gateway.log() if line["level"] == "error"]


def tenant_of(gateway: Gateway) -> str:
    """Name the tenant whose collections they are."""
    return gateway.rows(Collection).get(name="handbook").tenant.name


def check_refused(reply: Reply, status: int, code: str, param: str) -> None:
    assert reply.error is not None, reply
    assert (reply.status, reply.code) == (status, code)
    assert reply.error["param"] == param
    assert "x-ailb-rag" not in reply.headers


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("stream", [False, True])
def test_the_answer_comes_from_the_documents_and_tells_its_sources(
    library: Gateway, sim: RunningSimulator, kind: str, *, stream: bool
) -> None:
    reply = ask_documents(
        library, QUESTION, "handbook", model=f"{kind}-model", stream=stream
    )
    assert reply.is_whole, reply
    assert reply.text == ANSWER
    assert reply.headers["x-ailb-rag"] == "hit; count=2"
    said = str(received(sim))
    assert said.index("fourteen weeks") < said.index(QUESTION)
    assert not [name for name in sim.calls[-1].body if name.startswith("rag_")]
    first, second = sources_of(reply)
    assert (first["number"], first["filename"]) == (1, "leave.txt")
    assert LEAVE[first["start"] : first["end"]] == LEAVE.strip()
    assert first["collection"] == "handbook"
    assert first["page"] is None
    assert 0 <= second["score"] < first["score"] <= 1
    assert set(first["score_parts"]) == {"dense", "keyword"}
    assert (first["cited"], second["cited"]) == (True, False)


def test_sources_stand_fenced_in_one_message_before_the_question(
    library: Gateway, sim: RunningSimulator
) -> None:
    messages = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Hello"},
        {"role": "assistant", "content": "Hello"},
        {"role": "user", "content": QUESTION},
    ]
    assert ask_documents(library, "", "handbook", messages=messages).is_whole
    *before, block, question = received(sim)
    assert [*before, question] == messages
    assert block["role"] == "user"
    for expected in ("<<sources ", 'Source [1] "leave.txt"', 'Source [2] "travel.txt"'):
        assert expected in block["content"]


def test_the_official_sdk_reads_annotations_and_sources(library: Gateway) -> None:
    key = library.client._http.headers["authorization"].removeprefix("Bearer ")
    answer = sdk(library, api_key=key).chat.completions.create(
        model="openai-model",
        messages=[{"role": "user", "content": QUESTION}],
        extra_body={"rag_collection": "handbook", "rag_top_k": 1},
    )
    assert answer.model_extra is not None
    (source,) = answer.model_extra["ailb"]["sources"]
    message: Any = answer.choices[0].message
    (annotation,) = message.annotations
    assert annotation.type == "file_citation"
    place = annotation.index
    assert ANSWER[:place].endswith("[1]")
    assert annotation.file_id == source["document_id"]
    assert (annotation.filename, annotation.score) == ("leave.txt", source["score"])


def test_every_choice_has_its_own_annotations(library: Gateway) -> None:
    reply = ask_documents(library, QUESTION, "handbook", n=2)
    choices = reply.json["choices"]
    assert len(choices) == 2
    for choice in choices:
        cited, other = choice["message"]["annotations"]
        assert (cited["filename"], cited["cited"]) == ("leave.txt", True)
        assert (other["filename"], other["cited"]) == ("travel.txt", False)


def test_the_answer_is_else_what_it_would_have_been(library: Gateway) -> None:
    plain_reply = library.client.chat("openai-model", text=QUESTION, logprobs=True)
    assert "x-ailb-rag" not in plain_reply.headers
    assert "ailb" not in plain_reply.json
    reply = ask_documents(library, QUESTION, "handbook", logprobs=True)
    told, known = reply.json, plain_reply.json
    assert told.pop("ailb")
    assert told["choices"][0]["message"].pop("annotations")
    assert known["choices"][0]["message"].pop("annotations") == []
    for answer in (told, known):
        for name in ("id", "created", "usage"):
            assert answer.pop(name) is not None
    assert told == known


def test_documents_and_memory_share_one_block_and_only_words_are_remembered(
    library: Gateway, sim: RunningSimulator
) -> None:
    name, session = fresh("both"), fresh("both")
    library.add_provider(name, "openai", sim, models=[name])
    row = library.rows(Model).get(name=name)
    library.rows(MemoryPolicy).create(model=row, recent_turns=0)
    library.apply()
    ask(library, "My passport number is X1234567", session, model=name)
    question = "What is my passport number again?"
    reply = ask_documents(library, question, "handbook", model=name, session_id=session)
    assert reply.headers["x-ailb-memory"] == "hit"
    assert reply.headers["x-ailb-rag"].startswith("hit; ")
    (role, block), asked = plain(received(sim))
    assert (role, asked) == ("user", ("user", question))
    assert block.index("<<sources ") < block.index("<<memory ")
    assert "X1234567" in block[block.index("<<memory ") :]
    turns = wait_for_turns(library, session, 4)
    assert [turn.text for turn in turns[-2:]] == [question, ANSWER]
    assert not [turn for turn in turns if "<<" in turn.text]


def test_a_tool_loop_keeps_what_was_sent_before_byte_for_byte(
    library: Gateway, sim: RunningSimulator
) -> None:
    tools = [{"type": "function", "function": {"name": "weather", "parameters": {}}}]
    question = {"role": "user", "content": f"{QUESTION} Use a tool."}
    first = ask_documents(library, "", "handbook", messages=[question], tools=tools)
    sent = received(sim)
    message = first.json["choices"][0]["message"]
    assert message["tool_calls"], "the simulator calls a tool"
    assert message["annotations"] == []
    result = {
        "role": "tool",
        "tool_call_id": message["tool_calls"][0]["id"],
        "content": "Sunny",
    }
    called = {name: message[name] for name in ("role", "content", "tool_calls")}
    messages = [question, called, result]
    again = ask_documents(library, "", "handbook", messages=messages, tools=tools)
    assert again.headers["x-ailb-rag"] == "hit; count=2"
    assert received(sim)[: len(sent)] == sent
    assert [each["role"] for each in received(sim)[len(sent) :]] == [
        "assistant",
        "tool",
    ]


@pytest.mark.parametrize("stream", [False, True])
def test_an_unknown_collection_and_anothers_are_the_same_404(
    library: Gateway, sim: RunningSimulator, *, stream: bool
) -> None:
    stranger, _ = library.rows(Tenant).get_or_create(name="stranger")
    library.rows(Collection).get_or_create(tenant=stranger, name="secrets")
    calls = len(sim.calls)
    refused = [
        ask_documents(library, QUESTION, names, stream=stream)
        for names in ("secrets", "nowhere", ["handbook", "secrets"], "handbook,nowhere")
    ]
    for reply in refused:
        check_refused(reply, 404, "collection_not_found", "rag_collection")
    assert len({reply.body for reply in refused}) == 1
    assert len(sim.calls) == calls, "nothing was sent upstream"
    wait = library.metric("ailb_active_connections")
    assert wait == 0, "the books are closed"


def test_a_key_reads_its_collections_in_chats_without_the_right_to_documents(
    library: Gateway,
) -> None:
    reader = library.add_key(
        tenant=tenant_of(library), rights=["chat"], allowed_collections=["handbook"]
    )
    headers = {"authorization": f"Bearer {reader}"}
    library.apply()
    reply = ask_documents(library, QUESTION, "handbook", headers=headers)
    assert reply.headers["x-ailb-rag"] == "hit; count=2"
    for names in ("strict", ["handbook", "strict"]):
        refused = ask_documents(library, QUESTION, names, headers=headers)
        check_refused(refused, 404, "collection_not_found", "rag_collection")


def test_filters_and_the_number_wanted_say_what_is_found(
    library: Gateway, sim: RunningSimulator
) -> None:
    def names(**fields: Any) -> list[str]:
        reply = ask_documents(library, QUESTION, "handbook", **fields)
        return [source["filename"] for source in sources_of(reply)]

    assert names(rag_top_k=1) == ["leave.txt"]
    assert names(rag_filters=ONLY_TRAVEL) == ["travel.txt"]
    assert names(rag_filters=None, rag_top_k=None) == ["leave.txt", "travel.txt"]
    reply = ask_documents(library, QUESTION, ["empty", "handbook"], rag_top_k=1)
    assert [source["collection"] for source in sources_of(reply)] == ["handbook"]


def test_nothing_found_is_told_in_a_header_alone(
    library: Gateway, sim: RunningSimulator
) -> None:
    nothing = {"type": "eq", "key": "year", "value": 1900}
    for collection, filters in (("empty", None), ("handbook", nothing)):
        reply = ask_documents(library, QUESTION, collection, rag_filters=filters)
        assert reply.headers["x-ailb-rag"] == "miss; count=0"
        assert "ailb" not in reply.json
        assert reply.json["choices"][0]["message"]["annotations"] == []
        assert plain(received(sim)) == [("user", QUESTION)]


def test_a_strict_collection_has_the_model_say_that_it_does_not_say(
    library: Gateway, sim: RunningSimulator
) -> None:
    reply = ask_documents(library, QUESTION, "strict-empty")
    assert reply.headers["x-ailb-rag"] == "miss; count=0"
    (_, told), _ = plain(received(sim))
    assert "nothing in them matches" in told
    ask_documents(library, QUESTION, "strict")
    (_, told), _ = plain(received(sim))
    assert "Answer only from these sources" in told


def test_a_small_context_has_less_room_for_sources(
    library: Gateway, sim: RunningSimulator
) -> None:
    name = fresh("small")
    library.add_provider(
        name, "openai", sim, models=[name], deployment={"context_window": 660}
    )
    library.apply()
    reply = ask_documents(library, QUESTION, "handbook", model=name)
    assert reply.headers["x-ailb-rag"] == "hit; count=1"
    text = f"{QUESTION} {'word ' * 90}"
    full = ask_documents(library, text, "required", model=name)
    assert (full.status, full.code) == (400, "no_room_for_documents")
    full = ask_documents(library, text, "handbook", model=name)
    assert full.headers["x-ailb-rag"] == "degraded; count=0"
    assert full.is_whole
    assert library.client.get("/healthz").json["rag"] == "ok", "nothing is broken"


def test_what_cannot_be_understood_is_refused(library: Gateway) -> None:
    refused = library.client.chat("openai-model", rag_top_k=3)
    check_refused(refused, 400, "missing_required_parameter", "rag_collection")
    refused = library.client.chat("openai-model", rag_filters=ONLY_TRAVEL)
    check_refused(refused, 400, "missing_required_parameter", "rag_collection")
    bad = {"type": "is", "key": "year", "value": 2026}
    refused = ask_documents(library, QUESTION, "handbook", rag_filters=bad)
    check_refused(refused, 400, "invalid_value", "rag_filters")
    refused = ask_documents(library, QUESTION, "handbook", rag_filters=[])
    check_refused(refused, 400, "invalid_type", "rag_filters")


def test_a_reranker_orders_what_was_found(
    library: Gateway, sim: RunningSimulator
) -> None:
    with running_reranker({"Trains": 7.5, "parental": -2.0}) as reranker:
        provider = library.add_provider(
            fresh("reranker"), "openai_compatible", reranker.url, credential="sk-rank"
        )
        ranked = library.rows(Collection).get(name="ranked")
        ranked.rerank_provider, ranked.rerank_model = provider, "rank-1"
        ranked.save(using=library.alias)
        library.apply()
        reply = ask_documents(library, QUESTION, "ranked")
        assert reply.headers["x-ailb-rag"] == "hit; count=2"
        first, second = sources_of(reply)
        assert (first["filename"], second["filename"]) == ("travel.txt", "leave.txt")
        assert first["score"] == first["score_parts"]["rerank"] > 0.99
        (asked,) = reranker.asked
        assert (asked["model"], asked["query"]) == ("rank-1", QUESTION)
        assert {text.strip() for text in asked["documents"]} == {
            LEAVE.strip(),
            TRAVEL.strip(),
        }
        assert reranker.credentials == ["Bearer sk-rank"]
        reranker.fault = (500, {"error": "out of order"})
        reply = ask_documents(library, QUESTION, "ranked")
        assert reply.headers["x-ailb-rag"] == "degraded; count=2"
        assert [source["filename"] for source in sources_of(reply)] == [
            "leave.txt",
            "travel.txt",
        ]
        health = library.client.get("/healthz").json
        assert health["rag"] == "degraded"
        assert "500" in health["rag_problem"]
    assert ask_documents(library, QUESTION, "handbook").is_whole
    health = library.client.get("/healthz").json
    assert (health["rag"], health["rag_problem"]) == ("ok", None)


def test_retrievals_are_counted(library: Gateway) -> None:
    name = "ailb_rag_retrievals_total"
    hits, misses = (library.metric(name, status=each) for each in ("hit", "miss"))
    ask_documents(library, QUESTION, "handbook")
    ask_documents(library, QUESTION, "empty")
    assert library.metric(name, status="hit") == hits + 1
    assert library.metric(name, status="miss") == misses + 1
    assert library.metric("ailb_rag_retrieval_duration_seconds_count") > 0
