"""Whoever asks what: nothing of a collection that may not be read ever comes back."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pytest
from django.apps import apps
from django.db import transaction
from hypothesis import HealthCheck, given, settings, strategies as st

from rag.attributes import parse_filter
from rag.errors import CollectionNotFound
from rag.models import Collection, IndexState, Visibility
from rag.retrieval import Retriever
from rag.scope import Scope
from tests.rag.library_scenes import make_scope
from tests.rag.passage_scenes import (
    add_version,
    answer,
    ask,
    make_index,
    make_shelf,
    put,
    running_retriever,
    write_chunks,
)

pytestmark = pytest.mark.django_db

TENANTS = ("ours", "theirs", "others")
NAMES = ("a", "b", "c")
KEYS = {f"{tenant}-{number}": tenant for tenant in TENANTS for number in (1, 2)}
NOT_FOUND = repr(CollectionNotFound())  # absent or forbidden: the same words


@dataclass(frozen=True, slots=True)
class Shelf:
    """A collection, as this test sees it: whoever `may_read` finds its text."""

    tenant: str
    name: str
    visibility: Visibility
    readers: frozenset[str]

    def may_read(self, asker: Asker) -> bool:
        if asker.names is not None and self.name not in asker.names:
            return False
        match self.visibility:
            case Visibility.EVERYBODY:
                return True
            case Visibility.TENANT:
                return asker.tenant == self.tenant
            case Visibility.KEYS:
                return asker.key in self.readers

    @property
    def text(self) -> str:
        return f"leave of {self.tenant} {self.name}"


@dataclass(frozen=True, slots=True)
class Asker:
    """Who asks; an empty key is none, and names are None for all."""

    tenant: str
    key: str
    names: frozenset[str] | None


SHELVES = st.lists(
    st.builds(
        Shelf,
        st.sampled_from(TENANTS),
        st.sampled_from(NAMES),
        st.sampled_from(Visibility),
        st.frozensets(st.sampled_from(list(KEYS)), max_size=3),
    ),
    unique_by=lambda shelf: (shelf.tenant, shelf.name),
    max_size=6,
).filter(
    lambda shelves: (
        len({s.name for s in shelves if s.visibility == "everybody"})
        == len([s for s in shelves if s.visibility == "everybody"])
    )
)
ASKERS = st.one_of(
    st.builds(
        lambda key, names: Asker(KEYS[key], key, names),
        st.sampled_from(list(KEYS)),
        st.none() | st.frozensets(st.sampled_from(NAMES)),
    ),
    st.builds(Asker, st.sampled_from(TENANTS), st.just(""), st.none()),
)
QUESTIONS = st.lists(st.sampled_from([*NAMES, "absent"]), min_size=1, max_size=3)


@pytest.fixture(scope="module")
def retriever() -> Iterator[Retriever]:
    with running_retriever() as running:
        yield running


@settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(SHELVES, st.lists(st.tuples(ASKERS, QUESTIONS), min_size=1, max_size=8))
def test_a_question_finds_what_may_be_read_and_nothing_else(
    retriever: Retriever,
    shelves: list[Shelf],
    questions: list[tuple[Asker, list[str]]],
) -> None:
    with transaction.atomic():
        scopes = {name: make_scope(name) for name in TENANTS}
        make_keys(scopes)
        for shelf in shelves:
            fill(shelf, scopes)
        for asker, names in questions:
            expected = texts_for(asker, names, shelves)
            scope = Scope(scopes[asker.tenant].tenant_id, asker.key, asker.names)
            assert found(retriever, scope, names) == expected
        transaction.set_rollback(True)


def texts_for(
    asker: Asker, names: Sequence[str], shelves: Sequence[Shelf]
) -> set[str] | str:
    """Say what is to be found, the tenant's own before others', or what is said."""
    texts = set()
    for name in names:
        mine = [s for s in shelves if s.name == name and s.may_read(asker)]
        if not mine:
            return NOT_FOUND
        texts.add(min(mine, key=lambda shelf: shelf.tenant != asker.tenant).text)
    return texts


def found(retriever: Retriever, scope: Scope, names: Sequence[str]) -> set[str] | str:
    """Ask by words that every text has, with and without a filter; or what is said."""
    try:
        plain = ask(retriever, scope, "leave of", *names)
    except CollectionNotFound as error:
        with pytest.raises(CollectionNotFound):
            ask(retriever, scope, "", *names)
        return repr(error)
    every = parse_filter({"type": "ne", "key": "x", "value": 1})
    filtered = ask(retriever, scope, "leave of", *names, filters=every)
    assert filtered.passages == plain.passages
    chosen = answer(retriever, scope, "leave of", *names, top_k=20)
    texts = {passage.text for passage in plain.passages.values()}
    assert {hit.text for hit in chosen.hits} == texts
    return texts


def make_keys(scopes: dict[str, Scope]) -> None:
    for key, tenant in KEYS.items():
        apps.get_model("gateway", "ApiKey").objects.create(
            tenant_id=scopes[tenant].tenant_id, name=key, public_id=key, digest=key
        )


def fill(shelf: Shelf, scopes: dict[str, Scope]) -> Collection:
    """Make a collection with what is found, and with what is not found by anybody."""
    collection = make_shelf(
        scopes[shelf.tenant], shelf.name, visibility=shelf.visibility
    )
    keys = apps.get_model("gateway", "ApiKey").objects
    collection.readers.set(keys.filter(public_id__in=shelf.readers))
    document = put(collection, shelf.text)
    current = document.versions.get()
    add_version(document, "leave of another version")
    building = make_index(collection, IndexState.BUILDING)
    write_chunks(building, current, ["leave of another index"])
    return collection
