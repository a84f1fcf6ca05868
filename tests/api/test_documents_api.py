"""The REST API of documents: listed, shown, changed, given back, searched, deleted."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from rag.models import Document, Version
from tests.api.documents_client import (
    TEXT,
    Librarian,
    at,
    form_of,
    librarian,
    no_failures,
)
from tests.api.gateway_process import Gateway, wait_until
from tests.api.rag_scenes import running_jobs

SHOWN = {
    "id", "collection", "filename", "attributes", "owner", "state", "code", "reason",
    "media_type", "bytes", "sha256", "pages", "characters", "version", "chunks",
    "chunks_done", "is_searchable", "created", "finished",
}  # fmt: skip
HIT = {
    "document_id", "filename", "text", "page", "start", "end", "score", "score_parts",
}  # fmt: skip
NOBODY = "0" * 32


@pytest.fixture(scope="module")
def guarded(start_gateway: Callable[..., Gateway]) -> Iterator[Gateway]:
    gateway = start_gateway(AILB_AUTH="required", ENABLE_RAG="true")
    with no_failures(gateway):
        yield gateway


@pytest.fixture(scope="module")
def me(guarded: Gateway) -> Librarian:
    return librarian(guarded)


@pytest.fixture
def shelf(me: Librarian) -> str:
    """Give an empty collection."""
    return me.make()


# --- Indexed and found, before there is more to index ---------------------------------------

LEAVE = """# Parental leave

The parental leave is fourteen weeks long. Ask for it in writing, three months before.

# Bees

The garden of the office has four hives. Grüße from the beekeepers: honey is free in June.
"""


@pytest.fixture(scope="module")
def indexed(guarded: Gateway, me: Librarian) -> tuple[str, str, str]:
    """Give a collection with two documents that are ready, and their ids."""
    name = me.make(chunk_tokens=40, chunk_overlap=0, joins_neighbours=True)
    first = me.add(name, LEAVE.encode(), "handbook.md", attributes={"year": 2026})
    second = me.add(name, b"Cars are parked behind the house.", "cars.txt")
    with running_jobs(guarded):
        states = [each["state"] for each in me.wait_for(name, first, second)]
    assert states == ["ready", "ready"]
    return name, first, second


def test_a_document_that_is_ready_says_what_it_holds(
    me: Librarian, indexed: tuple[str, str, str]
) -> None:
    name, first, _ = indexed
    shown = me.get(at(name, "documents", first))
    assert (shown["is_searchable"], shown["media_type"]) == (True, "text/markdown")
    assert shown["chunks"] == shown["chunks_done"] >= 2
    assert datetime.fromisoformat(shown["finished"]) >= datetime.fromisoformat(
        shown["created"]
    )
    assert me.get(at(name))["documents"]["ready"] == 2


def test_what_is_found_stands_where_the_answer_says(
    me: Librarian, indexed: tuple[str, str, str]
) -> None:
    name, first, second = indexed
    reply = me.send("GET", at(name, "documents", first, "text"))
    assert reply.headers["content-type"] == "text/plain; charset=utf-8"
    assert reply.headers["x-content-type-options"] == "nosniff"
    text = reply.body.decode()
    found = me.find(name, "How long is the parental leave?", k=100)
    assert found["status"] == "hit", found
    best = found["results"][0]
    assert set(best) == HIT
    assert (best["document_id"], best["filename"]) == (first, "handbook.md")
    assert "fourteen weeks" in best["text"]
    scores = [hit["score"] for hit in found["results"]]
    assert scores == sorted(scores, reverse=True)
    assert {"dense", "keyword"} <= set(best["score_parts"])
    mine = [hit for hit in found["results"] if hit["document_id"] == first]
    # Every chunk stands alone, although the collection joins neighbours.
    assert len(mine) == me.get(at(name, "documents", first))["chunks"]
    for hit in mine:
        assert hit["text"] == text[hit["start"] : hit["end"]]
    assert {hit["document_id"] for hit in found["results"]} == {first, second}
    assert len(me.find(name, "leave", k=1)["results"]) == 1


def test_a_search_may_be_narrowed_by_attributes(
    me: Librarian, indexed: tuple[str, str, str]
) -> None:
    name, first, _ = indexed
    recent = {"type": "gte", "key": "year", "value": 2026}
    found = me.find(name, "Where are cars parked?", filters=recent, k=100)
    assert {hit["document_id"] for hit in found["results"]} == {first}
    older = {"type": "and", "filters": [{**recent, "type": "lt"}]}
    assert me.find(name, "leave", filters=older)["results"] == []


def test_what_is_found_stays_while_a_replacement_is_on_its_way(
    me: Librarian, indexed: tuple[str, str, str]
) -> None:
    name, _, second = indexed
    assert me.upload(name, b"No cars.", "no.txt", document_id=second).status == 202
    shown = me.get(at(name, "documents", second))
    assert (shown["state"], shown["is_searchable"]) == ("queued", True)
    text = me.send("GET", at(name, "documents", second, "text")).body.decode()
    assert "behind the house" in text
    assert me.send("DELETE", at(name, "documents", second)).status == 204
    found = me.find(name, "Where are cars parked?", k=100)
    assert second not in {hit["document_id"] for hit in found["results"]}


# --- Listed, shown, changed, deleted ---------------------------------------------------------


def test_a_document_is_listed_and_shown(me: Librarian, shelf: str) -> None:
    document_id = me.add(shelf)
    shown = me.get(at(shelf, "documents", document_id))
    assert set(shown) == SHOWN
    assert (shown["state"], shown["is_searchable"]) == ("queued", False)
    assert (shown["code"], shown["reason"], shown["finished"]) == (None, None, None)
    assert datetime.fromisoformat(shown["created"]).tzinfo is not None
    listed = me.get(at(shelf, "documents"))
    assert listed == {"results": [shown], "next": None}
    assert me.get(at(shelf))["documents"] == {
        "total": 1,
        "ready": 0,
        "failed": 0,
        "in_progress": 1,
        "bytes": len(TEXT),
    }


def test_documents_come_in_pages_the_newest_first(me: Librarian, shelf: str) -> None:
    made = [me.add(shelf, b"Number %d" % number) for number in range(5)]
    seen, query = [], "?limit=2"
    while True:
        page = me.get(at(shelf, "documents") + query)
        assert 1 <= len(page["results"]) <= 2
        seen += [row["id"] for row in page["results"]]
        if page["next"] is None:
            break
        query = f"?limit=2&after={page['next']}"
    assert seen == made[::-1]


@pytest.mark.parametrize(
    ("query", "param"),
    [
        ("?limit=0", "limit"),
        ("?limit=1001", "limit"),
        ("?limit=x", "limit"),
        ("?after=nonsense", "after"),
        ("?after=%00", "after"),
        ("?state=ready", "state"),
    ],
)
def test_a_page_that_is_none_is_refused(
    me: Librarian, shelf: str, query: str, param: str
) -> None:
    reply = me.send("GET", at(shelf, "documents") + query)
    assert (reply.status, reply.json["error"]["param"]) == (400, param), reply.body


def test_attributes_are_put_in_the_place_of_others(me: Librarian, shelf: str) -> None:
    document_id = me.add(shelf, attributes={"year": 2025, "author": "Ann"})
    path = at(shelf, "documents", document_id)
    changed = me.send("PATCH", path, {"attributes": {"year": 2026.5, "open": True}})
    assert changed.status == 200
    assert changed.json["attributes"] == {"year": 2026.5, "open": True}
    assert me.get(path) == changed.json
    assert me.send("PATCH", path, {"attributes": {}}).json["attributes"] == {}


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({}, "attributes"),
        ({"attributes": None}, "attributes"),
        ({"attributes": []}, "attributes"),
        ({"attributes": {"a": None}}, "attributes"),
        ({"attributes": {"a": [1]}}, "attributes"),
        ({"attributes": {"a": "x" * 513}}, "attributes"),
        ({"attributes": {str(n): n for n in range(17)}}, "attributes"),
        ({"attributes": {}, "filename": "x"}, "filename"),
        ([], None),
    ],
)
def test_attributes_that_are_none_are_refused(
    me: Librarian, shelf: str, body: Any, param: str | None
) -> None:
    path = at(shelf, "documents", me.add(shelf))
    reply = me.send("PATCH", path, body)
    assert (reply.status, reply.json["error"]["param"]) == (400, param), reply.body
    assert me.get(path)["attributes"] == {}


def test_a_deleted_document_is_gone_with_its_file(
    me: Librarian, guarded: Gateway, shelf: str
) -> None:
    document_id = me.add(shelf)
    version = guarded.rows(Version).get(document__uid=document_id)
    folder = guarded.data_dir / "documents" / "versions" / version.uid
    assert folder.is_dir()
    gone = me.send("DELETE", at(shelf, "documents", document_id))
    assert (gone.status, gone.body) == (204, b"")
    assert not folder.exists()
    assert not guarded.rows(Document).filter(uid=document_id).exists()
    assert me.document_ids(shelf) == []


@pytest.mark.parametrize(
    ("method", "ending", "body"),
    [
        ("GET", "", None),
        ("PATCH", "", {"attributes": {}}),
        ("DELETE", "", None),
        ("GET", "/file", None),
        ("GET", "/text", None),
    ],
)
def test_what_is_not_there_is_not_found(
    me: Librarian, shelf: str, method: str, ending: str, body: Any
) -> None:
    for document_id in (NOBODY, "a\0b", "..", "é", "x" * 300):
        path = at(shelf, "documents", document_id) + ending
        if document_id == "..":
            path = path.replace("..", "%2e%2e")
        reply = me.send(method, path, body)
        assert (reply.status, reply.code) == (404, "document_not_found"), path
    other = me.make()
    path = at(other, "documents", me.add(shelf)) + ending
    assert me.send(method, path, body).code == "document_not_found"


# --- Given back -----------------------------------------------------------------------------

CASES = [
    (
        b"<p>Hello</p><script>alert(1)</script>",
        "page.html",
        "application/octet-stream",
        'attachment; filename="page.html"',
    ),
    (
        b"# Hello\n\nworld\n",
        "notes.md",
        "text/markdown",
        'attachment; filename="notes.md"',
    ),
    (b"a,b\n1,2\n", "a;b.csv", "text/csv", 'attachment; filename="a;b.csv"'),
    (
        "Grüße\n".encode(),
        "Größe 会.txt",
        "text/plain",
        "attachment; filename*=utf-8''Gr%C3%B6%C3%9Fe%20%E4%BC%9A.txt",
    ),
]


@pytest.mark.parametrize(("content", "filename", "media_type", "disposition"), CASES)
def test_a_file_is_given_back_as_it_came_but_never_opened(
    me: Librarian,
    shelf: str,
    content: bytes,
    filename: str,
    media_type: str,
    disposition: str,
) -> None:
    document_id = me.add(shelf, content, filename)
    reply = me.send("GET", at(shelf, "documents", document_id, "file"))
    assert (reply.status, reply.body) == (200, content)
    assert reply.headers["content-type"] == media_type
    assert reply.headers["content-disposition"] == disposition
    assert reply.headers["content-length"] == str(len(content))
    assert reply.headers["x-content-type-options"] == "nosniff"
    assert reply.headers["content-security-policy"].startswith("sandbox;")


def test_a_quote_in_a_file_name_stays_in_it(me: Librarian, shelf: str) -> None:
    form = form_of((r'name="file"; filename="say \"hi\"; x=1.txt"', TEXT))
    added = me.send_form("POST", at(shelf, "documents"), form)
    assert added.json["filename"] == 'say "hi"; x=1.txt'
    path = at(shelf, "documents", added.json["id"], "file")
    disposition = me.send("GET", path).headers["content-disposition"]
    assert disposition == r'attachment; filename="say \"hi\"; x=1.txt"'


def test_a_large_file_is_given_back_whole(me: Librarian, shelf: str) -> None:
    content = os.urandom(1_500_000).hex().encode()
    document_id = me.add(shelf, content)
    path = at(shelf, "documents", document_id, "file")
    assert me.send("GET", path).body == content
    headed = me.send("HEAD", path)
    assert (headed.status, headed.body) == (200, b"")
    assert headed.headers["content-length"] == str(len(content))
    assert me.send("DELETE", at(shelf)).status == 204  # nobody is to index it


def test_the_file_is_the_one_that_was_brought_last(me: Librarian, shelf: str) -> None:
    document_id = me.add(shelf)
    me.upload(shelf, b"# New words", "new.md", document_id=document_id)
    reply = me.send("GET", at(shelf, "documents", document_id, "file"))
    assert reply.body == b"# New words"
    assert 'filename="new.md"' in reply.headers["content-disposition"]


def test_a_client_that_leaves_a_download_harms_nobody(
    me: Librarian, guarded: Gateway, shelf: str
) -> None:
    document_id = me.add(shelf, os.urandom(4_000_000).hex().encode())
    path = f"/api/collections{at(shelf, 'documents', document_id, 'file')}"
    for _ in range(3):
        with me.client._http.stream("GET", path, headers=me.headers) as response:
            assert next(response.iter_raw(1000))
    wait_until(
        lambda: not [name for name in open_files(guarded) if "/original" in name],
        "the file is closed",
    )
    assert me.send("DELETE", at(shelf)).status == 204  # nobody is to index it


def open_files(gateway: Gateway) -> list[str]:
    """Name the files that the gateway's process has open."""
    names = []
    for link in Path(f"/proc/{gateway.processes[0].pid}/fd").iterdir():
        with suppress(FileNotFoundError):  # closed since it was listed
            names.append(str(link.readlink()))
    return names


def test_the_text_is_there_when_the_document_is_ready(
    me: Librarian, shelf: str
) -> None:
    path = at(shelf, "documents", me.add(shelf), "text")
    reply = me.send("GET", path)
    assert (reply.status, reply.code) == (409, "document_not_ready")
    assert len(reply.json["error"]["message"]) > 20
