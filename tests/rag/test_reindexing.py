"""Another index is built beside the one that serves, takes over, and can be given back."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from rag import version_texts
from rag.catalogue import OperatorScope
from rag.errors import CollectionNotFound, InvalidField
from rag.files import ORIGINAL, TEXT, version_folder
from rag.ingest import Ingest
from rag.keyword_index import keyword_scores
from rag.models import (
    Chunk,
    Cut,
    Document,
    DocumentState,
    Index,
    IndexState,
    Version,
)
from rag.reindexing import (
    cancel_reindex,
    discard_previous,
    erase_dropped,
    reindex,
    rollback,
)
from rag.scope import Scope
from tests.memory.scenes import UNFIT, HashedWords
from tests.rag.ingesting import ingest_all
from tests.rag.library_scenes import (
    Parts,
    add_document,
    make_collection,
    make_scope,
    make_upload,
    running_parts,
)

pytestmark = pytest.mark.django_db
NAME = "handbook"
LONG = "\n\n".join(f"word{n} " * 20 for n in range(12))


@pytest.fixture
def parts(tmp_path: Path) -> Iterator[Parts]:
    with running_parts(tmp_path) as parts:
        yield parts


@pytest.fixture
def scope(parts: Parts) -> Scope:
    """Have a collection with two documents that are ready."""
    scope = make_scope()
    make_collection(parts, scope)
    add_document(parts, scope, LONG, "long.txt")
    add_document(parts, scope, "Short words.", "short.txt")
    ingest_all(parts)
    return scope


def index_of(state: str) -> Index:
    return Index.objects.get(state=state)


def sizes() -> dict[str, int]:
    return dict(Index.objects.values_list("state", "chunk_tokens"))


def counts() -> list[tuple[int, int]]:
    versions = Version.objects.filter(state=DocumentState.READY)
    return list(versions.order_by("pk").values_list("chunks", "chunks_done"))


def chunks_in(index: Index) -> int:
    return Chunk.objects.filter(index=index).count()


def test_another_index_takes_over_once_everything_is_in_it(
    parts: Parts, scope: Scope
) -> None:
    before = counts()
    found = reindex(scope, NAME, {"chunk_tokens": 40, "chunk_overlap": 5})
    assert found.building is not None
    assert (found.building.chunk_tokens, found.building.chunk_overlap) == (40, 5)
    assert (found.building.done, found.building.total) == (0, 2)
    old, new = index_of("active"), index_of("building")
    assert (new.model, new.precision) == (old.model, old.precision)
    ingest_all(parts)
    assert (index_of("active"), index_of("previous")) == (new, old)
    assert index_of("active").activated_at > old.activated_at  # type: ignore[operator]  # both have served
    assert counts()[0] > before[0]
    assert sum(done for _, done in counts()) == chunks_in(new)
    assert sum(chunks for chunks, _ in before) == chunks_in(old), "it is kept"
    assert keyword_scores([new.pk], "word3", limit=5)


def test_what_serves_goes_on_serving_meanwhile(parts: Parts, scope: Scope) -> None:
    reindex(scope, NAME, {"chunk_tokens": 40})
    old = index_of("active")
    added = add_document(parts, scope, "Meanwhile.", "meanwhile.txt")
    ingest = Ingest(parts.embedders, None, parts.files)
    while not parts.library.document(scope, NAME, added.id).is_searchable:
        assert ingest.do_round()
    assert Cut.objects.filter(index=old).count() == 3
    ingest_all(parts)
    assert Cut.objects.filter(index=index_of("active")).count() == 3
    assert sizes() == {"active": 40, "previous": 200}


def test_a_document_on_its_way_at_the_switch_comes_into_the_new_index(
    parts: Parts, scope: Scope
) -> None:
    add_document(parts, scope, "On its way.", "way.txt")
    version = Version.objects.get(state=DocumentState.QUEUED)
    assert version_texts.take(version)
    version_texts.parse(version, parts.files)
    ingest = Ingest(parts.embedders, None, parts.files)
    ingest._fill()
    reindex(scope, NAME, {"chunk_tokens": 40})
    for _ in range(2):
        ingest._build()
    version.refresh_from_db()
    assert sizes() == {"active": 40, "previous": 200}
    assert (version.state, version.chunks, version.chunks_done) == ("embedding", 0, 0)
    ingest_all(parts)
    version.refresh_from_db()
    assert (version.state, version.chunks, version.chunks_done) == ("ready", 1, 1)
    assert Cut.objects.filter(version=version, index=index_of("active")).exists()


def test_a_rollback_catches_up_before_it_serves(parts: Parts, scope: Scope) -> None:
    with pytest.raises(InvalidField, match="no previous index"):
        rollback(scope, NAME)
    reindex(scope, NAME, {"chunk_tokens": 40})
    ingest_all(parts)
    old, new = index_of("previous"), index_of("active")
    added = add_document(parts, scope, "Later.", "later.txt")
    removed = Document.objects.get(filename="short.txt")
    parts.library.delete_document(scope, NAME, removed.uid)
    ingest_all(parts)
    assert not Cut.objects.filter(index=old, version__document__uid=added.id).exists()
    found = rollback(scope, NAME)
    assert found.previous is None
    assert index_of("active") == new
    ingest_all(parts)
    assert (index_of("active"), index_of("previous")) == (old, new)
    assert Cut.objects.filter(index=old).count() == 2
    assert sum(done for _, done in counts()) == chunks_in(old)


def test_what_is_given_up_is_deleted_a_part_at_a_time(
    parts: Parts, scope: Scope
) -> None:
    for step in (40, 50):
        reindex(scope, NAME, {"chunk_tokens": step})
        ingest_all(parts)
        while erase_dropped():
            continue
    assert sizes() == {"active": 50, "previous": 40}, "of earlier ones one is kept"
    discarded = index_of("previous")
    assert discard_previous(scope, NAME).previous is None
    assert chunks_in(discarded) > 3
    left = chunks_in(discarded)
    assert erase_dropped(3) == 3
    assert chunks_in(discarded) == left - 3
    while Index.objects.filter(state=IndexState.DROPPED).exists():
        erase_dropped(3)
    assert Chunk.objects.count() == chunks_in(index_of("active"))
    assert discard_previous(scope, NAME).previous is None, "may be asked for again"


def test_a_reindex_is_cancelled_or_replaced(parts: Parts, scope: Scope) -> None:
    serving = index_of("active")
    reindex(scope, NAME, {"chunk_tokens": 40})
    reindex(scope, NAME, {"chunk_tokens": 50})
    assert index_of("building").chunk_tokens == 50
    found = cancel_reindex(scope, NAME)
    assert found.building is None
    ingest_all(parts)
    assert index_of("active") == serving
    erase_dropped()
    assert sizes() == {"active": 200}


def test_nothing_more_comes_into_an_index_that_was_given_up(
    parts: Parts, scope: Scope
) -> None:
    reindex(scope, NAME, {"chunk_tokens": 40})
    ingest = Ingest(parts.embedders, None, parts.files)
    index = index_of("building")
    versions = list(Version.objects.select_related("document"))
    cancel_reindex(scope, NAME)
    assert not ingest._filling.fill(index, versions, 0.0)
    assert chunks_in(index) == 0


def test_an_empty_collection_switches_at_once(parts: Parts, scope: Scope) -> None:
    make_collection(parts, scope, "empty")
    reindex(scope, "empty", {"precision": "fp32"})
    ingest_all(parts)
    states = Index.objects.filter(collection__name="empty").values_list("state")
    assert {state for (state,) in states} == {"active", "previous"}


def test_another_embedding_model_takes_over(
    tmp_path: Path, parts: Parts, scope: Scope
) -> None:
    with running_parts(tmp_path, embedder=HashedWords("another")) as others:
        reindex(scope, NAME, {})
        ingest_all(others)
    assert index_of("active").embedding == "another/fp32/512"
    assert index_of("previous").embedding == "hashed-words/fp32/512"


def test_chunks_that_cannot_be_embedded_do_not_keep_it_from_serving(
    parts: Parts, scope: Scope
) -> None:
    add_document(parts, scope, UNFIT, "unfit.txt")
    ingest_all(parts)
    reindex(scope, NAME, {})
    ingest_all(parts)
    assert counts()[-1] == (1, 0)


def test_a_text_that_is_lost_for_good_is_named(parts: Parts, scope: Scope) -> None:
    version = Version.objects.get(document__filename="short.txt")
    for name in (ORIGINAL, TEXT):
        parts.files.path(version_folder(version.uid), name).unlink()
    reindex(scope, NAME, {"chunk_tokens": 40})
    ingest = Ingest(parts.embedders, None, parts.files)
    while ingest.do_round():
        continue
    assert "The file of short.txt is missing" in index_of("building").problem
    assert Cut.objects.filter(index=index_of("building")).count() == 1
    document = Document.objects.get(filename="short.txt")
    upload = make_upload("Other short words.", "short.txt")
    parts.library.replace_document(scope, NAME, document.uid, upload)
    ingest_all(parts)
    assert sizes() == {"active": 40, "previous": 200}
    assert index_of("active").problem == ""


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"name": "x"}, "name"),
        ({"precision": "int4"}, "precision"),
        ({"precision": ["int8"]}, "precision"),
        ({"chunk_tokens": 1}, "chunk_tokens"),
        ({"chunk_tokens": 40, "chunk_overlap": 30}, "chunk_overlap"),
        ({"model": 7}, "model"),
        ({"model": "/etc"}, "model"),
        ({"model": "somebody/anything"}, "model"),
    ],
)
def test_what_cannot_be_built_is_refused(
    parts: Parts, scope: Scope, fields: dict[str, object], param: str
) -> None:
    with pytest.raises(InvalidField) as raised:
        reindex(scope, NAME, fields)
    assert raised.value.param == param
    assert sizes() == {"active": 200}


def test_an_operator_may_name_any_model(parts: Parts, scope: Scope) -> None:
    operator = OperatorScope(tenant_id=scope.tenant_id)
    reindex(operator, NAME, {"model": "/models/bge-small"})
    assert index_of("building").model == "/models/bge-small"


def test_nobody_reindexes_what_is_not_theirs(parts: Parts, scope: Scope) -> None:
    others = make_scope("theirs")
    for ask in (rollback, cancel_reindex, discard_previous):
        with pytest.raises(CollectionNotFound):
            ask(others, NAME)
    with pytest.raises(CollectionNotFound):
        reindex(others, NAME, {})
