"""The official openai SDK makes, names, lists and deletes vector stores."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import openai
import pytest

from rag.models import Collection
from tests.api.gateway_process import Gateway, fresh
from tests.api.openai_stores import (
    LEAVE,
    RAIN,
    UNKNOWN,
    UNKNOWN_STORE,
    keep,
    sdk_of_tenant,
    strategy,
)


@pytest.fixture(scope="module")
def gateway(start_gateway: Callable[..., Gateway]) -> Iterator[Gateway]:
    """Start a gateway whose documents nobody indexes."""
    gateway = start_gateway(ENABLE_RAG="true")
    yield gateway
    assert not [line for line in gateway.log() if line["level"] == "error"]


@pytest.fixture(scope="module")
def client(gateway: Gateway) -> Iterator[openai.OpenAI]:
    with sdk_of_tenant(gateway, "stores") as made:
        yield made


@pytest.fixture
def store_id(client: openai.OpenAI) -> str:
    return client.vector_stores.create(name=fresh("store")).id


def test_attributes_can_be_changed(client: openai.OpenAI, store_id: str) -> None:
    file = keep(client, "a.md", LEAVE)
    files = client.vector_stores.files
    added = files.create(store_id, file_id=file, attributes={"a": "b"})
    assert added.attributes == {"a": "b"}
    assert files.create(store_id, file_id=file).attributes == {"a": "b"}
    again = files.create(store_id, file_id=file, attributes={"c": 1})
    assert again.attributes == {"c": 1}
    changed = files.update(file, vector_store_id=store_id, attributes={"d": True})
    assert changed.attributes == {"d": True}
    assert (
        files.update(file, vector_store_id=store_id, attributes=None).attributes == {}
    )
    with pytest.raises(openai.BadRequestError) as refused:
        files.update(file, vector_store_id=store_id, attributes={"": 1})
    assert refused.value.param == "attributes"


def test_a_store_is_made_with_its_files_or_not_at_all(client: openai.OpenAI) -> None:
    files = [keep(client, "a.md", LEAVE), keep(client, "b.md", RAIN)]
    store = client.vector_stores.create(
        name=fresh("filled"), description="All of it.", file_ids=files
    )
    assert store.file_counts.total == 2
    assert store.model_extra == {"description": "All of it."}
    binary = keep(client, "c.bin", b"\0\1\2\3" * 100)
    before = {each.id for each in client.vector_stores.list()}
    name = fresh("not-made")
    with pytest.raises(openai.NotFoundError) as missing:
        client.vector_stores.create(name=name, file_ids=[*files, UNKNOWN])
    assert (missing.value.param, missing.value.code) == (
        "file_ids[2]",
        "file_not_found",
    )
    with pytest.raises(openai.APIStatusError) as refused:
        client.vector_stores.create(name=name, file_ids=[files[0], binary])
    assert (refused.value.status_code, refused.value.param) == (415, "file_ids[1]")
    assert {each.id for each in client.vector_stores.list()} == before


def test_a_deleted_store_is_gone_with_its_name(
    gateway: Gateway, client: openai.OpenAI
) -> None:
    file = keep(client, "a.md", LEAVE)
    store = client.vector_stores.create(name="to delete", file_ids=[file])
    with pytest.raises(openai.ConflictError) as taken:
        client.vector_stores.create(name="to delete")
    assert (taken.value.code, taken.value.param) == ("name_taken", "name")
    gone = client.vector_stores.delete(store.id)
    assert (gone.id, gone.object) == (store.id, "vector_store.deleted")
    uid = store.id.removeprefix("vs_")
    assert not gateway.rows(Collection).filter(uid=uid).exists()
    assert client.files.retrieve(file).id == file
    assert client.vector_stores.create(name="to delete").id != store.id


def test_a_store_may_have_no_name_and_get_one(client: openai.OpenAI) -> None:
    store = client.vector_stores.create()
    assert store.name == f"vs-{store.id[3:15]}"
    name = fresh("renamed")
    renamed = client.vector_stores.update(store.id, name=name, metadata={})
    assert (renamed.id, renamed.name) == (store.id, name)
    assert client.vector_stores.update(store.id, name=None).name == name
    assert client.vector_stores.retrieve(store.id).name == name
    for wrong in ("", "a/b", "x" * 101):
        with pytest.raises(openai.BadRequestError) as refused:
            client.vector_stores.update(store.id, name=wrong)
        assert refused.value.param == "name"


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"metadata": {"a": "b"}}, "metadata"),
        (
            {"expires_after": {"anchor": "last_active_at", "days": 7}},
            "expires_after",
        ),
    ],
)
def test_what_is_not_kept_is_refused(
    client: openai.OpenAI, store_id: str, fields: Any, param: str
) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        client.vector_stores.create(**fields)
    assert refused.value.param == param
    with pytest.raises(openai.BadRequestError) as refused:
        client.vector_stores.update(store_id, **fields)
    assert refused.value.param == param


def test_a_store_is_cut_as_it_is_told(client: openai.OpenAI) -> None:
    store = client.vector_stores.create(
        name=fresh("cut"), chunking_strategy=strategy(100, 10)
    )
    file = keep(client, "a.md", LEAVE)
    files = client.vector_stores.files
    same: Any
    for same in (strategy(100, 10), {"type": "auto"}):
        added = files.create(store.id, file_id=file, chunking_strategy=same)
        shown = added.chunking_strategy
        assert shown is not None
        assert shown.type == "static"
        assert shown.static.max_chunk_size_tokens == 100
        assert shown.static.chunk_overlap_tokens == 10
    with pytest.raises(openai.BadRequestError) as other:
        files.create(store.id, file_id=file, chunking_strategy=strategy(200, 10))
    assert other.value.param == "chunking_strategy"
    assert "100 tokens" in other.value.message


@pytest.mark.parametrize(
    ("tokens", "overlap", "field", "bound"),
    [
        (800, 0, "max_chunk_size_tokens", "254"),
        (10, 0, "max_chunk_size_tokens", "32"),
        (200, 400, "chunk_overlap_tokens", "32"),
        (200, 100, "chunk_overlap_tokens", "32"),
    ],
)
def test_chunks_that_no_embedder_reads_are_refused(
    client: openai.OpenAI, tokens: int, overlap: int, field: str, bound: str
) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        client.vector_stores.create(chunking_strategy=strategy(tokens, overlap))
    assert refused.value.param == f"chunking_strategy.static.{field}"
    assert bound in refused.value.message
    assert "chunk_tokens" not in refused.value.message


def test_stores_are_listed_in_pages(gateway: Gateway) -> None:
    with sdk_of_tenant(gateway, "many stores") as client:
        made = [client.vector_stores.create(name=name).id for name in "zyxwv"]

        def listed(**asked: Any) -> list[str]:
            return [store.id for store in client.vector_stores.list(**asked)]

        assert listed() == made[::-1]
        assert listed(limit=2) == made[::-1]
        assert listed(limit=2, order="asc") == made
        page = client.vector_stores.list(before=made[1], limit=2)
        assert [store.id for store in page.data] == [made[3], made[2]]
        for asked in ({"after": UNKNOWN_STORE}, {"before": UNKNOWN_STORE}):
            with pytest.raises(openai.BadRequestError) as refused:
                listed(**asked)
            assert refused.value.param == next(iter(asked))


def test_batches_are_not_there(client: openai.OpenAI, store_id: str) -> None:
    with pytest.raises(openai.NotFoundError) as missing:
        client.vector_stores.file_batches.create(store_id, file_ids=[UNKNOWN])
    assert missing.value.code == "unknown_url"
