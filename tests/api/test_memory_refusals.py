"""The REST API of memory: who may not, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from gateway.models import ApiKey
from memory.models import MemoryPolicy, Session
from tests.api.gateway_process import Gateway
from tests.api.memory_client import Rememberer, rememberer

ALICE = {"role": "user", "content": "My name is Alice and I keep bees."}


@pytest.fixture(scope="module")
def guarded(start_gateway: Callable[..., Gateway]) -> Gateway:
    """Start a gateway with keywords alone: its embedder is nowhere."""
    return start_gateway(
        AILB_AUTH="required", ENABLE_MEMORY="true", EMBEDDING_MODEL="/nonexistent"
    )


@pytest.fixture
def me(guarded: Gateway) -> Rememberer:
    """Give a key that has a tenant of its own."""
    return rememberer(guarded)


def test_another_tenants_session_looks_like_none(guarded: Gateway) -> None:
    me, other = rememberer(guarded), rememberer(guarded)
    other.add("theirs", ALICE)
    for method, action, body in [
        ("GET", "", None),
        ("GET", "?superseded=true", None),
        ("GET", "/export", None),
        ("POST", "/search", {"query": "Alice"}),
        ("DELETE", "", None),
    ]:
        theirs = me.send(method, f"/theirs{action}", body)
        nobodys = me.send(method, f"/nobodys{action}", body)
        assert theirs.status == nobodys.status == 404
        assert theirs.body == nobodys.body
    assert me.send("DELETE", f"?owner={other.public_id}").json == {"deleted": 0}
    me.add("theirs", "mine")
    assert other.texts("theirs") == [ALICE["content"]]


def test_an_ended_session_is_gone(me: Rememberer, guarded: Gateway) -> None:
    me.add("s", ALICE)
    rows = guarded.rows(Session).filter(owner=me.public_id)
    rows.update(expires_at=timezone.now() - timedelta(seconds=1))
    assert me.send("GET", "/s").status == 404
    assert me.session_ids() == []


def test_a_key_needs_the_right_to_memory(guarded: Gateway) -> None:
    stranger = rememberer(guarded, rights=["chat", "management_read"])
    for method, path, body in [
        ("GET", "", None),
        ("DELETE", "?all=true", None),
        ("GET", "/s", None),
        ("DELETE", "/s", None),
        ("GET", "/s/export", None),
        ("POST", "/s/turns", {"turns": [ALICE]}),
        ("POST", "/s/search", {"query": "q"}),
    ]:
        refused = stranger.send(method, path, body)
        assert (refused.status, refused.code) == (403, "permission_denied")
        assert "memory" in refused.json["error"]["message"]
        nobody = Rememberer(guarded.client).send(method, path, body)
        assert (nobody.status, nobody.code) == (401, "invalid_api_key")


IMPORTS: list[tuple[Any, str]] = [
    ({}, "turns"),
    ({"turns": None}, "turns"),
    ({"turns": "hello"}, "turns"),
    ({"turns": []}, "turns"),
    ({"turns": [ALICE] * 1001}, "turns"),
    ({"turns": [ALICE], "session": "s"}, "session"),
    ({"turns": [ALICE, 7]}, "turns[1]"),
    ({"turns": [ALICE, {"role": "user"}]}, "turns[1].content"),
    ({"turns": [{"content": "hello"}]}, "turns[0].role"),
    ({"turns": [{**ALICE, "role": "system"}]}, "turns[0].role"),
    ({"turns": [{**ALICE, "content": 7}]}, "turns[0].content"),
    ({"turns": [{**ALICE, "created": "yesterday"}]}, "turns[0].created"),
    ({"turns": [{**ALICE, "external_id": 7}]}, "turns[0].external_id"),
    ({"turns": [{**ALICE, "external_id": "x" * 201}]}, "turns[0].external_id"),
    ({"turns": [{**ALICE, "model": "m"}]}, "turns[0].model"),
]
SEARCHES: list[tuple[Any, str]] = [
    ({}, "query"),
    ({"query": 7}, "query"),
    ({"query": " "}, "query"),
    ({"query": "x" * 10_001}, "query"),
    ({"query": "q", "k": 0}, "k"),
    ({"query": "q", "k": 101}, "k"),
    ({"query": "q", "k": "3"}, "k"),
    ({"query": "q", "k": True}, "k"),
    ({"query": "q", "top": 1}, "top"),
]
PATHS = [
    ("GET", "?limit=0", "limit"),
    ("GET", "?limit=1001", "limit"),
    ("GET", "?after=nonsense", "after"),
    ("GET", "?owner=x", "owner"),
    ("GET", "/s?after_seq=-1", "after_seq"),
    ("GET", "/s?limit=x", "limit"),
    ("GET", "/s?superseded=yes", "superseded"),
    ("GET", "/s?after=1", "after"),
    ("GET", "/a%00b", "session_id"),
    ("GET", "/" + "x" * 257, "session_id"),
    ("DELETE", "/a%07", "session_id"),
]


@pytest.mark.parametrize(("body", "param"), IMPORTS)
def test_an_import_that_is_not_valid_names_the_field_and_keeps_nothing(
    me: Rememberer, body: Any, param: str
) -> None:
    reply = me.send("POST", "/s/turns", body)
    assert (reply.status, reply.json["error"]["param"]) == (400, param), reply.body
    assert reply.json["error"]["type"] == "invalid_request_error"
    assert me.session_ids() == []


@pytest.mark.parametrize(("body", "param"), SEARCHES)
def test_a_search_that_is_not_valid_names_the_field(
    me: Rememberer, body: Any, param: str
) -> None:
    me.add("s", ALICE)
    reply = me.send("POST", "/s/search", body)
    assert (reply.status, reply.json["error"]["param"]) == (400, param), reply.body


@pytest.mark.parametrize(("method", "path", "param"), PATHS)
def test_a_path_that_is_not_valid_names_the_parameter(
    me: Rememberer, method: str, path: str, param: str
) -> None:
    me.add("s", ALICE)
    reply = me.send(method, path)
    assert (reply.status, reply.json["error"]["param"]) == (400, param), reply.body


def test_a_body_is_json_and_other_methods_are_none(me: Rememberer) -> None:
    form = me.client.post(
        "/api/memory/sessions/s/turns",
        b"turns=",
        **{**me.headers, "content-type": "application/x-www-form-urlencoded"},
    )
    assert (form.status, form.code) == (415, "unsupported_media_type")
    assert me.send("POST", "/s/turns", [ALICE]).status == 400
    for method, path, allowed in [
        ("POST", "", {"GET", "HEAD", "DELETE"}),
        ("PUT", "/s", {"GET", "HEAD", "DELETE"}),
        ("GET", "/s/turns", {"POST"}),
        ("DELETE", "/s/export", {"GET", "HEAD"}),
    ]:
        refused = me.send(method, path)
        assert refused.status == 405
        assert set(refused.headers["allow"].split(", ")) == allowed


def test_where_sessions_are_not_kept_nothing_is_imported(
    guarded: Gateway, me: Rememberer
) -> None:
    row = guarded.rows(ApiKey).get(public_id=me.public_id)
    guarded.rows(MemoryPolicy).create(api_key=row, is_enabled=False)
    guarded.apply()
    refused = me.send("POST", "/s/turns", {"turns": [ALICE]})
    assert (refused.status, refused.code) == (403, "memory_off")
    assert me.session_ids() == []


def test_switched_off_memory_says_so(start_gateway: Callable[..., Gateway]) -> None:
    me = Rememberer(start_gateway(ENABLE_MEMORY="false").client)
    for method, path, body in [
        ("GET", "", None),
        ("GET", "/s", None),
        ("DELETE", "/s", None),
        ("POST", "/s/turns", {"turns": [ALICE]}),
        ("POST", "/s/search", {"query": "q"}),
        ("GET", "/s/export", None),
    ]:
        off = me.send(method, path, body)
        assert (off.status, off.code) == (503, "memory_disabled")
        assert "ENABLE_MEMORY" in off.json["error"]["message"]
        assert "retry-after" not in off.headers
