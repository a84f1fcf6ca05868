"""What was said is read from the bytes that clients get, whole or split anywhere."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import orjson
import pytest
from hypothesis import given, strategies as st

from gateway.dialects.openai.answers import (
    MAX_TEXT_CHARS,
    Answer,
    AnswerReader,
    read_answer,
)


def whole(*messages: dict[str, Any]) -> bytes:
    choices = [{"index": i, "message": each} for i, each in enumerate(messages)]
    return orjson.dumps({"object": "chat.completion", "choices": choices})


def events(*deltas: dict[str, Any], index: int = 0) -> bytes:
    return b"".join(
        b"data: "
        + orjson.dumps({"choices": [{"index": index, "delta": delta}]})
        + b"\n\n"
        for delta in deltas
    )


def called(name: str, arguments: str) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name, "arguments": arguments}}


@pytest.mark.parametrize(
    ("message", "answer"),
    [
        ({"role": "assistant", "content": "Hello"}, Answer("Hello")),
        ({"content": None, "refusal": "I will not."}, Answer("I will not.")),
        ({"content": None}, Answer()),
        ({"content": ["parts"]}, Answer()),
        ({"content": "Yes", "reasoning_content": "Hm"}, Answer("Yes")),
        (
            {"content": None, "tool_calls": [called("f", "{}"), called("g", "1")]},
            Answer("", (("f", "{}"), ("g", "1"))),
        ),
        (
            {"tool_calls": [{"custom": {"name": "c", "input": "free text"}}]},
            Answer("", (("c", "free text"),)),
        ),
        (
            {"content": None, "function_call": {"name": "old", "arguments": "{}"}},
            Answer("", (("old", "{}"),)),
        ),
        ({"tool_calls": ["no object", {"function": {"arguments": "{}"}}]}, Answer()),
    ],
)
def test_a_whole_answer_is_read(message: dict[str, Any], answer: Answer) -> None:
    assert read_answer(whole(message)) == answer


@pytest.mark.parametrize("data", [b"", b"[]", b"{", b'{"choices": [1]}', b"\xff"])
def test_what_is_no_answer_has_said_nothing(data: bytes) -> None:
    assert not read_answer(data)


def test_of_several_choices_the_first_counts() -> None:
    assert read_answer(whole({"content": "one"}, {"content": "two"})) == Answer("one")
    reader = AnswerReader()
    reader.feed(events({"content": "two"}, index=1) + events({"content": "one"}))
    assert reader.answer() == Answer("one")


STREAM = (
    b": keep-alive\n\n"
    + events(
        {"role": "assistant", "content": ""},
        {"reasoning_content": "thinking"},
        {"content": "Grüß "},
        {"content": "dich"},
        {"tool_calls": [{"index": 0, "id": "1", **called("weather", "")}]},
        {"tool_calls": [{"index": 0, "function": {"arguments": '{"at": '}}]},
        {"tool_calls": [{"index": 1, "id": "2", **called("time", "{}")}]},
        {"tool_calls": [{"index": 0, "function": {"arguments": '"Rome"}'}}]},
        {},
    )
    + b'data: {"choices": [], "usage": {"total_tokens": 3}}\n\ndata: [DONE]\n\n'
)
SAID = Answer("Grüß dich", (("weather", '{"at": "Rome"}'), ("time", "{}")))


@given(st.lists(st.integers(0, len(STREAM))))
def test_a_stream_is_read_wherever_its_bytes_split(cuts: list[int]) -> None:
    reader = AnswerReader()
    edges = [0, *sorted(cuts), len(STREAM)]
    for start, end in pairwise(edges):
        reader.feed(STREAM[start:end])
    assert reader.answer() == SAID


def test_what_was_said_so_far_is_known_before_the_end() -> None:
    reader = AnswerReader()
    reader.feed(STREAM[: STREAM.index(b"dich")])
    assert reader.answer() == Answer("Grüß ")


def test_an_answer_is_cut_at_its_limit() -> None:
    half = "x" * (MAX_TEXT_CHARS // 2 + 1)
    reader = AnswerReader()
    for _ in range(3):
        reader.feed(events({"content": half}))
        reader.feed(events({"tool_calls": [{"index": 0, **called("f", half)}]}))
    answer = reader.answer()
    assert len(answer.text) == MAX_TEXT_CHARS
    assert len(answer.tool_calls[0][1]) == MAX_TEXT_CHARS


@given(st.binary())
def test_bytes_that_are_no_stream_are_passed_over(data: bytes) -> None:
    reader = AnswerReader()
    reader.feed(data)
    reader.feed(b"data: " + b"x" * (1024 * 1024 + 1) + b"\n\n")
    reader.feed(b"more")
    assert not reader.answer()
