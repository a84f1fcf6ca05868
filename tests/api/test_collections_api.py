"""The REST API of collections: made, listed, shown, changed, searched and deleted."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any

import pytest

from rag.models import Collection, Document, Index
from tests.api.documents_client import Librarian, at, librarian, no_failures
from tests.api.gateway_process import Gateway, fresh

SHOWN = {
    "id", "name", "description", "owner", "visibility", "is_strict", "is_required",
    "top_k", "max_tokens", "per_document", "min_score", "relative_cut",
    "joins_neighbours", "documents", "index", "building", "previous", "created",
    "last_used",
}  # fmt: skip
ODD_NAMES = [
    "Employee handbook (2026)",
    "R+D 1.0_final-draft",
    "Größe",
    "会話",
    "documents",
    "reindex",
    "a",
    "x" * 100,
]
ROUTES = [
    ("GET", ""),
    ("POST", ""),
    ("GET", "/x"),
    ("PATCH", "/x"),
    ("DELETE", "/x"),
    ("POST", "/x/search"),
    ("POST", "/x/reindex"),
    ("DELETE", "/x/reindex"),
    ("POST", "/x/rollback"),
    ("GET", "/x/documents"),
    ("POST", "/x/documents"),
    ("GET", "/x/documents/1"),
    ("PUT", "/x/documents/1"),
    ("PATCH", "/x/documents/1"),
    ("DELETE", "/x/documents/1"),
    ("GET", "/x/documents/1/file"),
    ("GET", "/x/documents/1/text"),
]


@pytest.fixture(scope="module")
def guarded(start_gateway: Callable[..., Gateway]) -> Iterator[Gateway]:
    """Start a gateway with keywords alone: its embedder is nowhere."""
    gateway = start_gateway(
        AILB_AUTH="required", ENABLE_RAG="true", EMBEDDING_MODEL="/nonexistent"
    )
    with no_failures(gateway):
        yield gateway


@pytest.fixture
def me(guarded: Gateway) -> Librarian:
    """Give a key that has a tenant of its own."""
    return librarian(guarded)


# --- Made, listed, shown, changed, deleted ---------------------------------------------------


def test_a_name_is_enough_for_a_collection(me: Librarian) -> None:
    made = me.send("POST", "", {"name": "handbook"})
    assert made.status == 201
    assert set(made.json) == SHOWN
    assert made.json["name"] == "handbook"
    assert made.json["owner"] == me.public_id
    assert made.json["documents"]["total"] == 0
    assert made.json["index"]["state"] == "active"
    assert (made.json["building"], made.json["previous"]) == (None, None)
    assert datetime.fromisoformat(made.json["created"]).tzinfo is not None
    assert me.get("/handbook") == made.json
    assert me.get() == {"results": [made.json]}


def test_a_collection_is_made_with_its_settings_and_changed(me: Librarian) -> None:
    fields: dict[str, Any] = {
        "description": "What we agreed on",
        "is_strict": True,
        "is_required": True,
        "top_k": 7,
        "max_tokens": 900,
        "per_document": 2,
        "min_score": 0.25,
        "relative_cut": 0.5,
        "joins_neighbours": False,
    }
    name = me.make(**fields, chunk_tokens=100, chunk_overlap=10)
    shown = me.get(at(name))
    assert {key: shown[key] for key in fields} == fields
    assert shown["index"]["chunk_tokens"] == 100
    assert shown["index"]["chunk_overlap"] == 10
    changed = me.send("PATCH", at(name), {"top_k": 1, "per_document": None})
    assert changed.status == 200
    assert changed.json == {**shown, "top_k": 1, "per_document": None}
    assert me.get(at(name)) == changed.json
    assert me.send("PATCH", at(name), {}).json == changed.json


def test_collections_are_listed_by_name(me: Librarian) -> None:
    for name in ("beta", "alpha", "gamma"):
        me.make(name)
    assert me.names() == ["alpha", "beta", "gamma"]


def test_a_collection_is_renamed(me: Librarian) -> None:
    me.make("old")
    assert me.send("PATCH", "/old", {"name": "new"}).json["name"] == "new"
    assert me.send("GET", "/old").status == 404
    assert me.names() == ["new"]


def test_a_deleted_collection_is_gone_with_what_is_in_it(
    me: Librarian, guarded: Gateway
) -> None:
    name = me.make()
    me.add(name)
    uid = me.get(at(name))["id"]
    gone = me.send("DELETE", at(name))
    assert (gone.status, gone.body) == (204, b"")
    assert "content-length" not in gone.headers
    assert not guarded.rows(Collection).filter(uid=uid).exists()
    assert not guarded.rows(Index).filter(collection__uid=uid).exists()
    assert not guarded.rows(Document).filter(collection__uid=uid).exists()
    again = me.send("DELETE", at(name))
    assert (again.status, again.code) == (404, "collection_not_found")
    me.make(name)
    assert me.document_ids(name) == []


def test_names_are_taken_once(me: Librarian) -> None:
    me.make("handbook")
    me.make("other")
    for method, path in (("POST", ""), ("PATCH", "/other")):
        taken = me.send(method, path, {"name": "handbook"})
        assert (taken.status, taken.code) == (409, "name_taken"), path
        assert taken.json["error"]["param"] == "name"
    assert me.names() == ["handbook", "other"]


@pytest.mark.parametrize("name", ODD_NAMES)
def test_a_name_may_hold_spaces_and_letters_of_any_script(
    me: Librarian, name: str
) -> None:
    me.make(name)
    me.make("another")
    assert me.get(at(name))["name"] == name
    document_id = me.add(name)
    assert me.get(at(name, "documents", document_id))["collection"] == name
    found = me.send("POST", at(name, "search"), {"query": "leave"})
    assert (found.status, found.json["results"]) == (200, [])
    assert me.send("DELETE", at(name)).status == 204
    assert me.names() == ["another"]


def test_an_encoded_slash_never_reaches_another_route(me: Librarian) -> None:
    me.make("handbook")
    document_id = me.add("handbook")
    for name in (f"handbook/documents/{document_id}", "handbook/documents", "a/b"):
        for method in ("GET", "DELETE"):
            path = at(name)
            for sent in (path, path.replace("%2F", "%2f")):
                reply = me.send(method, sent)
                assert (reply.status, reply.code) == (404, "unknown_url"), sent
    assert me.document_ids("handbook") == [document_id]


BAD_FIELDS: list[tuple[Any, str | None]] = [
    ({}, "name"),
    ({"name": None}, "name"),
    ({"name": 1}, "name"),
    ({"name": ""}, "name"),
    ({"name": "a/b"}, "name"),
    ({"name": "a\0b"}, "name"),
    ({"name": ".."}, "name"),
    ({"name": "x" * 101}, "name"),
    ({"name": "x", "top_k": 0}, "top_k"),
    ({"name": "x", "top_k": True}, "top_k"),
    ({"name": "x", "top_k": "3"}, "top_k"),
    ({"name": "x", "min_score": 1.5}, "min_score"),
    ({"name": "x", "is_strict": 1}, "is_strict"),
    ({"name": "x", "description": []}, "description"),
    ({"name": "x", "tenant": "theirs"}, "tenant"),
    ({"name": "x", "visibility": "everybody"}, "visibility"),
    ({"name": "x", "chunk_tokens": -1}, "chunk_tokens"),
    ([], None),
    ("x", None),
]


@pytest.mark.parametrize(("body", "param"), BAD_FIELDS)
def test_a_field_that_cannot_be_taken_is_named(
    me: Librarian, body: Any, param: str | None
) -> None:
    reply = me.send("POST", "", body)
    assert (reply.status, reply.json["error"]["param"]) == (400, param), reply.body
    assert reply.json["error"]["type"] == "invalid_request_error"
    assert me.names() == []


def test_how_chunks_are_made_is_locked(me: Librarian) -> None:
    name = me.make()
    reply = me.send("PATCH", at(name), {"chunk_tokens": 100})
    assert (reply.status, reply.json["error"]["param"]) == (400, "chunk_tokens")
    assert "re-index" in reply.json["error"]["message"]


def test_a_body_is_json(me: Librarian) -> None:
    reply = me.client.post(
        "/api/collections",
        b'{"name": "x"}',
        **{**me.headers, "content-type": "text/plain"},
    )
    assert (reply.status, reply.code) == (415, "unsupported_media_type")


def test_a_list_has_no_parameters(me: Librarian) -> None:
    reply = me.send("GET", "?limit=1")
    assert (reply.status, reply.json["error"]["param"]) == (400, "limit")


# --- Who may --------------------------------------------------------------------------------


@pytest.mark.parametrize(("method", "path"), ROUTES)
def test_every_route_takes_a_key_with_the_right(
    guarded: Gateway, method: str, path: str
) -> None:
    nobody = Librarian(guarded.client).send(method, path)
    assert (nobody.status, nobody.code) == (401, "invalid_api_key")
    other = Librarian(guarded.client, without_the_right(guarded)).send(method, path)
    assert (other.status, other.code) == (403, "permission_denied")
    assert "documents" in other.json["error"]["message"]


_keys: dict[str, str] = {}


def without_the_right(gateway: Gateway) -> str:
    """Give a key that may do everything else."""
    if gateway.url not in _keys:
        rights = ["chat", "embeddings", "memory", "management_read", "management_write"]
        _keys[gateway.url] = librarian(gateway, rights=rights).key
    return _keys[gateway.url]


def test_a_key_sees_the_collections_it_is_allowed(guarded: Gateway) -> None:
    tenant = fresh("tenant")
    whole = librarian(guarded, tenant)
    narrow = librarian(guarded, tenant, allowed_collections=["open", "Größe"])
    for name in ("open", "closed"):
        whole.make(name)
    assert narrow.names() == ["open"]
    closed = narrow.send("GET", "/closed")
    assert (closed.status, closed.code) == (404, "collection_not_found")
    refused = narrow.send("POST", "", {"name": "third"})
    assert (refused.status, refused.code) == (404, "collection_not_found")
    narrow.make("Größe")
    assert whole.names() == ["Größe", "closed", "open"]


def test_documents_that_are_switched_off_are_refused_by_name(
    start_gateway: Callable[..., Gateway],
) -> None:
    gateway = start_gateway(ENABLE_RAG="false")
    me = Librarian(gateway.client)
    for method, path in ROUTES:
        for body in (None, {"name": "x"}, {"nonsense": 1}):
            reply = me.send(method, path, body)
            assert (reply.status, reply.code) == (400, "rag_disabled"), path
            assert "ENABLE_RAG" in reply.json["error"]["message"]
    reply = me.upload("x", b"x" * 3_000_000)
    assert (reply.status, reply.code) == (400, "rag_disabled")
    assert not gateway.rows(Collection).exists()
    assert not list((gateway.data_dir / "documents").iterdir())


def test_without_a_key_the_collections_are_nobodys(
    start_gateway: Callable[..., Gateway],
) -> None:
    gateway = start_gateway(ENABLE_RAG="true", EMBEDDING_MODEL="/nonexistent")
    with no_failures(gateway):
        me = Librarian(gateway.client)
        name = me.make()
        assert me.get(at(name))["owner"] == ""
        document_id = me.add(name)
        assert me.document_ids(name) == [document_id]
        shown = me.get(at(name, "documents", document_id))
        assert (shown["owner"], shown["state"]) == ("", "queued")
        assert me.upload(name, b"Other", document_id=document_id).status == 202
        assert me.send("DELETE", at(name, "documents", document_id)).status == 204
        assert me.send("DELETE", at(name)).status == 204


# --- Search ---------------------------------------------------------------------------------


def test_a_search_of_an_empty_collection_finds_nothing(me: Librarian) -> None:
    name = me.make()
    found = me.send("POST", at(name, "search"), {"query": "How long is the leave?"})
    assert found.status == 200
    assert found.json["results"] == []
    assert found.json["status"] in {"miss", "degraded"}
    assert {"results", "status"} <= set(found.json) <= {"results", "status", "problem"}


BAD_SEARCHES: list[tuple[Any, str | None]] = [
    ({}, "query"),
    ({"query": None}, "query"),
    ({"query": 3}, "query"),
    ({"query": " \n"}, "query"),
    ({"query": "x" * 10_001}, "query"),
    ({"query": "x", "k": 0}, "k"),
    ({"query": "x", "k": 101}, "k"),
    ({"query": "x", "k": 1.5}, "k"),
    ({"query": "x", "top_k": 3}, "top_k"),
    ({"query": "x", "filters": "year"}, "filters"),
    ({"query": "x", "filters": {}}, "filters"),
    ({"query": "x", "filters": {"type": "like", "key": "a", "value": "b"}}, "filters"),
    ([], None),
]


@pytest.mark.parametrize(("body", "param"), BAD_SEARCHES)
def test_a_search_that_cannot_be_made_is_refused(
    me: Librarian, body: Any, param: str | None
) -> None:
    name = me.make()
    reply = me.send("POST", at(name, "search"), body)
    assert (reply.status, reply.json["error"]["param"]) == (400, param), reply.body


# --- Another index --------------------------------------------------------------------------


def test_another_index_is_built_beside_the_one_that_serves(me: Librarian) -> None:
    name = me.make()
    begun = me.send("POST", at(name, "reindex"), {"chunk_tokens": 90})
    assert begun.status == 202, begun.body
    assert begun.json["building"]["chunk_tokens"] == 90
    assert begun.json["index"] == me.get(at(name))["index"]
    gone = me.send("DELETE", at(name, "reindex"))
    assert (gone.status, gone.body) == (204, b"")
    assert me.get(at(name))["building"] is None


def test_another_index_may_be_built_as_the_settings_say(me: Librarian) -> None:
    name = me.make(chunk_tokens=90)
    assert me.send("POST", at(name, "reindex")).status == 202


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"chunk_tokens": 0}, "chunk_tokens"),
        ({"precision": "int4"}, "precision"),
        ({"model": 1}, "model"),
        ({"name": "x"}, "name"),
    ],
)
def test_an_index_that_cannot_be_built_is_refused(
    me: Librarian, body: Any, param: str
) -> None:
    name = me.make()
    reply = me.send("POST", at(name, "reindex"), body)
    assert (reply.status, reply.json["error"]["param"]) == (400, param), reply.body
    assert me.get(at(name))["building"] is None


def test_there_is_nothing_to_go_back_to_before_a_second_index(me: Librarian) -> None:
    name = me.make()
    reply = me.send("POST", at(name, "rollback"))
    assert 400 <= reply.status < 500, reply.body
    assert reply.status not in {404, 405, 415}
    assert me.send("POST", at(name, "rollback"), {"to": 1}).status == 400
