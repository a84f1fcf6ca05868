"""What is given back verbatim and what fits beside it."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given, strategies as st

from memory.config import Policy
from memory.turns import StoredTurn, has_calls
from memory.weaving import block_text
from memory.window import (
    Budget,
    budget_of,
    recent_window,
    summary_tokens,
    tokens_added,
    window_of,
    within_budget,
)
from rag.fencing import delimiter_of
from tests.memory.conversation import (
    assistant,
    call,
    result,
    stored_turn,
    stored_turns,
    user,
)

KINDS = {
    "u": user("What is the time?"),
    "a": assistant("It is noon."),
    "p": assistant("It is no"),
    "c": call('{"zone": "UTC"}', "clock"),
    "t": result("12:00"),
}
CONVERSATIONS = st.text("uapct", max_size=14)


def turns_of(kinds: str) -> list[StoredTurn]:
    turns = stored_turns([KINDS[kind] for kind in kinds])
    return [
        replace(turn, is_partial=kind == "p")
        for turn, kind in zip(turns, kinds, strict=True)
    ]


def kinds_of(turns: tuple[StoredTurn, ...], kinds: str) -> str:
    return "".join(kinds[turn.seq - 1] for turn in turns)


@pytest.mark.parametrize(
    ("kinds", "most", "window"),
    [
        ("uaua", 4, "uaua"),
        ("uauaua", 4, "uaua"),
        ("uauaua", 3, "ua"),
        ("uauaua", 1, ""),
        ("uauaua", 0, ""),
        ("", 8, ""),
        ("aua", 8, "ua"),
        ("uau", 8, "ua"),
        ("uap", 8, "ua"),
        ("upua", 8, "uua"),
        ("uctaua", 8, "uaua"),
        ("uctct", 8, ""),
        ("uaa", 8, "uaa"),
        ("uua", 8, "uua"),
        ("uuaua", 4, "ua"),
    ],
)
def test_the_window_holds_the_newest_whole_exchanges(kinds, most, window):
    found = recent_window(turns_of(kinds), most_turns=most, budget_tokens=10_000)
    assert kinds_of(found, kinds) == window


@given(CONVERSATIONS, st.integers(0, 10), st.integers(0, 120))
def test_a_window_is_in_order_and_within_its_bounds(kinds, most, budget):
    turns = turns_of(kinds)
    found = recent_window(turns, most_turns=most, budget_tokens=budget)
    assert len(found) <= most
    assert sum(turn.tokens for turn in found) <= budget
    assert [turn.seq for turn in found] == sorted({turn.seq for turn in found})
    assert not any(turn.is_partial or has_calls(turn.text) for turn in found)
    assert {turn.role for turn in found} <= {"user", "assistant"}
    if found:
        assert (found[0].role, found[-1].role) == ("user", "assistant")


@given(CONVERSATIONS, st.integers(0, 10), st.integers(0, 120))
def test_a_window_leaves_out_nothing_newer_that_it_could_hold(kinds, most, budget):
    turns = turns_of(kinds)
    whole = recent_window(turns, most_turns=99, budget_tokens=10_000)
    found = recent_window(turns, most_turns=most, budget_tokens=budget)
    assert whole[len(whole) - len(found) :] == found


def test_an_exchange_that_does_not_fit_ends_the_window():
    turns = stored_turns(
        [
            user("a"),
            assistant("b"),
            user("x" * 700),
            assistant("y"),
            user("c"),
            assistant("d"),
        ]
    )
    found = recent_window(turns, most_turns=8, budget_tokens=100)
    assert [turn.text for turn in found] == ["c", "d"]


@pytest.mark.parametrize(
    ("max_tokens", "room", "tokens", "recent"),
    [
        (1_500, None, 1_500, 600),
        (1_500, 1_000, 1_000, 400),
        (1_500, 9_000, 1_500, 600),
        (1_500, -5, 0, 0),
        (0, 1_000, 0, 0),
        (1, None, 1, 0),
    ],
)
def test_a_budget_is_the_policys_or_what_there_is_room_for(
    max_tokens, room, tokens, recent
):
    policy = Policy(max_tokens=max_tokens)
    assert budget_of(policy, room) == Budget(tokens, recent)


@pytest.mark.parametrize(
    ("pairs", "changes", "given_back"),
    [
        (2, {}, 4),
        (9, {}, 18),
        (10, {}, 8),
        (2, {"recent_turns": 0}, 0),
        (9, {"max_tokens": 150}, 6),
        (9, {"max_tokens": 100}, 4),
        (2, {"max_tokens": 0}, 0),
    ],
)
def test_a_short_session_that_fits_is_given_back_whole(pairs, changes, given_back):
    turns = turns_of("ua" * pairs)  # 9 and 8 tokens
    policy = Policy(**changes)
    found = window_of(turns, policy=policy, budget=budget_of(policy, None))
    assert len(found) == given_back


def test_the_best_turns_are_recalled_in_the_order_of_the_session():
    turns = turns_of("uauaua")
    best_first = [turns[4], turns[0], turns[3], turns[1]]
    found = within_budget(best_first, budget_tokens=1_000, most=3)
    assert [turn.seq for turn in found] == [1, 4, 5]


def test_a_turn_that_is_too_long_is_passed_over():
    long, short = stored_turn(user("x" * 900), 1), stored_turn(user("y"), 2)
    assert within_budget([long, short], budget_tokens=100, most=5) == (short,)
    assert within_budget([long, short], budget_tokens=20, most=5) == ()


@given(
    st.lists(st.text(max_size=300).map(user), max_size=8),
    st.text(max_size=100),
    st.integers(0, 600),
)
def test_the_block_costs_no_more_than_its_budget(messages, summary, budget):
    left = budget - summary_tokens(summary)
    recalled = within_budget(stored_turns(messages), budget_tokens=left, most=8)
    if not recalled:
        return
    text = block_text(recalled, summary=summary, delimiter=delimiter_of("secret", "x"))
    cost = math.ceil(len(text) / 3.5) + 4
    assert cost <= tokens_added((), recalled, summary) <= budget


def test_what_is_added_is_the_sum_of_its_parts():
    turns = turns_of("ua")
    recent = sum(turn.tokens for turn in turns)
    assert tokens_added((), ()) == 0
    assert tokens_added(turns, ()) == recent
    assert tokens_added(turns, turns) == 2 * recent + 75 + 2 * 5
    assert tokens_added((), (), "x" * 35) == 75 + 20
