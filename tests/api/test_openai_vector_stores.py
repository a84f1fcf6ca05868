"""The official openai SDK manages collections as vector stores."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Callable, Iterator
from typing import Any

import openai
import pytest
import schemathesis

from gateway.models import Tenant
from rag.models import Collection, Document
from tests.api.gateway_process import Gateway, fresh
from tests.api.openai_stores import (
    LEAVE,
    RAIN,
    UNKNOWN,
    UNKNOWN_STORE,
    bearer,
    keep,
    sdk_of_tenant,
    strategy,
)
from tests.api.rag_scenes import RAG, running_jobs
from tests.api.test_openapi import CHECKS, TIMEOUT_S
from tests.api.vendors import async_sdk

BROKEN = b"%PDF-1.7\nnothing of what should follow\n"


@pytest.fixture(scope="module")
def gateway(start_gateway: Callable[..., Gateway]) -> Iterator[Gateway]:
    gateway = start_gateway(**RAG)
    with running_jobs(gateway):
        yield gateway
    assert not [line for line in gateway.log() if line["level"] == "error"]


@pytest.fixture(scope="module")
def client(gateway: Gateway) -> Iterator[openai.OpenAI]:
    with sdk_of_tenant(gateway, "stores") as made:
        yield made


@pytest.fixture
def store_id(client: openai.OpenAI) -> str:
    return client.vector_stores.create(name=fresh("store")).id


def named(data: bytes, name: str) -> io.BytesIO:
    """Give a file as the SDK's users do."""
    file = io.BytesIO(data)
    file.name = name
    return file


def test_an_uploaded_file_is_found(client: openai.OpenAI) -> None:
    store = client.vector_stores.create(name="Hand book (2026)")
    assert store.id.startswith("vs_")
    assert (store.object, store.name, store.status) == (
        "vector_store",
        "Hand book (2026)",
        "completed",
    )
    assert (store.usage_bytes, store.file_counts.total) == (0, 0)
    for data, name in ((LEAVE, "leave.md"), (RAIN, "rain.md")):
        file = client.vector_stores.files.upload_and_poll(
            vector_store_id=store.id, file=named(data, name)
        )
        assert (file.status, file.last_error) == ("completed", None)
        assert (file.vector_store_id, file.usage_bytes) == (store.id, len(data))
    page = client.vector_stores.search(store.id, query="How long is parental leave?")
    best = page.data[0]
    assert best.filename == "leave.md"
    assert "fourteen weeks" in best.content[0].text
    assert 0 < best.score <= 1
    assert page.model_extra is not None
    assert page.model_extra["search_query"] == ["How long is parental leave?"]
    assert page.model_extra["ailb"] == {"status": "hit", "problem": None}
    parts = client.vector_stores.files.content(best.file_id, vector_store_id=store.id)
    assert [part.text for part in parts] == [LEAVE.decode()]
    assert client.files.content(best.file_id).read() == LEAVE
    filled = client.vector_stores.retrieve(store.id)
    assert (filled.status, filled.file_counts.completed) == ("completed", 2)
    assert filled.usage_bytes == len(LEAVE) + len(RAIN)
    assert filled.last_active_at is not None


def test_a_search_goes_by_attributes_number_and_score(client: openai.OpenAI) -> None:
    files = [
        keep(client, f"{year}.md", b"%s In %d.\n" % (LEAVE, year))
        for year in (2024, 2025, 2026)
    ]
    store = client.vector_stores.create(name=fresh("years"))
    for year, file in zip((2024, 2025, 2026), files, strict=True):
        client.vector_stores.files.create(
            store.id, file_id=file, attributes={"year": year, "draft": False}
        )
    for file in files:
        client.vector_stores.files.poll(file, vector_store_id=store.id)

    def found(**asked: Any) -> list[str]:
        page = client.vector_stores.search(
            store.id, query=["parental leave", "weeks"], **asked
        )
        return sorted(hit.file_id for hit in page)

    newer: Any = {"type": "gte", "key": "year", "value": 2025}
    assert found(filters=newer) == sorted(files[1:])
    assert found(filters={"type": "eq", "key": "draft", "value": True}) == []
    assert len(found(max_num_results=1)) == 1
    assert len(found(ranking_options={"ranker": "auto", "score_threshold": 1})) < 3
    page = client.vector_stores.search(store.id, query="leave", filters=newer)
    assert page.data[0].attributes is not None
    assert page.data[0].attributes["year"] in {2025, 2026}


def test_a_file_that_cannot_be_read_says_why(
    client: openai.OpenAI, store_id: str
) -> None:
    file = client.vector_stores.files.upload_and_poll(
        vector_store_id=store_id, file=named(BROKEN, "broken.pdf")
    )
    assert file.status == "failed"
    assert file.last_error is not None
    assert file.last_error.code == "invalid_file"
    assert file.last_error.message.endswith(".")
    store = client.vector_stores.retrieve(store_id)
    assert (store.file_counts.failed, store.status) == (1, "completed")
    with pytest.raises(openai.ConflictError) as unread:
        client.vector_stores.files.content(file.id, vector_store_id=store_id)
    assert unread.value.code == "document_not_ready"
    with pytest.raises(openai.APIStatusError) as refused:
        client.vector_stores.files.upload_and_poll(
            vector_store_id=store_id, file=named(b"\0\1\2" * 99, "program.exe")
        )
    assert (refused.value.status_code, refused.value.param) == (415, "file_id")


def test_a_file_leaves_a_store_and_stays_a_file(
    client: openai.OpenAI, store_id: str
) -> None:
    file = client.vector_stores.files.upload_and_poll(
        vector_store_id=store_id, file=named(LEAVE, "leave.md")
    )
    gone = client.vector_stores.files.delete(file.id, vector_store_id=store_id)
    assert (gone.id, gone.object) == (file.id, "vector_store.file.deleted")
    assert client.vector_stores.search(store_id, query="parental leave").data == []
    assert client.files.content(file.id).read() == LEAVE
    for ask in (client.vector_stores.files.retrieve, client.vector_stores.files.delete):
        with pytest.raises(openai.NotFoundError) as missing:
            ask(file.id, vector_store_id=store_id)
        assert missing.value.code == "file_not_found"


def test_files_of_a_store_are_listed_in_pages(
    client: openai.OpenAI, store_id: str
) -> None:
    files = client.vector_stores.files
    made = [
        files.upload(vector_store_id=store_id, file=named(data, "a.pdf")).id
        for data in (LEAVE, BROKEN, RAIN)
    ]
    for file_id in made:
        files.poll(file_id, vector_store_id=store_id)

    def listed(**asked: Any) -> list[str]:
        return [file.id for file in files.list(store_id, **asked)]

    assert listed() == made[::-1]
    assert listed(limit=1) == made[::-1]
    assert listed(limit=1, order="asc") == made
    assert listed(filter="completed", limit=1) == [made[2], made[0]]
    assert listed(filter="failed") == [made[1]]
    assert listed(filter="in_progress") == listed(filter="cancelled") == []
    assert [file.id for file in files.list(store_id, before=made[0]).data] == made[
        :0:-1
    ]
    with pytest.raises(openai.BadRequestError) as refused:
        listed(after=UNKNOWN)
    assert refused.value.param == "after"
    with pytest.raises(openai.BadRequestError) as refused:
        listed(filter="done")
    assert refused.value.param == "filter"


def test_a_search_that_cannot_be_made_as_asked_is_refused(
    client: openai.OpenAI, store_id: str
) -> None:
    wrong: Any
    for wrong, param in (
        ({"query": ""}, "query"),
        ({"query": "a", "max_num_results": 51}, "max_num_results"),
        ({"query": "a", "rewrite_query": True}, "rewrite_query"),
        ({"query": "a", "filters": {"type": "like"}}, "filters"),
        (
            {"query": "a", "ranking_options": {"ranker": "default-2024-11-15"}},
            "ranking_options.ranker",
        ),
    ):
        with pytest.raises(openai.BadRequestError) as refused:
            client.vector_stores.search(store_id, **wrong)
        assert refused.value.param == param


def test_a_document_that_came_another_way_is_a_file_too(
    gateway: Gateway, client: openai.OpenAI
) -> None:
    store = client.vector_stores.create(name=fresh("both"))
    form = (
        b'--line\r\ncontent-disposition: form-data; name="file"; filename="rain.md"'
        b"\r\n\r\n" + RAIN + b"\r\n--line--\r\n"
    )
    added = gateway.client.post(
        f"/api/collections/{store.name}/documents",
        form,
        **{
            "content-type": "multipart/form-data; boundary=line",
            "authorization": f"Bearer {client.api_key}",
        },
    )
    assert added.status == 202, added
    document_id = added.json["id"]
    file = client.vector_stores.files.poll(document_id, vector_store_id=store.id)
    assert (file.id, file.status) == (document_id, "completed")
    hit = client.vector_stores.search(store.id, query="rain on Thursday").data[0]
    assert hit.file_id == document_id
    listed = gateway.client.get(
        f"/api/collections/{store.name}", authorization=f"Bearer {client.api_key}"
    )
    assert f"vs_{listed.json['id']}" == store.id


def calls(client: openai.OpenAI, store: str, file: str) -> list[Callable[[], Any]]:
    """Give every call that goes by a store's id."""
    stores, files = client.vector_stores, client.vector_stores.files
    return [
        lambda: stores.retrieve(store),
        lambda: stores.update(store, name="taken over"),
        lambda: stores.search(store, query="leave"),
        lambda: files.list(store),
        lambda: files.create(store, file_id=file),
        lambda: files.retrieve(file, vector_store_id=store),
        lambda: files.update(file, vector_store_id=store, attributes={"a": 1}),
        lambda: files.content(file, vector_store_id=store),
        lambda: files.delete(file, vector_store_id=store),
        lambda: stores.delete(store),
    ]


def test_another_tenants_stores_are_as_those_that_are_not_there(
    gateway: Gateway, client: openai.OpenAI
) -> None:
    file = keep(client, "a.md", LEAVE)
    store = client.vector_stores.create(name=fresh("ours"), file_ids=[file])
    client.vector_stores.files.poll(file, vector_store_id=store.id)
    before = gateway.rows(Document).count()
    with (
        sdk_of_tenant(gateway, "strangers") as stranger,
        sdk_of_tenant(gateway, "stores", allowed_collections=["other"]) as narrow,
    ):
        assert stranger.vector_stores.list().data == []
        assert narrow.vector_stores.list().data == []
        for theirs in (stranger, narrow):
            asked = zip(
                calls(theirs, store.id, file),
                calls(theirs, UNKNOWN_STORE, file),
                strict=True,
            )
            for forbidden, unknown in asked:
                said = []
                for ask in (forbidden, unknown):
                    with pytest.raises(openai.NotFoundError) as missing:
                        ask()
                    said.append(missing.value.response.content)
                assert said[0] == said[1]
    assert gateway.rows(Document).count() == before
    assert client.vector_stores.retrieve(store.id).file_counts.completed == 1


def test_what_everybody_reads_nobody_else_changes(
    gateway: Gateway, client: openai.OpenAI
) -> None:
    file = keep(client, "a.md", LEAVE)
    store = client.vector_stores.create(name=fresh("public"), file_ids=[file])
    client.vector_stores.files.poll(file, vector_store_id=store.id)
    mine = gateway.rows(Collection).filter(uid=store.id[3:])
    mine.update(visibility="everybody")
    with sdk_of_tenant(gateway, "readers") as reader:
        assert [each.id for each in reader.vector_stores.list()] == [store.id]
        assert reader.vector_stores.search(store.id, query="leave").data
        own = keep(reader, "b.md", RAIN)
        changing = calls(reader, store.id, file)
        changing[4] = lambda: reader.vector_stores.files.create(store.id, file_id=own)
        for number in (1, 4, 6, 8, 9):
            with pytest.raises(openai.NotFoundError):
                changing[number]()
        # A tenant's own collection goes by its name from then on, so that one is not found.
        tenant = gateway.rows(Tenant).get(name="readers")
        gateway.rows(Collection).create(tenant=tenant, name=store.name)
        with pytest.raises(openai.NotFoundError):
            reader.vector_stores.search(store.id, query="leave")
    mine.update(visibility="tenant")


def test_unknown_fields_and_parameters_are_refused(
    gateway: Gateway, client: openai.OpenAI, store_id: str
) -> None:
    file = keep(client, "a.md", LEAVE)
    client.vector_stores.files.create(store_id, file_id=file)
    store = f"/v1/vector_stores/{store_id}"
    for path in ("", f"/{store_id}", f"/{store_id}/files", f"/{store_id}/search"):
        with pytest.raises(openai.BadRequestError) as refused:
            client.post(f"/vector_stores{path}", cast_to=object, body={"colour": 1})
        assert refused.value.param == "colour"
    known = bearer(client)
    for path in ("/v1/vector_stores", f"{store}/files"):
        assert gateway.client.get(f"{path}?limit=0", **known).status == 400
        assert gateway.client.get(f"{path}?colour=1", **known).status == 400
    encoded = f"{store}%2Ffiles"
    assert gateway.client.get(encoded, **known).code == "unknown_url"


def test_the_asynchronous_client_waits_for_a_file_too(
    client: openai.OpenAI, gateway: Gateway, store_id: str
) -> None:
    file = keep(client, "leave.md", LEAVE)

    async def add() -> str:
        async with async_sdk(gateway, api_key=client.api_key) as added_by:
            added = await added_by.vector_stores.files.create_and_poll(
                file, vector_store_id=store_id
            )
            page = await added_by.vector_stores.search(store_id, query="leave")
            return f"{added.status} {page.data[0].file_id}"

    assert asyncio.run(add()) == f"completed {file}"


STORE = "/v1/vector_stores/{vector_store_id}"
FILE_OF_STORE = f"{STORE}/files/{{file_id}}"


def test_every_route_answers_as_the_document_describes_it(
    gateway: Gateway, client: openai.OpenAI
) -> None:
    document = gateway.client.get("/docs/openapi.json").json
    api = schemathesis.openapi.from_dict(document)
    names: dict[str, str] = {}

    def ask(method: str, path: str, **case: Any) -> Any:
        given = {name: value for name, value in names.items() if f"{{{name}}}" in path}
        response = (
            api[path][method]
            .Case(path_parameters=given, **case)
            .call_and_validate(
                base_url=gateway.url,
                checks=CHECKS,
                timeout=TIMEOUT_S,
                headers=bearer(client),
            )
        )
        assert response.status_code == 200, (method, path, response.text)
        return response

    def send(path: str, body: Any) -> Any:
        return ask("post", path, body=body, media_type="application/json")

    form = {"file": LEAVE, "purpose": "assistants"}
    kept = ask("post", "/v1/files", body=form, media_type="multipart/form-data")
    names["file_id"] = kept.json()["id"]
    made = send("/v1/vector_stores", {"chunking_strategy": strategy(100, 0)})
    names["vector_store_id"] = made.json()["id"]
    send(f"{STORE}/files", {"file_id": names["file_id"]})
    send(FILE_OF_STORE, {"attributes": {"a": 1}})
    send(STORE, {"name": fresh("described")})
    client.vector_stores.files.poll(
        names["file_id"], vector_store_id=names["vector_store_id"]
    )
    send(f"{STORE}/search", {"query": ["leave"], "rewrite_query": False})
    ask("get", "/v1/files/{file_id}/content")
    ask("get", f"{FILE_OF_STORE}/content")
    for path in ("/v1/files", "/v1/vector_stores", STORE, f"{STORE}/files"):
        ask("get", path)
    for path in (FILE_OF_STORE, STORE, "/v1/files/{file_id}"):
        if path != STORE:
            ask("get", path)
        ask("delete", path)
