"""Whether a route can be handled: by configuration, and by what workers report."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import orjson
import pytest

from gateway.kinds import Algorithm
from gateway.snapshot import (
    Capabilities,
    Deployment,
    Model,
    Provider,
    Snapshot,
    Strategy,
    Traffic,
)
from moduleservice.handling import Known, Verdict, judge
from moduleservice.pb import types_pb2

STRATEGY = Strategy(name="least", algorithm=Algorithm.RANDOM)
CHAT = "/v1/chat/completions"
EMBEDDINGS = "/v1/embeddings"


def provider(name: str, **fields: Any) -> Provider:
    return Provider(
        id=1,
        name=name,
        kind="openai",
        base_url="http://a",
        urls={},
        models_url="",
        headers=(),
        fingerprint="",
        **fields,
    )


def model(name: str, *providers: Provider, **capabilities: Any) -> Model:
    deployments = tuple(
        Deployment(
            id=number,
            model=name,
            upstream_model="up",
            provider=each,
            priority=3 + number,
            capabilities=Capabilities(**capabilities),
        )
        for number, each in enumerate(providers)
    )
    return Model(name=name, strategy=STRATEGY, deployments=deployments)


A, B = provider("a"), provider("b")
LOCKED = provider("locked")  # whose credential no worker can read
MODELS = (
    model("both", A, B),
    model("embeds", A, chat=False, embeddings=True),
    model("locked", LOCKED),
)
SNAPSHOT = Snapshot(
    revision=1,
    providers={},
    models={each.name: each for each in MODELS},
    aliases={"alias": "both"},
    default_strategy=STRATEGY,
)


def states(**by_provider: str) -> dict[str, Any]:
    """Give a worker's report of the breakers."""
    breakers = {name: {"up": each} for name, each in by_provider.items()}
    return {"breakers": breakers, "unreadable": ["locked"]}


def asked(
    name: str = "",
    path: str = CHAT,
    *,
    protocol: int = types_pb2.PROTOCOL_HTTP,
    context: Mapping[str, str] | None = None,
    **known: Any,
) -> Verdict:
    route = types_pb2.Route(path_pattern=path, metadata={"model": name} if name else {})
    route.protocol = protocol  # type: ignore[assignment]  # any number may come
    given = {
        "snapshot": SNAPSHOT,
        "version": "v1",
        "has_documents": False,
        "reports": [states()],
        **known,
    }
    return judge(route, context or {}, Known(**given))


def test_a_model_that_is_served_can_be_handled_and_is_described() -> None:
    verdict = asked("both")
    assert (verdict.can_handle, verdict.priority) == (True, 3)
    assert verdict.reason == "Model 'both' is served by a, b."
    assert (verdict.metadata["model"], verdict.metadata["strategy"]) == (
        "both",
        "least",
    )
    first, _ = orjson.loads(verdict.metadata["deployments"])
    assert first == {
        "provider": "a",
        "upstream_model": "up",
        "version": "v1",
        "weight": 1,
        "priority": 3,
        "usable": True,
    }


@pytest.mark.parametrize(
    ("name", "path", "can_handle", "words"),
    [
        ("both", "", True, "is served by a, b"),
        ("both", "/v1/*", True, "is served by"),
        ("alias", CHAT, True, "Model 'both' is served"),
        ("both", EMBEDDINGS, True, "is served by"),
        ("embeds", EMBEDDINGS, True, "is served by a."),
        ("embeds", CHAT, False, "'embeds' is not served at /v1/chat/completions"),
        ("nobody", CHAT, False, "There is no model 'nobody'"),
        (
            "locked",
            CHAT,
            False,
            "'locked' cannot be asked now: locked cannot be called",
        ),
        ("locked", "/v1/models/locked", True, "is served by locked"),
        ("nobody", "/v1/models/nobody", False, "There is no model"),
        ("both", "/v1/chat", False, "AILB serves nothing at '/v1/chat'"),
        ("", CHAT, True, "/v1/chat/completions is served: both, locked."),
        ("", "/v1/models", True, "AILB serves /v1/models"),
        ("", "/v1/mod*", True, "AILB serves /v1/mod*"),
        ("", "/v1/modelsx", False, "serves nothing"),
        ("", "/v1/files", False, "serves nothing"),
        ("", "/", False, "serves nothing at '/'"),
        ("", "*", True, "is served"),
    ],
)
def test_the_path_and_the_model_decide(
    name: str, path: str, can_handle: bool, words: str
) -> None:
    verdict = asked(name, path)
    assert words in verdict.reason
    assert verdict.can_handle is can_handle


def test_files_are_served_where_documents_are() -> None:
    assert asked(path="/v1/files/f", has_documents=True).can_handle
    assert asked(path="/v1/vector_stores*", has_documents=True).can_handle


@pytest.mark.parametrize(
    ("protocol", "can_handle"),
    [
        (types_pb2.PROTOCOL_UNSPECIFIED, True),
        (types_pb2.PROTOCOL_HTTPS, True),
        (types_pb2.PROTOCOL_HTTP2, True),
        (types_pb2.PROTOCOL_TCP, False),
        (99, False),
    ],
)
def test_only_http_can_be_handled(protocol: int, can_handle: bool) -> None:
    verdict = asked("both", protocol=protocol)
    assert verdict.can_handle is can_handle
    if not can_handle:
        assert verdict.reason.startswith("AILB serves HTTP, not ")


def test_the_context_names_the_model_where_the_route_does_not() -> None:
    assert not asked(context={"model": "nobody"}).can_handle
    assert asked("both", context={"model": "nobody"}).can_handle


def test_a_model_whose_breakers_are_all_open_cannot_be_handled() -> None:
    shut = states(a="open", b="open")
    verdict = asked("both", reports=[shut])
    assert not verdict.can_handle
    assert verdict.reason == "Model 'both' cannot be asked now: a, b cannot be called."
    assert asked("both", reports=[states(a="open", b="ready")]).can_handle
    assert asked("both", reports=[shut, states(a="cooling", b="open")]).can_handle
    assert not asked(reports=[shut, shut]).can_handle


def test_without_a_live_worker_nothing_can_be_handled() -> None:
    assert asked("both", reports=[]).reason == "No worker is live."
    assert asked("both", reports=None).can_handle  # the database is away
    assert asked("locked", reports=None).can_handle


def test_an_instance_that_drains_handles_nothing() -> None:
    drained = replace(SNAPSHOT, traffic=Traffic(draining=frozenset({"v1"})))
    verdict = asked("both", snapshot=drained)
    assert not verdict.can_handle
    assert "This instance drains: its version 'v1'" in verdict.reason
    assert asked("both", snapshot=drained, version="v2").can_handle


def test_where_nothing_is_configured_nothing_can_be_handled() -> None:
    empty = replace(SNAPSHOT, models={})
    assert asked(snapshot=empty).reason == "No model is served at /v1/chat/completions."
