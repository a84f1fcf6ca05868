"""The official openai SDK keeps files at AILB."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import openai
import pytest

from gateway.models import Tenant
from rag.models import Collection, Document, StoredFile
from tests.api.gateway_process import Gateway, fresh
from tests.api.openai_stores import (
    UNKNOWN,
    bearer,
    sdk_of_tenant,
)
from tests.api.vendors import async_sdk
from tests.client import Reply

MIB = 1024 * 1024
TEXT = b"The parental leave is fourteen weeks long.\n"


@pytest.fixture(scope="module")
def gateway(start_gateway: Callable[..., Gateway]) -> Iterator[Gateway]:
    gateway = start_gateway(
        ENABLE_RAG="true", EMBEDDING_MODEL="/nonexistent", AILB_MAX_DOCUMENT_MB="1"
    )
    yield gateway
    assert not [line for line in gateway.log() if line["level"] == "error"]


@pytest.fixture(scope="module")
def client(gateway: Gateway) -> Iterator[openai.OpenAI]:
    with sdk_of_tenant(gateway, "files") as made:
        yield made


def send_form(gateway: Gateway, client: openai.OpenAI, **fields: str) -> Reply:
    """Send a file with these fields as no SDK would."""
    parts = [
        f'--line\r\ncontent-disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
        for name, value in fields.items()
    ]
    parts.append(
        '--line\r\ncontent-disposition: form-data; name="file"; filename="a.txt"\r\n\r\n'
        "text\r\n--line--\r\n"
    )
    kind = {"content-type": "multipart/form-data; boundary=line"}
    body = "".join(parts).encode()
    return gateway.client.post("/v1/files", body, **kind, **bearer(client))


def test_a_file_is_kept_shown_given_back_and_deleted(client: openai.OpenAI) -> None:
    kept = client.files.create(file=("léave.txt", TEXT), purpose="assistants")
    assert (kept.filename, kept.bytes, kept.purpose) == (
        "léave.txt",
        len(TEXT),
        "assistants",
    )
    assert kept.id.startswith("file-")
    assert (kept.object, kept.status, kept.expires_at) == ("file", "processed", None)
    assert client.files.retrieve(kept.id) == kept
    assert client.files.wait_for_processing(kept.id) == kept
    content = client.files.content(kept.id)
    assert content.read() == TEXT
    headers = content.response.headers
    assert headers["content-type"] == "application/octet-stream"
    assert headers["content-disposition"].startswith("attachment")
    assert headers["x-content-type-options"] == "nosniff"
    gone = client.files.delete(kept.id)
    assert (gone.id, gone.object, gone.deleted) == (kept.id, "file", True)
    with pytest.raises(openai.NotFoundError):
        client.files.retrieve(kept.id)
    with pytest.raises(openai.NotFoundError):
        client.files.delete(kept.id)


def test_a_file_of_any_type_comes_back_to_the_byte(client: openai.OpenAI) -> None:
    data = bytes(range(256)) * 4000
    kept = client.files.create(file=("a/b\\c.bin", data), purpose="user_data")
    assert kept.filename == "c.bin"
    assert client.files.content(kept.id).read() == data


def test_files_are_listed_in_pages(gateway: Gateway) -> None:
    with sdk_of_tenant(gateway, "pages") as client:
        assert client.files.list().data == []
        names = ["1.txt", "2.txt", "3.txt", "4.txt", "5.txt"]
        for name in names:
            purpose: Any = "user_data" if name == "3.txt" else "assistants"
            client.files.create(file=(name, TEXT), purpose=purpose)

        def listed(**asked: Any) -> list[str]:
            return [file.filename for file in client.files.list(**asked)]

        assert listed() == names[::-1]
        assert listed(limit=2) == names[::-1]  # the SDK asks for each page
        assert listed(limit=2, order="asc") == names
        assert listed(purpose="user_data") == ["3.txt"]
        assert listed(purpose="assistants", limit=1) == names[:1:-1][:2] + names[1::-1]
        page = client.files.list(limit=2)
        ids = [file.id for file in page.data]
        assert page.model_extra == {
            "object": "list",
            "first_id": ids[0],
            "last_id": ids[1],
        }
        assert page.has_more
        with pytest.raises(openai.BadRequestError) as refused:
            client.files.list(after=UNKNOWN)
        assert refused.value.param == "after"


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({}, "purpose"),
        ({"purpose": ""}, "purpose"),
        ({"purpose": "batch"}, "purpose"),
        ({"purpose": "assistants", "expires_after[seconds]": "3600"}, "expires_after[seconds]"),
    ],
)  # fmt: skip
def test_what_would_not_be_done_is_refused(
    gateway: Gateway, client: openai.OpenAI, fields: dict[str, str], param: str
) -> None:
    reply = send_form(gateway, client, **fields)
    assert (reply.status, reply.json["error"]["param"]) == (400, param)


def test_files_that_are_none_are_refused(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as empty:
        client.files.create(file=("empty.txt", b""), purpose="assistants")
    assert empty.value.param == "file"
    with pytest.raises(openai.APIStatusError) as large:
        client.files.create(file=("large.txt", b"a" * (MIB + 1)), purpose="assistants")
    assert (large.value.status_code, large.value.code) == (413, "too_large")


def test_a_form_must_be_one(gateway: Gateway, client: openai.OpenAI) -> None:
    known = bearer(client)
    reply = gateway.client.post("/v1/files", {"purpose": "assistants"}, **known)
    assert reply.status == 415
    for query in ("limit=0", "limit=10001", "order=up", "before=x", "after="):
        assert gateway.client.get(f"/v1/files?{query}", **known).status == 400


@pytest.mark.parametrize("file_id", [UNKNOWN, "file-1", "0" * 32, "vs_" + "0" * 32])
def test_an_unknown_file_is_not_found(client: openai.OpenAI, file_id: str) -> None:
    for ask in (client.files.retrieve, client.files.content, client.files.delete):
        with pytest.raises(openai.NotFoundError) as missing:
            ask(file_id)
        assert (missing.value.code, missing.value.param) == (
            "file_not_found",
            "file_id",
        )


def test_another_tenants_files_are_not_there(
    gateway: Gateway, client: openai.OpenAI
) -> None:
    kept = client.files.create(file=("ours.txt", TEXT), purpose="assistants")
    with sdk_of_tenant(gateway, "others") as stranger:
        assert stranger.files.list().data == []
        for ask in (
            stranger.files.retrieve,
            stranger.files.content,
            stranger.files.delete,
        ):
            said = []
            for file_id in (kept.id, UNKNOWN):
                with pytest.raises(openai.NotFoundError) as missing:
                    ask(file_id)
                said.append(missing.value.response.content)
            assert said[0] == said[1]
    assert client.files.content(kept.id).read() == TEXT


def test_a_key_needs_the_right_to_documents(gateway: Gateway) -> None:
    with sdk_of_tenant(gateway, "files", rights=["chat"]) as client:
        with pytest.raises(openai.PermissionDeniedError):
            client.files.list()
        with pytest.raises(openai.PermissionDeniedError):
            client.files.create(file=("a.txt", TEXT), purpose="assistants")


def test_a_deleted_file_leaves_the_vector_stores_of_its_tenant(
    gateway: Gateway,
) -> None:
    with sdk_of_tenant(gateway, "leaving") as client:
        kept = client.files.create(file=("a.txt", TEXT), purpose="assistants")
        other = client.files.create(file=("b.txt", b"Rain."), purpose="assistants")
        stores = [
            client.vector_stores.create(name=fresh("s"), file_ids=[kept.id, other.id])
            for _ in range(2)
        ]
        client.files.delete(kept.id)
        for store in stores:
            files = client.vector_stores.files.list(store.id).data
            assert [file.id for file in files] == [other.id]
    tenant = gateway.rows(Tenant).get(name="leaving")
    assert gateway.rows(StoredFile).filter(tenant=tenant).count() == 1
    assert gateway.rows(Document).filter(collection__tenant=tenant).count() == 2


def test_without_documents_every_route_says_how_to_have_them(
    start_gateway: Callable[..., Gateway],
) -> None:
    gateway = start_gateway()
    store = f"/v1/vector_stores/vs_{'0' * 32}"
    for method, path in (
        ("GET", "/v1/files"),
        ("POST", "/v1/files"),
        ("GET", f"/v1/files/{UNKNOWN}"),
        ("DELETE", f"/v1/files/{UNKNOWN}"),
        ("GET", f"/v1/files/{UNKNOWN}/content"),
        ("GET", "/v1/vector_stores"),
        ("POST", "/v1/vector_stores"),
        ("GET", store),
        ("POST", store),
        ("DELETE", store),
        ("POST", f"{store}/search"),
        ("GET", f"{store}/files"),
        ("POST", f"{store}/files"),
        ("GET", f"{store}/files/{UNKNOWN}"),
        ("POST", f"{store}/files/{UNKNOWN}"),
        ("DELETE", f"{store}/files/{UNKNOWN}"),
        ("GET", f"{store}/files/{UNKNOWN}/content"),
    ):
        reply = gateway.client.send(method, path, {} if method == "POST" else None)
        assert (reply.status, reply.code) == (400, "rag_disabled"), (method, path)
        assert "ENABLE_RAG" in reply.json["error"]["message"]
    assert gateway.rows(Collection).count() == 0


def test_the_asynchronous_client_keeps_files_too(
    gateway: Gateway, client: openai.OpenAI
) -> None:
    async def keep() -> bytes:
        async with async_sdk(gateway, api_key=client.api_key) as keeper:
            kept = await keeper.files.create(file=("a.txt", TEXT), purpose="assistants")
            return (await keeper.files.content(kept.id)).read()

    assert asyncio.run(keep()) == TEXT
