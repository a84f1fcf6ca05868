"""What a simulated model says: text, tools, limits and counts."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, strategies as st

from gateway.simulator import Behaviour
from gateway.simulator.answer import (
    Ask,
    Finish,
    Tool,
    ToolChoice,
    compose,
    count_content,
    count_tokens,
    pieces,
)

PLACE = {"type": "object", "properties": {"place": {"type": "string"}}}
WEATHER = Tool("get_weather", PLACE)
TIME = Tool("get_time", PLACE)
ASK = Ask(model="m", last_user_text="Say hello", input_tokens=3)


def called(ask: Ask) -> list[str]:
    return [call.name for call in compose(ask, Behaviour()).calls]


def test_the_text_names_itself_and_echoes_the_user() -> None:
    reply = compose(ASK, Behaviour())
    assert "simulated" in reply.text
    assert reply.text.endswith("Say hello")
    assert reply.finish is Finish.STOP


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Say hello", []),
        ("Use a tool", ["get_weather"]),
        ("Use get_time now", ["get_time"]),
        ("get_time and get_weather please", ["get_weather", "get_time"]),
        ("Use both tools", ["get_weather", "get_time"]),
        ("get_time for both towns", ["get_time", "get_time"]),
        ("What a toolbox", []),
    ],
)
def test_tools_are_called_when_the_user_asks_for_them(
    text: str, expected: list[str]
) -> None:
    ask = replace(ASK, last_user_text=text, tools=(WEATHER, TIME))
    assert called(ask) == expected


def test_forced_tools_are_called_whatever_the_text_says() -> None:
    ask = replace(ASK, tools=(WEATHER, TIME), tool_choice=ToolChoice.REQUIRED)
    assert called(ask) == ["get_weather"]
    named = replace(ask, tool_choice=ToolChoice.NAMED, named_tool="get_time")
    assert called(named) == ["get_time"]


def test_no_tool_is_called_when_the_choice_is_none() -> None:
    ask = replace(ASK, last_user_text="Use a tool", tools=(WEATHER,))
    assert called(replace(ask, tool_choice=ToolChoice.NONE)) == []


def test_only_one_tool_is_called_where_parallel_calls_are_off() -> None:
    ask = replace(ASK, last_user_text="Use both tools", tools=(WEATHER, TIME))
    assert called(replace(ask, allows_parallel_calls=False)) == ["get_weather"]


def test_results_of_tools_are_answered_in_text() -> None:
    ask = replace(
        ASK, last_user_text="Use a tool", tools=(WEATHER,), tool_results=("12 degrees",)
    )
    reply = compose(ask, Behaviour())
    assert reply.calls == ()
    assert "12 degrees" in reply.text


def test_a_stop_sequence_ends_the_text_before_itself() -> None:
    reply = compose(replace(ASK, stop=("hello", "You said")), Behaviour())
    assert reply.text == "This is a simulated answer from m. "
    assert (reply.finish, reply.stop_sequence) == (Finish.STOP_SEQUENCE, "You said")


@given(st.integers(0, 40), st.booleans())
def test_no_answer_is_longer_than_max_tokens(limit: int, wants_thinking: bool) -> None:
    ask = replace(ASK, max_tokens=limit, wants_thinking=wants_thinking)
    reply = compose(ask, Behaviour())
    whole = compose(replace(ask, max_tokens=None), Behaviour())
    assert reply.output_tokens <= limit
    assert (reply.finish is Finish.LENGTH) == (whole.output_tokens > limit)


@given(st.text(max_size=200))
def test_pieces_are_the_text_and_as_many_as_its_tokens(text: str) -> None:
    assert "".join(pieces(text)) == text
    assert len(pieces(text)) == count_tokens(text)


@given(st.integers(0, 500))
def test_a_fixed_number_of_tokens_is_kept(tokens: int) -> None:
    reply = compose(ASK, Behaviour(answer_tokens=tokens))
    assert reply.output_tokens == tokens


def test_a_fixed_text_is_said_word_for_word() -> None:
    assert compose(ASK, Behaviour(answer_text="Just so.")).text == "Just so."


def test_the_tokens_of_parts_are_counted_and_an_image_has_its_price() -> None:
    parts = [
        {"type": "text", "text": "12345678"},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}},
    ]
    assert count_content([{"content": parts}]) == 2 + 85
