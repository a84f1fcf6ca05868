"""Recall, write, search and reading, through `Memory` on a real database."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from django.db import OperationalError, connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from memory import session_copy
from memory.config import Policy
from memory.errors import InvalidCursor, SessionNotFound
from memory.exchange import RecallStatus
from memory.models import Session, Turn
from memory.service import Memory
from rag.embedding_lanes import EmbeddingLanes
from rag.scope import Scope
from tests.memory.scenes import (
    NOW_S,
    POLICY,
    assistant,
    exchanged,
    make_memory,
    make_scope,
    no_embedder,
    recall,
    running_lanes,
    text_of,
    user,
)

pytestmark = pytest.mark.django_db
LONG = "and so on and on about nothing at all, for the sake of the length of it " * 3


@pytest.fixture(scope="module")
def lanes() -> Iterator[EmbeddingLanes]:
    with running_lanes() as lanes:
        yield lanes


@pytest.fixture
def memory(lanes: EmbeddingLanes) -> Memory:
    return make_memory(lanes)


@pytest.fixture
def scope() -> Scope:
    return make_scope("a", owner="key-of-a")


def talk(memory: Memory, scope: Scope, count: int, *, session_id: str = "s") -> None:
    """Write exchanges about numbered things, each long enough to fill the budget."""
    memory.write(
        [
            exchanged(
                scope,
                user(f"Topic number{n} {LONG}"),
                answer=f"Noted reply{n} {LONG}",
                session_id=session_id,
                at_s=NOW_S + n,
            )
            for n in range(count)
        ]
    )


def test_what_was_said_comes_back_with_the_session(
    memory: Memory, scope: Scope
) -> None:
    memory.write([exchanged(scope, user("My name is Alice"), session_id="user-123")])
    asked = user("What is my name?")
    found = recall(memory, scope, asked, session_id="user-123")
    assert found.status is RecallStatus.HIT
    assert found.messages == [user("My name is Alice"), assistant("Fine."), asked]


def test_an_unknown_session_is_a_miss(memory: Memory, scope: Scope) -> None:
    found = recall(memory, scope, user("What is my name?"))
    assert (found.status, found.messages) == (RecallStatus.MISS, None)


def test_another_tenants_session_of_the_same_name_is_a_miss(
    memory: Memory, scope: Scope
) -> None:
    memory.write([exchanged(scope, user("My name is Alice"))])
    found = recall(memory, make_scope("b"), user("What is my name?"))
    assert found.status is RecallStatus.MISS


def test_an_old_turn_is_recalled_when_it_matters(memory: Memory, scope: Scope) -> None:
    memory.write([exchanged(scope, user("The zebra password is sesame"))])
    talk(memory, scope, 60)
    found = recall(memory, scope, user("Tell me please what is the zebra password"))
    assert found.status is RecallStatus.HIT
    assert found.recalled > 0
    assert "The zebra password is sesame" in text_of(found)
    assert found.tokens <= POLICY.max_tokens


def test_a_write_is_seen_by_the_next_recall(memory: Memory, scope: Scope) -> None:
    talk(memory, scope, 30)
    recall(memory, scope, user("What about number3?"))
    memory.write([exchanged(scope, user("My cat is called Morpheus"))])
    assert "Morpheus" in text_of(recall(memory, scope, user("And my cat?")))


def test_a_write_of_another_process_is_seen(
    lanes: EmbeddingLanes, memory: Memory, scope: Scope
) -> None:
    talk(memory, scope, 30)
    recall(memory, scope, user("What about number3?"))
    make_memory(lanes).write([exchanged(scope, user("My cat is called Morpheus"))])
    assert "Morpheus" in text_of(recall(memory, scope, user("And my cat?")))


def test_a_left_branch_is_forgotten_by_every_copy(
    lanes: EmbeddingLanes, memory: Memory, scope: Scope
) -> None:
    first = [user("I live in Paris"), assistant("Fine."), user("Which river is there?")]
    memory.write([exchanged(scope, first[0])])
    memory.write([exchanged(scope, *first, answer="The Seine.")])
    assert "Seine" in text_of(recall(memory, scope, user("Tell me about my town")))
    edited = [*first[:2], user("Which mountain is there?")]
    make_memory(lanes).write([exchanged(scope, *edited, answer="Montmartre.")])
    seen = text_of(recall(memory, scope, user("Tell me about my town")))
    assert "Montmartre" in seen
    assert "Seine" not in seen
    assert Turn.objects.filter(is_superseded=True).count() == 2


def test_a_partial_answer_is_kept_and_not_recalled(
    memory: Memory, scope: Scope
) -> None:
    memory.write([exchanged(scope, user("Go on"), answer="brok", is_partial=True)])
    assert "brok" not in text_of(recall(memory, scope, user("And then?")))
    (_, answer) = memory.turns(scope, "s").turns
    assert (answer.text, answer.is_partial, answer.model) == ("brok", True, "m")


def test_a_retry_is_stored_once(memory: Memory, scope: Scope) -> None:
    asked = exchanged(scope, user("My name is Alice"), request_id="r1")
    memory.write([asked, replace(asked, answer="Hello, Alice.")])
    assert [turn.text for turn in memory.turns(scope, "s").turns] == [
        "My name is Alice",
        "Hello, Alice.",
    ]


def test_nothing_is_repeated_that_the_client_sends_itself(
    memory: Memory, scope: Scope
) -> None:
    memory.write([exchanged(scope, user("My name is Alice"))])
    sent = [user("My name is Alice"), assistant("Fine."), user("What is my name?")]
    found = recall(memory, scope, *sent)
    assert (found.status, found.messages) == (RecallStatus.MISS, None)


def test_rounds_of_a_tool_loop_get_the_same_block(memory: Memory, scope: Scope) -> None:
    memory.write([exchanged(scope, user("The zebra password is sesame"))])
    talk(memory, scope, 60)
    asked = user("Tell me please what is the zebra password")
    first = recall(memory, scope, asked, now_s=NOW_S + 100)
    calls = [{"id": "1", "type": "function", "function": {"name": "f"}}]
    called = {"role": "assistant", "content": None, "tool_calls": calls}
    memory.write(
        [exchanged(scope, asked, answer="", tool_calls=[("f", "{}")], at_s=NOW_S + 100)]
    )
    result = {"role": "tool", "tool_call_id": "1", "content": "42"}
    second = recall(memory, scope, asked, called, result, now_s=NOW_S + 101)
    assert first.messages
    assert second.messages == [*first.messages, called, result]


def test_recall_is_off_where_the_policy_or_the_session_says_so(
    memory: Memory, scope: Scope
) -> None:
    memory.write([exchanged(scope, user("My name is Alice"))])
    asked = user("What is my name?")
    off = Policy(is_enabled=False)
    assert recall(memory, scope, asked, policy=off).status is RecallStatus.OFF
    Session.objects.update(settings={"is_enabled": False})
    assert recall(memory, scope, asked).status is RecallStatus.OFF
    memory.write([exchanged(scope, user("Not this"))])
    assert memory.turns(scope, "s").session.turns == 2


def test_a_disabled_policy_writes_nothing(memory: Memory, scope: Scope) -> None:
    off = Policy(is_enabled=False)
    assert memory.write([exchanged(scope, user("Not this"), policy=off)]) == 0
    assert not Session.objects.exists()


def test_a_session_that_has_ended_is_absent_and_begun_anew(
    memory: Memory, scope: Scope
) -> None:
    memory.write([exchanged(scope, user("My name is Alice"))])
    later_s = NOW_S + timedelta(days=31).total_seconds()
    Session.objects.update(expires_at=timezone.now() - timedelta(days=1))
    with pytest.raises(SessionNotFound):
        memory.turns(scope, "s")
    found = recall(memory, scope, user("What is my name?"), now_s=later_s)
    assert found.status is RecallStatus.MISS
    memory.write([exchanged(scope, user("My name is Bob"), at_s=later_s)])
    assert list(Turn.objects.values_list("seq", "text")) == [
        (1, "My name is Bob"),
        (2, "Fine."),
    ]


@pytest.mark.parametrize(("own_days", "days"), [(None, 30), (7, 7), (0, None)], ids=str)
def test_a_session_ends_some_days_after_its_last_use(
    memory: Memory, scope: Scope, own_days: int | None, days: int | None
) -> None:
    memory.write([exchanged(scope, user("One"))])
    Session.objects.update(ttl_days=own_days)
    memory.write([exchanged(scope, user("Two"), at_s=NOW_S + 5)])
    ends = datetime.fromtimestamp(NOW_S + 5, UTC) + timedelta(days=days or 0)
    assert Session.objects.get().expires_at == (None if days is None else ends)


def test_without_an_embedder_keywords_find_it_and_it_is_degraded(scope: Scope) -> None:
    lanes = EmbeddingLanes(no_embedder)
    try:
        memory = make_memory(lanes)
        memory.write([exchanged(scope, user("The zebra password is sesame"))])
        talk(memory, scope, 60)
        found = recall(memory, scope, user("Tell me what is the zebra password now"))
    finally:
        lanes.close()
    assert found.status is RecallStatus.DEGRADED
    assert "There is no embedder" in found.problem
    assert "The zebra password is sesame" in text_of(found)
    assert set(Turn.objects.values_list("embedding_state", flat=True)) == {"pending"}


def test_past_the_deadline_keywords_are_all_there_is(
    memory: Memory, scope: Scope
) -> None:
    talk(memory, scope, 60)
    asked = user("Tell me what is the matter with number3")
    found = recall(memory, scope, asked, deadline_s=time.monotonic() - 1)
    assert found.status is RecallStatus.DEGRADED
    assert found.recent > 0
    assert "Topic number3" in text_of(found)


def test_a_session_too_long_to_be_read_in_time_is_read_bit_by_bit(
    memory: Memory, scope: Scope, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session_copy, "CHUNK_TURNS", 50)
    talk(memory, scope, 60)
    asked = user("Tell me what is the matter with number3")
    found = recall(memory, scope, asked, deadline_s=time.monotonic() - 1)
    assert found.status is RecallStatus.DEGRADED
    assert "in time" in found.problem
    assert (found.recent > 0, found.recalled) == (True, 0)
    recall(memory, scope, asked, deadline_s=time.monotonic() - 1)
    found = recall(memory, scope, asked, deadline_s=time.monotonic() - 1)
    assert "Topic number3" in text_of(found)


@pytest.mark.django_db(transaction=True)
@pytest.mark.skipif(
    connection.vendor != "sqlite", reason="elsewhere a missing table is no outage"
)
def test_a_database_that_fails_degrades_and_says_so_to_the_writer(
    memory: Memory, scope: Scope
) -> None:
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE memory_session RENAME TO away")
    try:
        found = recall(memory, scope, user("What is my name?"))
        with pytest.raises(OperationalError):
            memory.write([exchanged(scope, user("My name is Alice"))])
    finally:
        with connection.cursor() as cursor:
            cursor.execute("ALTER TABLE away RENAME TO memory_session")
    assert (found.status, found.messages) == (RecallStatus.DEGRADED, None)
    assert "database" in found.problem


def test_even_a_fault_of_ours_costs_no_chat_its_answer(
    memory: Memory, scope: Scope
) -> None:
    memory.write([exchanged(scope, user("One"))])
    found = recall(memory, scope, user("Two"), now_s=float("nan"))
    assert found.status is RecallStatus.DEGRADED
    assert "ValueError" in found.problem


def test_a_fault_in_one_exchange_does_not_cost_the_others(
    memory: Memory, scope: Scope
) -> None:
    broken = exchanged(scope, user("Broken"), tool_calls=None)
    fine = exchanged(scope, user("Whole"))
    assert memory.write([broken, fine]) == 2
    assert [turn.text for turn in memory.turns(scope, "s").turns] == ["Whole", "Fine."]


@pytest.mark.parametrize("count", [10, 200])
def test_a_recall_makes_few_queries_whatever_the_session_holds(
    memory: Memory, scope: Scope, count: int
) -> None:
    talk(memory, scope, count)
    asked = user("Tell me what is the matter with number3")
    recall(memory, scope, asked)
    with CaptureQueriesContext(
        connection,
    ) as warm:
        recall(memory, scope, asked)
    assert len(warm) == 1
    memory.write([exchanged(scope, user("One more"))])
    with CaptureQueriesContext(connection) as after_a_write:
        recall(memory, scope, asked)
    assert len(after_a_write) == 5


def test_search_finds_the_best_first_with_its_parts(
    memory: Memory, scope: Scope
) -> None:
    talk(memory, scope, 20)
    memory.write([exchanged(scope, user("The zebra password is sesame"))])
    first, *others = memory.search(scope, "s", "zebra password", 5)
    assert first.turn.text == "The zebra password is sesame"
    assert [hit.score for hit in others] == sorted(
        (hit.score for hit in others), reverse=True
    )
    shown = first.as_dict()
    assert shown["score"] == first.score
    assert {"dense", "keyword", "fused"} <= first.parts.keys()
    assert (shown["role"], shown["external_id"]) == ("user", None)


def test_what_is_superseded_or_partial_is_not_found(
    memory: Memory, scope: Scope
) -> None:
    memory.write([exchanged(scope, user("One"), answer="zebra", is_partial=True)])
    assert [hit.turn.text for hit in memory.search(scope, "s", "zebra", 5)] != ["zebra"]


@pytest.mark.parametrize("session_id", ["none", "nul\0", ""])
def test_what_is_not_there_is_not_found(
    memory: Memory, scope: Scope, session_id: str
) -> None:
    talk(memory, make_scope("other"), 1, session_id="none")
    for ask in (memory.turns, memory.export, memory.delete_session):
        with pytest.raises(SessionNotFound):
            ask(scope, session_id)
    with pytest.raises(SessionNotFound):
        memory.search(scope, session_id, "anything")
    assert recall(memory, scope, user("x"), session_id=session_id).messages is None


def test_sessions_are_listed_page_by_page_the_last_used_first(
    memory: Memory, scope: Scope
) -> None:
    now_s = timezone.now().timestamp()
    for n in range(7):
        # Two at the same time each: the row id decides.
        at_s = now_s + n // 2
        memory.write([exchanged(scope, user("x"), session_id=f"s{n}", at_s=at_s)])
    talk(memory, make_scope("other"), 1, session_id="not ours")
    seen, after = list[str](), None
    while True:
        page = memory.sessions(scope, after=after, limit=3)
        seen += [session.session_id for session in page.sessions]
        if (after := page.next) is None:
            break
    assert seen == ["s6", "s5", "s4", "s3", "s2", "s1", "s0"]
    assert page.sessions[0].as_dict()["owner"] == "key-of-a"
    assert page.sessions[0].turns == 2


@pytest.mark.parametrize(
    "after", ["", "x", "20260101T000000Z-", "2026-01-01-1", "20260101T000000Z-9e9"]
)
def test_a_bad_cursor_is_refused(memory: Memory, scope: Scope, after: str) -> None:
    with pytest.raises(InvalidCursor):
        memory.sessions(scope, after=after)


def test_turns_are_read_page_by_page(memory: Memory, scope: Scope) -> None:
    talk(memory, scope, 3)
    first = memory.turns(scope, "s", limit=4)
    assert [turn.seq for turn in first.turns] == [1, 2, 3, 4]
    second = memory.turns(scope, "s", after_seq=first.next_seq or 0, limit=4)
    assert ([turn.seq for turn in second.turns], second.next_seq) == ([5, 6], None)


def test_an_export_holds_everything(memory: Memory, scope: Scope) -> None:
    sent = [user("One"), assistant("Fine."), user("Two")]
    memory.write([exchanged(scope, user("One"))])
    memory.write([exchanged(scope, *sent)])
    memory.write([exchanged(scope, *sent[:2], user("Three"))])
    exported = memory.export(scope, "s")
    turns = exported["turns"]
    assert isinstance(turns, list)
    assert [(turn["content"], turn["superseded"]) for turn in turns] == [
        ("One", False),
        ("Fine.", False),
        ("Two", True),
        ("Fine.", True),
        ("Three", False),
        ("Fine.", False),
    ]
    assert exported["session_id"] == "s"


def test_a_summary_stands_in_the_block_when_something_is_left_out(
    memory: Memory, scope: Scope
) -> None:
    talk(memory, scope, 60)
    Session.objects.update(summary="They spoke of numbered topics.")
    found = recall(memory, scope, user("Tell me what is the matter with number3"))
    assert "They spoke of numbered topics." in text_of(found)
    assert found.tokens <= POLICY.max_tokens


def test_a_turn_is_cut_at_a_hundred_thousand_characters(
    memory: Memory, scope: Scope
) -> None:
    memory.write([exchanged(scope, user("x" * 150_000))])
    assert len(memory.turns(scope, "s").turns[0].text) == 100_000
