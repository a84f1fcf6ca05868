"""The OpenAPI document: true of the data plane, as far as chance can find out."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
import schemathesis
from drf_spectacular.validation import validate_schema
from hypothesis import HealthCheck, given, settings
from hypothesis.strategies import SearchStrategy
from schemathesis import BaseSchema, Case, GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    allow_header_conformance,
    content_type_conformance,
    negative_data_rejection,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
)

from tests.api.gateway_process import Gateway
from tests.api.management import KINDS, Manager, manager_of
from tests.upstreams.simulators import running_simulator

ROUTES = {
    ("post", "/v1/chat/completions"),
    ("post", "/v1/embeddings"),
    ("get", "/v1/models"),
    ("get", "/v1/models/{model_id}"),
    ("get", "/api/routing/stats"),
    ("get", "/livez"),
    ("get", "/readyz"),
    ("get", "/healthz"),
}
MANAGEMENT_ROUTES = {
    *((method, f"/api/{kind}") for kind in KINDS for method in ("get", "post")),
    *(
        (method, f"/api/{kind}/{{row_id}}")
        for kind in KINDS
        for method in ("get", "patch", "delete")
    ),
    ("post", "/api/keys/{row_id}/rotate"),
    ("get", "/api/traffic"),
    ("get", "/api/usage"),
    ("get", "/api/usage/records"),
}
SESSION = "/api/memory/sessions/{session_id}"
MEMORY_ROUTES = {
    ("get", "/api/memory/sessions"),
    ("delete", "/api/memory/sessions"),
    ("get", SESSION),
    ("delete", SESSION),
    ("post", f"{SESSION}/turns"),
    ("post", f"{SESSION}/search"),
    ("get", f"{SESSION}/export"),
}
COLLECTION = "/api/collections/{name}"
DOCUMENT = f"{COLLECTION}/documents/{{document_id}}"
DOCUMENT_ROUTES = {
    ("get", "/api/collections"),
    ("post", "/api/collections"),
    *((method, COLLECTION) for method in ("get", "patch", "delete")),
    ("post", f"{COLLECTION}/search"),
    ("post", f"{COLLECTION}/reindex"),
    ("delete", f"{COLLECTION}/reindex"),
    ("post", f"{COLLECTION}/rollback"),
    ("get", f"{COLLECTION}/documents"),
    ("post", f"{COLLECTION}/documents"),
    *((method, DOCUMENT) for method in ("get", "put", "patch", "delete")),
    ("get", f"{DOCUMENT}/file"),
    ("get", f"{DOCUMENT}/text"),
}
STORE = "/v1/vector_stores/{vector_store_id}"
STORE_FILE = f"{STORE}/files/{{file_id}}"
VECTOR_STORE_ROUTES = {
    *((method, "/v1/files") for method in ("get", "post")),
    *((method, "/v1/files/{file_id}") for method in ("get", "delete")),
    ("get", "/v1/files/{file_id}/content"),
    *((method, "/v1/vector_stores") for method in ("get", "post")),
    *((method, STORE) for method in ("get", "post", "delete")),
    *((method, f"{STORE}/files") for method in ("get", "post")),
    *((method, STORE_FILE) for method in ("get", "post", "delete")),
    ("get", f"{STORE_FILE}/content"),
    ("post", f"{STORE}/search"),
}
POSTS = ("/v1/chat/completions", "/v1/embeddings")
KNOWN_MODEL = "m"
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    negative_data_rejection,
    unsupported_method,
    allow_header_conformance,
]
PLAIN = (
    "messages", "stream", "temperature", "top_p", "frequency_penalty", "presence_penalty",
    "n", "seed", "user", "session_id",
    "input", "dimensions", "encoding_format",
)  # fmt: skip
TIMEOUT_S = 20
FEW = settings(
    max_examples=15,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
)


@dataclass(frozen=True, slots=True)
class Described:
    """A gateway with one model, what it says of itself, and what is sent along."""

    gateway: Gateway
    document: dict[str, Any]
    headers: dict[str, str] = field(default_factory=dict)


@pytest.fixture(scope="module")
def described(start_gateway: Callable[..., Gateway]) -> Iterator[Described]:
    gateway = start_gateway()
    with running_simulator() as sim:
        gateway.add_provider("one", "openai", sim, models=[KNOWN_MODEL])
        gateway.apply()
        yield Described(gateway, gateway.client.get("/docs/openapi.json").json)
        assert not [line for line in gateway.log() if line["level"] == "error"]


@pytest.fixture(scope="module")
def managed(start_gateway: Callable[..., Gateway]) -> Iterator[Described]:
    """Start another gateway: whatever rows chance makes are in nobody's way there."""
    gateway = start_gateway()
    manager = manager_of(gateway)
    document = gateway.client.get("/docs/openapi.json").json
    bearer = {"authorization": f"Bearer {manager.key}"}
    yield Described(gateway, document, bearer)
    assert not [line for line in gateway.log() if line["level"] == "error"]


@pytest.fixture(scope="module")
def remembering(start_gateway: Callable[..., Gateway]) -> Iterator[Described]:
    """Start a gateway that remembers, by keywords alone: no model has to be loaded."""
    gateway = start_gateway(ENABLE_MEMORY="true", EMBEDDING_MODEL="/nonexistent")
    yield Described(gateway, gateway.client.get("/docs/openapi.json").json)
    assert not [line for line in gateway.log() if line["level"] == "error"]


@pytest.fixture(scope="module")
def shelving(start_gateway: Callable[..., Gateway]) -> Iterator[Described]:
    """Start a gateway that keeps documents, and searches them by keywords alone."""
    gateway = start_gateway(ENABLE_RAG="true", EMBEDDING_MODEL="/nonexistent")
    yield Described(gateway, gateway.client.get("/docs/openapi.json").json)
    assert not [line for line in gateway.log() if line["level"] == "error"]


@pytest.fixture(scope="module")
def api(described: Described) -> BaseSchema:
    return schemathesis.openapi.from_dict(described.document)


@pytest.mark.parametrize(("method", "path"), sorted(ROUTES))
def test_what_the_document_allows_is_answered_as_it_says(
    described: Described, api: BaseSchema, method: str, path: str
) -> None:
    assert fuzz(api[path][method].as_strategy(), described)


@pytest.mark.parametrize(("method", "path"), sorted(MANAGEMENT_ROUTES))
def test_management_answers_what_the_document_allows_as_it_says(
    managed: Described, api: BaseSchema, method: str, path: str
) -> None:
    assert fuzz(api[path][method].as_strategy(), managed) - {401, 403, 405}


@pytest.mark.parametrize("kind", KINDS)
def test_management_refuses_what_the_document_forbids(
    managed: Described, api: BaseSchema, kind: str
) -> None:
    negative = GenerationMode.NEGATIVE
    cases = api[f"/api/{kind}"]["post"].as_strategy(generation_mode=negative)
    assert 400 in fuzz(cases, managed)


@pytest.mark.parametrize("kind", KINDS)
def test_rows_are_made_and_shown_as_the_document_describes_them(
    managed: Described, api: BaseSchema, kind: str
) -> None:
    manager = Manager(managed.gateway, managed.headers["authorization"].split()[1])
    made = manager.make(kind)
    row_id = made["id"] if "id" in made else made["name"]
    for method in ("get", "patch", "delete"):
        operation = api[f"/api/{kind}/{{row_id}}"][method]
        case = operation.Case(path_parameters={"row_id": row_id})
        if method == "patch":
            case.body, case.media_type = {}, "application/json"
        response = case.call_and_validate(
            base_url=managed.gateway.url,
            checks=CHECKS,
            timeout=TIMEOUT_S,
            headers=managed.headers,
        )
        assert response.status_code == 200


@pytest.mark.parametrize(("method", "path"), sorted(MEMORY_ROUTES))
def test_memory_answers_what_the_document_allows_as_it_says(
    remembering: Described, api: BaseSchema, method: str, path: str
) -> None:
    assert fuzz(api[path][method].as_strategy(), remembering) - {401, 403, 405, 503}


@pytest.mark.parametrize("action", ["turns", "search"])
def test_memory_refuses_what_the_document_forbids(
    remembering: Described, api: BaseSchema, action: str
) -> None:
    negative = GenerationMode.NEGATIVE
    cases = api[f"{SESSION}/{action}"]["post"].as_strategy(generation_mode=negative)
    assert 400 in fuzz(cases, remembering)


def test_sessions_are_made_and_shown_as_the_document_describes_them(
    remembering: Described, api: BaseSchema
) -> None:
    turn = {"role": "user", "content": "hello", "created": "2026-01-31T12:00:00Z"}
    bodies: dict[str, Any] = {
        f"{SESSION}/turns": {"turns": [turn, {**turn, "external_id": "1"}]},
        f"{SESSION}/search": {"query": "hello"},
    }
    by_delete_last = sorted(MEMORY_ROUTES, key=lambda route: route[0] == "delete")
    for method, path in [("post", f"{SESSION}/turns"), *by_delete_last]:
        operation = api[path][method]
        case = operation.Case()
        if "{" in path:
            case.path_parameters = {"session_id": "team/7 export"}
        elif method == "delete":
            case.query = {"owner": "nobody"}
        if path in bodies:
            case.body, case.media_type = bodies[path], "application/json"
        response = case.call_and_validate(
            base_url=remembering.gateway.url, checks=CHECKS, timeout=TIMEOUT_S
        )
        assert response.status_code == 200


@pytest.mark.parametrize(("method", "path"), sorted(DOCUMENT_ROUTES))
def test_documents_answer_what_the_document_allows_as_it_says(
    shelving: Described, api: BaseSchema, method: str, path: str
) -> None:
    assert fuzz(api[path][method].as_strategy(), shelving) - {401, 403, 405, 503}


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("post", "/api/collections"),
        ("patch", COLLECTION),
        ("post", f"{COLLECTION}/search"),
        ("post", f"{COLLECTION}/documents"),
        ("patch", DOCUMENT),
    ],
)
def test_documents_refuse_what_the_document_forbids(
    shelving: Described, api: BaseSchema, method: str, path: str
) -> None:
    negative = GenerationMode.NEGATIVE
    cases = api[path][method].as_strategy(generation_mode=negative)
    assert fuzz(cases, shelving) & {400, 404, 415}


def test_documents_are_brought_and_shown_as_the_document_describes_them(
    shelving: Described, api: BaseSchema
) -> None:
    names = {"name": "Handbook (2026)"}

    def ask(method: str, path: str, status: int, **case: Any) -> Any:
        given = {name: value for name, value in names.items() if f"{{{name}}}" in path}
        response = (
            api[path][method]
            .Case(path_parameters=given, **case)
            .call_and_validate(
                base_url=shelving.gateway.url, checks=CHECKS, timeout=TIMEOUT_S
            )
        )
        assert response.status_code == status, (method, path)
        return response

    def send(method: str, path: str, status: int, body: Any) -> Any:
        return ask(method, path, status, body=body, media_type="application/json")

    def bring(method: str, path: str, status: int) -> Any:
        body = {"file": b"%PDF-1.7 " + method.encode(), "attributes": '{"a": 1}'}
        return ask(method, path, status, body=body, media_type="multipart/form-data")

    send("post", "/api/collections", 201, dict(names))
    send("patch", COLLECTION, 200, {"is_strict": True, "per_document": None})
    taken = bring("post", f"{COLLECTION}/documents", 202)
    bring("post", f"{COLLECTION}/documents", 200)
    names["document_id"] = taken.json()["id"]
    bring("put", DOCUMENT, 202)
    send("patch", DOCUMENT, 200, {"attributes": {"b": "c"}})
    for path in ("/api/collections", COLLECTION, f"{COLLECTION}/documents", DOCUMENT):
        ask("get", path, 200)
    ask("get", f"{DOCUMENT}/file", 200)
    ask("get", f"{DOCUMENT}/text", 409)
    send("post", f"{COLLECTION}/search", 200, {"query": "hello"})
    send("post", f"{COLLECTION}/reindex", 202, {"chunk_tokens": 90})
    ask("delete", f"{COLLECTION}/reindex", 204)
    ask("post", f"{COLLECTION}/rollback", 400)
    ask("delete", DOCUMENT, 204)
    ask("delete", COLLECTION, 204)


@pytest.mark.parametrize("path", POSTS)
def test_what_the_document_forbids_is_refused_as_it_says(
    described: Described, api: BaseSchema, path: str
) -> None:
    negative = GenerationMode.NEGATIVE
    cases = api[path]["post"].as_strategy(generation_mode=negative)
    assert 400 in fuzz(cases, described)


@pytest.mark.parametrize("path", POSTS)
def test_requests_for_a_model_that_exists_are_answered_as_documented(
    described: Described, api: BaseSchema, path: str
) -> None:
    cases = api[path]["post"].as_strategy().map(for_the_known_model)
    assert 200 in fuzz(cases, described)


def for_the_known_model(case: Case[Any]) -> Case[Any]:
    """Keep what any upstream takes: a simulator judges tools and formats itself."""
    assert isinstance(case.body, dict)
    case.body = {name: case.body[name] for name in PLAIN if name in case.body}
    case.body["model"] = KNOWN_MODEL
    if "messages" in case.body:
        case.body["messages"] = [{"role": "user", "content": "hi"}]
    if isinstance(size := case.body.get("dimensions"), int):
        case.body["dimensions"] = min(size, 64)  # it writes as many as it is asked for
    return case


def fuzz(cases: SearchStrategy[Case[Any]], described: Described) -> set[int]:
    """Send cases and check the answers; give the statuses seen."""
    seen: set[int] = set()

    @given(case=cases)
    @FEW
    def send(case: Case[Any]) -> None:
        response = case.call_and_validate(
            base_url=described.gateway.url,
            checks=CHECKS,
            timeout=TIMEOUT_S,
            headers=described.headers,
        )
        seen.add(response.status_code)

    send()
    return seen


def test_the_document_is_valid_and_lists_the_apis_alone(
    described: Described,
) -> None:
    validate_schema(described.document)  # type: ignore[no-untyped-call]
    listed = {
        (method, path)
        for path, operations in described.document["paths"].items()
        for method in operations
    }
    assert listed == set().union(
        ROUTES,
        MANAGEMENT_ROUTES,
        MEMORY_ROUTES,
        DOCUMENT_ROUTES,
        VECTOR_STORE_ROUTES,
    )


def test_the_chat_request_documents_what_the_gateway_checks(
    described: Described,
) -> None:
    operation = described.document["paths"]["/v1/chat/completions"]["post"]
    body = operation["requestBody"]["content"]["application/json"]["schema"]
    assert body["required"] == ["model", "messages"]
    assert {"session_id", "rag_collection", "rag_top_k", "rag_filters", "stream"} <= set(body["properties"])  # fmt: skip
    ok = operation["responses"]["200"]["content"]
    assert set(ok) == {"application/json", "text/event-stream"}


def test_the_page_shows_it_with_nothing_from_elsewhere(described: Described) -> None:
    client = described.gateway.client
    page = client.get("/docs")
    assert page.status == 200
    text = page.body.decode()
    links = re.findall(r'(?:src|href)="([^"]+)"', text)
    assert len(links) >= 3
    for link in links:
        assert link.startswith("/"), link
        assert client.get(link).status == 200, link
    assert "/docs/openapi.json" in text
    assert not re.search(r"https?://(?!127\.0\.0\.1|localhost)[a-z]", text)
