"""Two tenants with the same names: nobody ever reads or changes what is the other's."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from gateway.models import ApiKey, Tenant
from rag.models import Collection, Document, Visibility
from tests.api.documents_client import (
    FORM,
    Librarian,
    at,
    form_of,
    librarian,
    no_failures,
)
from tests.api.gateway_process import Gateway
from tests.client import Reply

SAME = "handbook"  # both tenants have one
NOWHERE = "nowhere"
NO_ID = "0" * 32
FILE = form_of(('name="file"; filename="a.txt"', b"Brought by a stranger"))
OF_COLLECTION: list[tuple[str, str, Any]] = [
    ("GET", "", None),
    ("PATCH", "", {"description": "changed"}),
    ("DELETE", "", None),
    ("POST", "/search", {"query": "leave", "k": 100}),
    ("POST", "/reindex", {"chunk_tokens": 100}),
    ("DELETE", "/reindex", None),
    ("POST", "/rollback", None),
    ("GET", "/documents", None),
    ("POST", "/documents", FILE),
]
OF_DOCUMENT: list[tuple[str, str, Any]] = [
    ("GET", "", None),
    ("PUT", "", FILE),
    ("PATCH", "", {"attributes": {"changed": True}}),
    ("DELETE", "", None),
    ("GET", "/file", None),
    ("GET", "/text", None),
]
WRITES = {"POST", "PUT", "PATCH", "DELETE"}


@dataclass(frozen=True)
class House:
    """A tenant with two collections and a document in each; `word` is only in its own."""

    word: str
    own: str  # the name of the collection that no other tenant has
    key: Librarian
    document_ids: tuple[str, str]  # in SAME and in `own`

    def state(self) -> Any:
        """Give all that its own key sees."""
        collections = self.key.get()["results"]
        for each in collections:
            each.pop("last_used")  # a search is no change
        documents = [
            self.key.get(at(each["name"], "documents")) for each in collections
        ]
        files = [
            self.key.send("GET", at(name, "documents", document_id, "file")).body
            for name, document_id in zip(
                (SAME, self.own), self.document_ids, strict=True
            )
        ]
        return collections, documents, files


@dataclass(frozen=True)
class Street:
    gateway: Gateway
    houses: tuple[House, House]


@pytest.fixture(scope="module")
def street(start_gateway: Callable[..., Gateway]) -> Iterator[Street]:
    gateway = start_gateway(
        AILB_AUTH="required", ENABLE_RAG="true", EMBEDDING_MODEL="/nonexistent"
    )
    houses = [settle(gateway, word) for word in ("kestrel", "walrus")]
    with no_failures(gateway):
        yield Street(gateway, (houses[0], houses[1]))


def settle(gateway: Gateway, word: str) -> House:
    key = librarian(gateway, word)
    own = key.make(f"only {word}")
    key.make(SAME)
    ids = [
        key.add(name, f"The {word} has {name} leave.".encode(), f"{word}.txt")
        for name in (SAME, own)
    ]
    return House(word, own, key, (ids[0], ids[1]))


def ask(key: Librarian, method: str, path: str, body: Any) -> Reply:
    if isinstance(body, bytes):
        return key.send_form(method, path, body, FORM)
    return key.send(method, path, body)


def without_its_own(reply: Reply) -> tuple[int, list[tuple[str, str]], bytes]:
    """Give an answer to the byte, but for what is another one each time."""
    headers = [
        (name, value)
        for name, value in reply.headers.multi_items()
        if name != "x-request-id"
    ]
    return reply.status, headers, reply.body


@pytest.mark.parametrize("who", [0, 1])
@pytest.mark.parametrize(("method", "ending", "body"), OF_COLLECTION)
def test_anothers_collection_is_as_one_that_is_not_there(
    street: Street, who: int, method: str, ending: str, body: Any
) -> None:
    me, other = street.houses[who], street.houses[1 - who]
    before = other.state()
    theirs = ask(me.key, method, at(other.own) + ending, body)
    nobodys = ask(me.key, method, at(NOWHERE) + ending, body)
    assert (theirs.status, theirs.code) == (404, "collection_not_found")
    assert without_its_own(theirs) == without_its_own(nobodys)
    assert other.state() == before


@pytest.mark.parametrize("who", [0, 1])
@pytest.mark.parametrize(("method", "ending", "body"), OF_DOCUMENT)
def test_anothers_document_is_as_one_that_is_not_there(
    street: Street, who: int, method: str, ending: str, body: Any
) -> None:
    me, other = street.houses[who], street.houses[1 - who]
    before = other.state(), me.state()
    in_own = at(other.own, "documents", other.document_ids[1]) + ending
    in_none = at(NOWHERE, "documents", NO_ID) + ending
    theirs, nobodys = (ask(me.key, method, path, body) for path in (in_own, in_none))
    assert (theirs.status, theirs.code) == (404, "collection_not_found")
    assert without_its_own(theirs) == without_its_own(nobodys)
    # The same name is another collection: their document is not in it.
    in_same, in_none = (
        at(SAME, "documents", document_id) + ending
        for document_id in (other.document_ids[0], NO_ID)
    )
    theirs, nobodys = (ask(me.key, method, path, body) for path in (in_same, in_none))
    assert (theirs.status, theirs.code) == (404, "document_not_found")
    assert without_its_own(theirs) == without_its_own(nobodys)
    assert (other.state(), me.state()) == before


@pytest.mark.parametrize("who", [0, 1])
def test_nothing_that_one_may_read_names_the_other(street: Street, who: int) -> None:
    me, other = street.houses[who], street.houses[1 - who]
    mine = at(SAME, "documents", me.document_ids[0])
    seen = b"".join(
        ask(me.key, method, path, body).body
        for method, path, body in [
            ("GET", "", None),
            ("GET", at(SAME), None),
            ("POST", at(SAME, "search"), {"query": f"{other.word} leave", "k": 100}),
            ("GET", at(SAME, "documents"), None),
            ("GET", mine, None),
            ("GET", f"{mine}/file", None),
        ]
    )
    assert me.word.encode() in seen
    assert other.word.encode() not in seen


@pytest.mark.parametrize("who", [0, 1])
def test_the_same_name_is_changed_for_one_alone(street: Street, who: int) -> None:
    me, other = street.houses[who], street.houses[1 - who]
    before = other.state()
    assert me.key.send("PATCH", at(SAME), {"top_k": 5 + who}).json["top_k"] == 5 + who
    document_id = me.key.add(SAME, b"One more of mine")
    path = at(SAME, "documents", document_id)
    assert me.key.send("PATCH", path, {"attributes": {"a": 1}}).status == 200
    assert me.key.upload(SAME, b"New", document_id=document_id).status == 202
    assert me.key.send("DELETE", path).status == 204
    me.key.make("mine for now")
    assert other.key.send("GET", at("mine for now")).status == 404
    assert me.key.send("DELETE", at("mine for now")).status == 204
    assert other.state() == before


def test_the_same_content_is_a_document_of_each(street: Street) -> None:
    ids = [house.key.add(SAME, b"What both have to say") for house in street.houses]
    assert ids[0] != ids[1]
    for house, document_id in zip(street.houses, ids, strict=True):
        path = at(SAME, "documents", document_id)
        assert house.key.get(path)["owner"] == house.key.public_id
        assert house.key.send("DELETE", path).status == 204


@pytest.mark.parametrize(("method", "ending", "body"), OF_COLLECTION)
def test_what_everybody_reads_only_its_tenant_changes(
    street: Street, public: str, method: str, ending: str, body: Any
) -> None:
    me, other = street.houses
    before = other.key.get(at(public, "documents"))
    reply = ask(me.key, method, at(public) + ending, body)
    if method in WRITES and ending != "/search":
        nobodys = ask(me.key, method, at(NOWHERE) + ending, body)
        assert without_its_own(reply) == without_its_own(nobodys)
        assert (reply.status, reply.code) == (404, "collection_not_found")
    else:
        assert reply.status == 200, reply.body
        assert other.key.public_id.encode() not in reply.body
    assert other.key.get(at(public, "documents")) == before


@pytest.fixture(scope="module")
def public(street: Street) -> str:
    """Give a collection of the second tenant that everybody may read."""
    key = street.houses[1].key
    name = key.make("public")
    key.add(name, b"Open to all")
    mine = street.gateway.rows(Collection).filter(name=name)
    mine.update(visibility=Visibility.EVERYBODY)
    return name


@pytest.mark.parametrize(("method", "ending", "body"), OF_COLLECTION)
def test_a_collection_of_named_keys_is_not_there_for_the_others(
    street: Street, reserved: str, method: str, ending: str, body: Any
) -> None:
    key = street.houses[0].key
    theirs = ask(key, method, at(reserved) + ending, body)
    nobodys = ask(key, method, at(NOWHERE) + ending, body)
    assert (theirs.status, theirs.code) == (404, "collection_not_found")
    assert without_its_own(theirs) == without_its_own(nobodys)
    assert reserved not in key.names()


@pytest.fixture(scope="module")
def reserved(street: Street) -> str:
    """Give a collection of the first tenant that only another of its keys may read."""
    house, rows = street.houses[0], street.gateway.rows
    reader = librarian(street.gateway, house.word)
    name = reader.make("reserved")
    collection = rows(Collection).get(name=name)
    collection.visibility = Visibility.KEYS
    collection.save()
    collection.readers.add(rows(ApiKey).get(public_id=reader.public_id))
    assert name in reader.names()
    reader.add(name, b"For few")
    return name


def test_every_row_is_where_its_tenant_is(street: Street) -> None:
    rows = street.gateway.rows
    for house in street.houses:
        tenant = rows(Tenant).get(name=house.word)
        documents = rows(Document).filter(collection__tenant=tenant)
        assert set(house.document_ids) <= set(documents.values_list("uid", flat=True))
        for document in documents.filter(uid__in=house.document_ids):
            assert document.filename == f"{house.word}.txt"
