"""Turns from elsewhere: what is accepted, and that they can be found at once."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from memory.config import Policy
from memory.errors import InvalidTurns
from memory.importing import MAX_TURNS, read_turns
from memory.models import EmbeddingState, Session, Turn, TurnVector
from memory.service import Memory
from rag.embedding_lanes import EmbeddingLanes
from rag.scope import Scope
from tests.memory.scenes import (
    POLICY,
    UNFIT,
    make_memory,
    make_scope,
    no_embedder,
    running_lanes,
)

NOW = datetime(2090, 1, 1, tzinfo=UTC)


def turn(
    content: object = "x", role: object = "user", **more: object
) -> dict[str, Any]:
    return {"role": role, "content": content, **more}


@pytest.fixture(scope="module")
def lanes() -> Iterator[EmbeddingLanes]:
    with running_lanes() as lanes:
        yield lanes


@pytest.fixture
def memory(lanes: EmbeddingLanes) -> Memory:
    return make_memory(lanes)


@pytest.fixture
def scope(db: None) -> Scope:
    return make_scope("a")


def texts() -> list[str]:
    return list(Turn.objects.order_by("seq").values_list("text", flat=True))


@pytest.mark.parametrize(
    ("turns", "param"),
    [
        (None, "turns"),
        ({}, "turns"),
        ([], "turns"),
        ([turn()] * (MAX_TURNS + 1), "turns"),
        (["x"], "turns[0]"),
        ([turn(), turn(name="n")], "turns[1].name"),
        ([turn(), turn(role="system")], "turns[1].role"),
        ([turn(role="developer")], "turns[0].role"),
        ([turn(role=None)], "turns[0].role"),
        ([turn(role=[])], "turns[0].role"),
        ([turn(content=None)], "turns[0].content"),
        ([turn(content=5)], "turns[0].content"),
        ([turn(content=" \n")], "turns[0].content"),
        ([turn(content=[])], "turns[0].content"),
        ([turn(created="yesterday")], "turns[0].created"),
        ([turn(created=True)], "turns[0].created"),
        ([turn(created=-1)], "turns[0].created"),
        ([turn(created=1e300)], "turns[0].created"),
        ([turn(created=float("nan"))], "turns[0].created"),
        ([turn(created=[])], "turns[0].created"),
        ([turn(created="0001-01-01T00:00:00+14:00")], "turns[0].created"),
        ([turn(external_id="")], "turns[0].external_id"),
        ([turn(external_id="x" * 201)], "turns[0].external_id"),
        ([turn(external_id="a\0b")], "turns[0].external_id"),
        ([turn(external_id=5)], "turns[0].external_id"),
    ],
)
def test_what_cannot_be_imported_is_refused_by_name(turns: object, param: str) -> None:
    with pytest.raises(InvalidTurns) as caught:
        read_turns(turns)
    assert caught.value.param == param
    assert param in caught.value.message


@pytest.mark.parametrize(
    "created",
    [
        "2023-05-08T13:56:00Z",
        "2023-05-08T15:56:00+02:00",
        "2023-05-08 13:56",
        1683554160,
        1683554160.0,
    ],
)
def test_times_are_iso_8601_or_unix(created: object) -> None:
    (read,) = read_turns([turn(created=created)])
    assert read.created == datetime(2023, 5, 8, 13, 56, tzinfo=UTC)


def test_imported_turns_are_found_at_once(memory: Memory, scope: Scope) -> None:
    sent = [turn(f"thing{n} is here", external_id=f"e{n}") for n in range(300)]
    done = memory.import_turns(scope, "s", sent, policy=POLICY, now=NOW)
    assert (done.added, done.known, done.waiting) == (300, 0, 0)
    assert done.session.turns == 300
    best = memory.search(scope, "s", "thing217", 3)[0]
    assert best.turn.external_id == "e217"
    assert best.parts["dense"] == 1
    assert TurnVector.objects.count() == 300


def test_the_same_import_again_changes_nothing(memory: Memory, scope: Scope) -> None:
    sent = [turn(f"thing{n}", external_id=f"e{n}") for n in range(5)]
    memory.import_turns(scope, "s", sent, policy=POLICY, now=NOW)
    more = [*sent, turn("new", external_id="e5"), turn("twin", external_id="e5")]
    done = memory.import_turns(scope, "s", more, policy=POLICY, now=NOW)
    assert (done.added, done.known) == (1, 6)
    assert texts() == [*(f"thing{n}" for n in range(5)), "new"]
    other = memory.import_turns(scope, "t", sent, policy=POLICY, now=NOW)
    assert other.added == 5


def test_turns_stand_in_the_order_of_their_times(memory: Memory, scope: Scope) -> None:
    sent = [
        turn("before third"),
        turn("third", created=300),
        turn("after third"),
        turn("first", created=100),
        turn("also first", created=100),
        turn("second", created=200),
    ]
    memory.import_turns(scope, "s", sent, policy=POLICY, now=NOW)
    assert texts() == [
        "first",
        "also first",
        "second",
        "before third",
        "third",
        "after third",
    ]
    assert Turn.objects.get(text="after third").created_at.timestamp() == 300


def test_turns_without_times_stand_as_they_were_sent(
    memory: Memory, scope: Scope
) -> None:
    sent = [turn("b"), turn("a", role="assistant"), turn("c", role="tool")]
    memory.import_turns(scope, "s", sent, policy=POLICY, now=NOW)
    assert texts() == ["b", "a", "c"]
    assert set(Turn.objects.values_list("created_at", flat=True)) == {NOW}


def test_without_an_embedder_keywords_find_them(scope: Scope) -> None:
    lanes = EmbeddingLanes(no_embedder)
    memory = make_memory(lanes)
    sent = [turn("apples"), turn("pears")]
    done = memory.import_turns(scope, "s", sent, policy=POLICY, now=NOW)
    assert (done.added, done.waiting) == (2, 2)
    (hit, *_) = memory.search(scope, "s", "pears", 1)
    assert (hit.turn.text, hit.parts["dense"]) == ("pears", 0)
    lanes.close()


def test_one_text_that_cannot_be_embedded_does_not_spoil_the_others(
    memory: Memory, scope: Scope
) -> None:
    sent = [turn("apples"), turn(UNFIT), turn("pears")]
    done = memory.import_turns(scope, "s", sent, policy=POLICY, now=NOW)
    assert (done.added, done.waiting) == (3, 0)
    states = Turn.objects.order_by("seq").values_list("embedding_state", flat=True)
    made, failed = EmbeddingState.EMBEDDED, EmbeddingState.FAILED
    assert list(states) == [made, failed, made]
    assert TurnVector.objects.count() == 2


def test_a_session_that_is_not_to_be_remembered_takes_none(
    memory: Memory, scope: Scope
) -> None:
    off = Policy(is_enabled=False)
    with pytest.raises(InvalidTurns):
        memory.import_turns(scope, "s", [turn()], policy=off, now=NOW)
    assert not Session.objects.exists()
