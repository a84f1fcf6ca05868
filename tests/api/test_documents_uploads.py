"""Files on their way in: what is taken, what is refused and why, and how many at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from typing import Any

import pytest

from gateway.upload_routes import FORM_BYTES
from gateway.views.documents.uploads import Gate, UploadsBusy
from rag.models import Version
from tests.api.documents_client import (
    FORM,
    TEXT,
    Librarian,
    at,
    form_of,
    librarian,
    no_failures,
)
from tests.api.gateway_process import Gateway

MEBIBYTE = 1024 * 1024
FILE = 'name="file"; filename="leave.txt"'
LIMIT_S = 10.0


@pytest.fixture(scope="module")
def guarded(start_gateway: Callable[..., Gateway]) -> Iterator[Gateway]:
    """Start a gateway that takes files of 2 MiB, and other bodies of 1 MiB."""
    gateway = start_gateway(
        AILB_AUTH="required",
        ENABLE_RAG="true",
        EMBEDDING_MODEL="/nonexistent",
        AILB_MAX_DOCUMENT_MB="2",
        AILB_MAX_BODY_MB="1",
    )
    with no_failures(gateway):
        yield gateway


@pytest.fixture(scope="module")
def me(guarded: Gateway) -> Librarian:
    return librarian(guarded)


@pytest.fixture
def shelf(me: Librarian) -> str:
    """Give an empty collection."""
    return me.make()


def text_of(size: int) -> bytes:
    """Write a text of so many bytes."""
    return (b"All work and no play. " * (size // 22 + 1))[:size]


# --- What is taken --------------------------------------------------------------------------


def test_a_file_is_queued_as_it_was_sent(
    me: Librarian, guarded: Gateway, shelf: str
) -> None:
    content = bytes(range(1, 256)).replace(b"\x00", b"") + b"\r\n--\r\n\r\n"
    content = content.decode("latin-1").encode()
    taken = me.upload(
        shelf, content, "Ä b.txt", attributes={"year": 2026, "old": False}
    )
    assert taken.status == 202, taken.body
    document = taken.json
    assert (document["state"], document["filename"]) == ("queued", "Ä b.txt")
    assert document["attributes"] == {"year": 2026, "old": False}
    assert document["bytes"] == len(content)
    assert document["sha256"] == sha256(content).hexdigest()
    assert document["owner"] == me.public_id
    version = guarded.rows(Version).get(document__uid=document["id"])
    kept = guarded.data_dir / "documents" / "versions" / version.uid / "original"
    assert kept.read_bytes() == content


def test_the_same_content_again_is_the_same_document(me: Librarian, shelf: str) -> None:
    document_id = me.add(shelf)
    again = me.upload(shelf, TEXT, "another-name.txt")
    assert (again.status, again.json["id"]) == (200, document_id)
    assert me.upload(shelf, TEXT + b"More.").json["id"] != document_id
    assert len(me.document_ids(shelf)) == 2


def test_the_same_content_at_the_same_time_is_one_document(
    me: Librarian, shelf: str
) -> None:
    with ThreadPoolExecutor(6) as threads:
        replies = list(threads.map(lambda _: me.upload(shelf), range(6)))
    assert sorted(reply.status for reply in replies) == [200] * 5 + [202]
    assert {reply.json["id"] for reply in replies} == set(me.document_ids(shelf))


def test_a_document_is_replaced_under_its_id(me: Librarian, shelf: str) -> None:
    document_id = me.add(shelf, attributes={"year": 2025})
    put = me.upload(shelf, b"New words", "new.md", document_id=document_id)
    assert put.status == 202, put.body
    assert (put.json["id"], put.json["version"]) == (document_id, 2)
    assert (put.json["filename"], put.json["attributes"]) == ("new.md", {"year": 2025})
    again = me.upload(
        shelf, b"New words", "new.md", document_id=document_id, attributes={"a": "b"}
    )
    assert (again.status, again.json["version"]) == (200, 2)
    assert again.json["attributes"] == {"a": "b"}
    assert me.document_ids(shelf) == [document_id]


def test_only_what_is_there_is_replaced(me: Librarian, shelf: str) -> None:
    reply = me.upload(shelf, document_id="0" * 32)
    assert (reply.status, reply.code) == (404, "document_not_found")
    reply = me.upload("no-such", document_id="0" * 32)
    assert (reply.status, reply.code) == (404, "collection_not_found")
    reply = me.upload("no-such")
    assert (reply.status, reply.code) == (404, "collection_not_found")


def test_a_file_may_be_larger_than_other_bodies(me: Librarian, shelf: str) -> None:
    exact = text_of(2 * MEBIBYTE)
    assert me.upload(shelf, exact).status == 202
    other = me.send("POST", at(shelf, "search"), {"query": "x" * MEBIBYTE})
    assert (other.status, other.code) == (413, "request_too_large")


@pytest.mark.parametrize(
    "filename",
    [
        "../../etc/passwd.txt",
        r"C:\docs\a.txt",
        "a\u202etxt.exe.txt",
        "x" * 900 + ".txt",
    ],
)
def test_a_file_name_is_never_a_path(me: Librarian, shelf: str, filename: str) -> None:
    shown = me.upload(shelf, filename.encode() + TEXT, filename)
    assert shown.status == 202, shown.body
    name = shown.json["filename"]
    assert not set(name) & set("/\\\u202e")
    assert (name.endswith(".txt"), len(name) <= 255) == (True, True)


# --- What is refused ------------------------------------------------------------------------


@pytest.mark.parametrize("extra", [1, FORM_BYTES * 2])
def test_a_file_that_is_too_large_is_refused_however_much(
    me: Librarian, shelf: str, extra: int
) -> None:
    reply = me.upload(shelf, text_of(2 * MEBIBYTE + extra))
    assert (reply.status, reply.code) == (413, "too_large")
    assert "2 M" in reply.json["error"]["message"]
    assert me.document_ids(shelf) == []


def test_a_file_of_another_type_is_refused(me: Librarian, shelf: str) -> None:
    for content in (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", b"{\\rtf1 hello}", b"MZ\0\0\0"):
        reply = me.upload(shelf, content, "leave.pdf")
        assert (reply.status, reply.code) == (415, "unsupported_type")
        assert reply.json["error"]["param"] == "file"
    assert me.document_ids(shelf) == []


def test_a_file_that_cannot_be_taken_as_it_is_says_why(
    me: Librarian, shelf: str
) -> None:
    encrypted = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(1000)
    encrypted += "EncryptedPackage".encode("utf-16-le") + bytes(1000)
    reply = me.upload(shelf, encrypted, "secret.docx")
    assert (reply.status, reply.code) == (422, "encrypted")
    assert len(reply.json["error"]["message"]) > 20


ATTRIBUTES = 'name="attributes"'
BAD_FORMS: dict[str, tuple[bytes, str | None]] = {
    "nothing": (b"", None),
    "no form": (b"hello", None),
    "JSON": (b'{"file": "x"}', None),
    "an empty form": (form_of(), "file"),
    "no file": (form_of((ATTRIBUTES, b"{}")), "file"),
    "a text in place of the file": (form_of(('name="file"', b"hello")), "file"),
    "no file name": (form_of(('name="file"; filename=""', b"hello")), "file"),
    "an empty file": (form_of((FILE, b"")), "file"),
    "two files": (form_of((FILE, TEXT), (FILE, b"other")), "file"),
    "a file of another name": (
        form_of(('name="document"; filename="a"', b"x")),
        "document",
    ),
    "another field": (form_of((FILE, TEXT), ('name="collection"', b"x")), "collection"),
    "attributes as a file": (
        form_of((FILE, TEXT), (f'{ATTRIBUTES}; filename="a.json"', b"{}")),
        "attributes",
    ),
    "attributes twice": (
        form_of((FILE, TEXT), (ATTRIBUTES, b"{}"), (ATTRIBUTES, b"{}")),
        "attributes",
    ),
    "attributes that are no JSON": (
        form_of((FILE, TEXT), (ATTRIBUTES, b"{year: 1}")),
        "attributes",
    ),
    "attributes that are no object": (
        form_of((FILE, TEXT), (ATTRIBUTES, b"[1]")),
        "attributes",
    ),
    "attributes within attributes": (
        form_of((FILE, TEXT), (ATTRIBUTES, b'{"a": {"b": 1}}')),
        "attributes",
    ),
    "attributes in Latin-1": (
        form_of((FILE, TEXT), (ATTRIBUTES, b'{"a": "\xe9"}')),
        "attributes",
    ),
    "an attribute without a name": (
        form_of((FILE, TEXT), (ATTRIBUTES, b'{"": 1}')),
        "attributes",
    ),
    "a form that is cut off": (form_of((FILE, TEXT))[:-20], None),
    "a form with another boundary": (
        form_of((FILE, TEXT)).replace(b"AaB", b"AaC"),
        None,
    ),
    "base64": (
        form_of((FILE + "\r\nContent-Transfer-Encoding: base64", b"aGVsbG8=")),
        None,
    ),
    "a form in the form": (
        form_of((FILE + "\r\nContent-Type: multipart/mixed; boundary=x", b"--x--")),
        None,
    ),
}


@pytest.mark.parametrize("method", ["POST", "PUT"])
@pytest.mark.parametrize(("form", "param"), BAD_FORMS.values(), ids=BAD_FORMS)
def test_a_form_that_cannot_be_taken_is_a_400(
    me: Librarian,
    occupied: tuple[str, str],
    method: str,
    form: bytes,
    param: str | None,
) -> None:
    name, document_id = occupied
    path = at(name, "documents", *([document_id] if method == "PUT" else []))
    reply = me.send_form(method, path, form)
    assert (reply.status, reply.json["error"]["param"]) == (400, param), reply.body
    assert reply.json["error"]["type"] == "invalid_request_error"
    assert len(reply.json["error"]["message"]) > 20
    assert me.document_ids(name) == [document_id]
    assert me.get(at(name, "documents", document_id))["version"] == 1


@pytest.fixture(scope="module")
def occupied(me: Librarian) -> tuple[str, str]:
    """Give a collection and the one document in it."""
    name = me.make()
    return name, me.add(name, b"What is there")


def test_two_files_are_refused_as_such(me: Librarian, shelf: str) -> None:
    form = form_of((FILE, TEXT), (FILE, b"other"))
    reply = me.send_form("POST", at(shelf, "documents"), form)
    assert "one file at a time" in reply.json["error"]["message"]


@pytest.mark.parametrize(
    ("content_type", "status"),
    [
        ("", 415),
        ("application/json", 415),
        ("application/x-www-form-urlencoded", 415),
        ("application/pdf", 415),
        ("multipart/mixed; boundary=AaB03x", 415),
        ("multipart/form-data", 400),
        ('multipart/form-data; boundary="', 400),
        (f"{FORM}x", 400),
    ],
)
def test_a_body_is_declared_as_a_form(
    me: Librarian, shelf: str, content_type: str, status: int
) -> None:
    form = form_of((FILE, TEXT))
    reply = me.send_form("POST", at(shelf, "documents"), form, content_type)
    assert reply.status == status, reply.body
    assert reply.code == ("unsupported_media_type" if status == 415 else None)
    assert me.document_ids(shelf) == []


# --- How many at a time ---------------------------------------------------------------------


async def test_a_few_are_let_in_and_the_next_waits_for_a_place() -> None:
    gate = Gate(most=2, most_waiting=1, wait_s=LIMIT_S)
    await gate.enter()
    await gate.enter()
    third = asyncio.ensure_future(gate.enter())
    await asyncio.sleep(0)
    with pytest.raises(UploadsBusy) as refused:
        await gate.enter()  # one waits already
    assert (refused.value.status, refused.value.retry_after_s) == (503, 5.0)
    assert not third.done()
    gate.leave()
    async with asyncio.timeout(LIMIT_S):
        await third


async def test_nobody_waits_for_ever() -> None:
    gate = Gate(most=1, most_waiting=1, wait_s=0.01)
    await gate.enter()
    for _ in range(3):  # whoever gives up makes room for another to wait
        with pytest.raises(UploadsBusy, match="Other files"):
            await gate.enter()
    gate.leave()
    await gate.enter()


async def test_one_that_leaves_while_it_waits_takes_no_place() -> None:
    gate = Gate(most=1, most_waiting=1, wait_s=LIMIT_S)
    await gate.enter()
    waiting = asyncio.ensure_future(gate.enter())
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.wait([waiting])
    gate.leave()
    async with asyncio.timeout(LIMIT_S):
        await gate.enter()


def test_more_files_at_once_than_have_a_place_are_all_taken_in(
    me: Librarian, shelf: str
) -> None:
    def bring(number: int) -> Any:
        return me.upload(shelf, b"%d " % number + text_of(MEBIBYTE)).status

    with ThreadPoolExecutor(6) as threads:
        assert list(threads.map(bring, range(6))) == [202] * 6
    for number in range(3):  # refusals give their places back, too
        assert me.send_form("POST", at(shelf, "documents"), b"x").status == 400, number
    assert me.upload(shelf).status == 202
