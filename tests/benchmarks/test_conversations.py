"""Tests of the generated conversations: the same every time, with answers that fit."""

from __future__ import annotations

import itertools
from collections import Counter

import pytest

from benchmarks.conversations import (
    POOLS,
    Conversation,
    Wording,
    generate,
    read_episodes,
)


@pytest.fixture(scope="module")
def conversation() -> Conversation:
    return generate(1, often=3, turns=220)


def test_the_same_seed_tells_the_same(conversation: Conversation) -> None:
    assert generate(1, often=3, turns=220) == conversation
    assert generate(2, often=3, turns=220) != conversation


def test_questions_of_every_wording_are_asked_often(conversation: Conversation) -> None:
    counts = Counter(question.kind for question in conversation.questions)
    assert set(counts) == set(Wording)
    assert min(counts.values()) >= 50
    assert sum(counts.values()) >= 200


def test_every_question_is_asked_once_and_answered_by_the_user(
    conversation: Conversation,
) -> None:
    texts = [question.text for question in conversation.questions]
    assert len(set(texts)) == len(texts)
    answering = {p for question in conversation.questions for p in question.evidence}
    assert {conversation.turns[position].speaker for position in answering} == {"user"}


def test_the_answer_to_a_question_stands_in_its_evidence() -> None:
    conversation = generate(5, often=4, turns=300)
    fitting = [
        conversation.turns[position].text
        for question in conversation.questions
        if question.text.startswith("At what time does")
        for position in question.evidence
    ]
    assert len(fitting) == 4
    assert all(text.startswith("Number ") for text in fitting)


def test_user_and_assistant_take_turns_over_weeks(conversation: Conversation) -> None:
    turns = conversation.turns
    assert [turn.speaker for turn in turns[:4]] == ["user", "assistant"] * 2
    assert all(one.speaker != other.speaker for one, other in itertools.pairwise(turns))
    times = [turn.at_s for turn in turns]
    assert times == sorted(times)
    assert times[-1] - times[0] > 14 * 86_400


@pytest.mark.parametrize("turns", [220, 1000, 3000])
def test_it_is_about_as_long_as_asked(turns: int) -> None:
    assert len(generate(3, often=3, turns=turns).turns) == pytest.approx(turns, rel=0.1)


def test_no_slot_stays_open() -> None:
    conversation = generate(4, often=5, turns=1000)
    said = [turn.text for turn in conversation.turns]
    asked = [question.text for question in conversation.questions]
    assert not [text for text in said + asked if "{" in text]


def test_names_are_enough_for_every_repetition() -> None:
    keys = {key for episode in read_episodes()["often"] for key in episode.keys}
    assert min(len(POOLS[key]) for key in keys) >= 5
