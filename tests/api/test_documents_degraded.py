"""What documents need is away: the chat goes on, and says so; unless it must not."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from gateway.simulator import Behaviour
from rag.models import Index
from tests.api.documents_client import Librarian
from tests.api.gateway_process import Gateway
from tests.api.memory_scenes import plain, received
from tests.api.rag_scenes import QUESTION, ask_documents, sources_of
from tests.api.test_memory_degraded import away
from tests.client import Reply
from tests.upstreams.simulators import RunningSimulator, running_simulator


@pytest.fixture(scope="module")
def sim() -> Iterator[RunningSimulator]:
    with running_simulator(behaviour=Behaviour(answer_text="Yes [1].")) as running:
        yield running


@pytest.fixture(scope="module")
def library(
    start_library: Callable[..., Gateway], sim: RunningSimulator
) -> Iterator[Gateway]:
    gateway = start_library()
    gateway.add_provider("a", "openai", sim, models=["openai-model"])
    gateway.apply()
    yield gateway
    assert not [line for line in gateway.log() if line["level"] == "error"]


def check_refused(reply: Reply) -> None:
    assert (reply.status, reply.code) == (503, "documents_unavailable")
    assert reply.headers["x-ailb-rag"] == "degraded; count=0"
    assert reply.headers["retry-after"]


def test_without_the_database_the_chat_goes_on_unless_it_must_not(
    library: Gateway, sim: RunningSimulator
) -> None:
    # Whoever asks first has the rules of collections read.
    found = Librarian(library.client).send(
        "POST", "/handbook/search", {"query": QUESTION}
    )
    assert len(found.json["results"]) == 2
    with away(library):  # before chats have connected to it
        for stream in (False, True):
            reply = ask_documents(library, QUESTION, "handbook", stream=stream)
            assert reply.is_whole
            assert reply.headers["x-ailb-rag"] == "degraded; count=0"
            assert plain(received(sim)) == [("user", QUESTION)]
            assert b"ailb" not in reply.body
            strict = ask_documents(library, QUESTION, "strict", stream=stream)
            assert strict.is_whole
            (_, told), _ = plain(received(sim))
            assert "could not be searched" in told
            calls = len(sim.calls)
            for names in ("required", ["handbook", "required"]):
                check_refused(ask_documents(library, QUESTION, names, stream=stream))
            assert len(sim.calls) == calls, "no attempt was made"
        health = library.client.get("/healthz").json
        assert health["rag"] == "degraded"
        assert "database" in health["rag_problem"]
        other = library.client.get("/healthz", **{"x-forwarded-for": "192.0.2.1"}).json
        assert (other["rag"], other["rag_problem"]) == ("degraded", None)
    reply = ask_documents(library, QUESTION, "required")
    assert reply.headers["x-ailb-rag"] == "hit; count=2"
    health = library.client.get("/healthz").json
    assert (health["rag"], health["rag_problem"]) == ("ok", None)


def test_without_the_embedder_of_its_index_a_collection_is_searched_by_words(
    library: Gateway,
) -> None:
    index = library.rows(Index).filter(collection__name="ranked")
    assert index.update(model="/nonexistent") == 1
    reply = ask_documents(library, QUESTION, "ranked")
    assert reply.headers["x-ailb-rag"] == "degraded; count=1"
    (source,) = sources_of(reply)
    assert (source["filename"], source["cited"]) == ("leave.txt", True)
    assert "/nonexistent" in library.client.get("/healthz").json["rag_problem"]
    health = ask_documents(library, QUESTION, "handbook")
    assert health.headers["x-ailb-rag"] == "hit; count=2"
