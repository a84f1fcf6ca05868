"""What is kept of a client's message, and how it is known again."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies as st

from memory.turns import (
    answer_of,
    has_calls,
    said_in,
    said_of,
    text_said,
    tokens_of,
    unit_of,
)
from tests.memory.conversation import (
    answer_as_said,
    assistant,
    call,
    result,
    said,
    user,
)

IMAGE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=8,
)
PARTS = st.fixed_dictionaries(
    {},
    optional={
        "type": st.sampled_from(["text", "image_url", "thinking", "refusal"])
        | ANYTHING,
        "text": ANYTHING,
        "refusal": ANYTHING,
    },
)
MESSAGES = st.fixed_dictionaries(
    {"role": st.sampled_from(["user", "assistant", "tool", "function", "system"])},
    optional={
        "content": ANYTHING | st.lists(PARTS | ANYTHING, max_size=3),
        "refusal": ANYTHING,
        "audio": ANYTHING | st.fixed_dictionaries({"transcript": ANYTHING}),
        "tool_calls": ANYTHING
        | st.lists(
            st.fixed_dictionaries(
                {},
                optional={
                    "function": ANYTHING
                    | st.fixed_dictionaries({"name": ANYTHING, "arguments": ANYTHING}),
                    "custom": ANYTHING,
                },
            ),
            max_size=2,
        ),
        "function_call": ANYTHING,
    },
)


@pytest.mark.parametrize(
    ("message", "text"),
    [
        (user("My name is Alice"), "My name is Alice"),
        (user([{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]), "a\nb"),
        (
            user([IMAGE, {"type": "text", "text": "what is this?"}]),
            "what is this?\n[image]",
        ),
        (user([{"type": "input_audio", "input_audio": {}}]), "[audio]"),
        (user([{"type": "file", "file": {"file_id": "f"}}]), "[file]"),
        (user([{"type": "hologram"}]), "[attachment]"),
        (user([{"type": ["odd"]}]), "[attachment]"),
        (user(None), ""),
        (user("nul\x00 and \ud800"), "nul and \ufffd"),
        (assistant([{"type": "refusal", "refusal": "I cannot."}]), "I cannot."),
        ({"role": "assistant", "content": None, "refusal": "No."}, "No."),
        ({"role": "assistant", "content": None, "audio": {"id": "a"}}, "[audio]"),
        ({"role": "assistant", "audio": {"id": "a", "transcript": "Hi"}}, "Hi"),
        (
            assistant(
                [
                    {"type": "thinking", "thinking": "hm"},
                    {"type": "text", "text": "Yes"},
                ]
            ),
            "Yes",
        ),
        (assistant("<think>\nhm, she\n</think>\n\nAlice."), "Alice."),
        (assistant("Write <think>x</think> so."), "Write <think>x</think> so."),
        (
            {"role": "assistant", "content": "Yes", "reasoning_content": "hm"},
            "Yes",
        ),
        (call('{"q": "x"}'), 'called search({"q": "x"})'),
        (call('{"b":1,\n "a":2}'), 'called search({"a": 2, "b": 1})'),
        (call("not\njson"), "called search(not json)"),
        ({"role": "assistant", "tool_calls": [{"id": "1"}]}, "called ()"),
        (
            {
                "role": "assistant",
                "tool_calls": [{"custom": {"name": "sh", "input": "ls -l"}}],
            },
            "called sh(ls -l)",
        ),
        (
            {"role": "assistant", "function_call": {"name": "old", "arguments": "{}"}},
            "called old({})",
        ),
        (result("42"), "42"),
        ({"role": "function", "name": "old", "content": "7"}, "7"),
        (result("x" * 3_000), "x" * 2_000),
    ],
)
def test_a_message_is_kept_as_text(message, text):
    assert said(message).text == text


@pytest.mark.parametrize(
    "message",
    [
        {"role": "system", "content": "Be brief."},
        {"role": "developer", "content": "Be brief."},
        {"role": "critic", "content": "x"},
        {"role": ["user"], "content": "x"},
        {"content": "x"},
        assistant(""),
        assistant([{"type": "thinking", "thinking": "hm"}]),
        assistant("<think>nothing but this</think>"),
    ],
)
def test_instructions_and_empty_answers_are_not_kept(message):
    assert said_of(message) is None
    assert said_in([message, user("x")]) == (said(user("x")),)


@given(MESSAGES)
def test_whatever_a_message_holds_it_is_read_and_can_be_stored(message):
    found = said_of(message)
    if found is None:
        return
    assert "\x00" not in found.text
    assert found.text.encode().decode() == found.text
    assert found.tokens == tokens_of(found.text)
    assert found.role in {"user", "assistant", "tool"}


@pytest.mark.parametrize(
    ("one", "other", "are_same"),
    [
        (user("My  name\nis Alice "), user("My name is Alice"), True),
        (user([{"type": "text", "text": "hi"}]), user("hi"), True),
        (user("hi"), user("Hi"), False),
        (user("hi"), assistant("hi"), False),
        (call('{"a": 1, "b": 2}'), call('{"b":2,"a":1}'), True),
        (call('{"a": 1}'), call('{"a": 2}'), False),
        (call("{}", "one"), call("{}", "two"), False),
        (result("x" * 2_000), result("x" * 2_001), False),
        ({"role": "function", "content": "7"}, result("7"), True),
        (assistant("<think>a</think>Yes"), assistant("Yes"), True),
    ],
)
def test_a_message_is_known_again_by_what_it_says(one, other, are_same):
    assert (said(one).content_hash == said(other).content_hash) is are_same


@pytest.mark.parametrize(
    "message",
    [assistant("Yes."), call('{"q":"x"}'), {**call("{}"), "content": "Let me look."}],
)
def test_an_answer_equals_what_the_client_sends_of_it(message):
    assert answer_as_said(message) == said(message)


def test_no_answer_is_none():
    assert answer_of("", ()) is None
    assert answer_of(" \n", ()) is None


@pytest.mark.parametrize(
    ("message", "has_text"),
    [
        (user("hi"), True),
        (user(" "), False),
        (user([IMAGE]), False),
        (call("{}"), False),
        ({**call("{}"), "content": "Let me look."}, True),
        ({"role": "assistant", "audio": {"id": "a"}}, False),
    ],
)
def test_placeholders_and_calls_are_no_words(message, has_text):
    assert said(message).has_text is has_text


@pytest.mark.parametrize(
    ("message", "has"),
    [
        (call('{"text": "two\\nlines (and brackets)"}'), True),
        (call("broken\n(arguments"), True),
        ({**call("{}"), "content": "Let me look."}, True),
        (assistant("I called mother (twice)"), False),
        (assistant("called f(x) and then\nleft"), False),
    ],
)
def test_a_turn_that_ends_in_calls_is_seen(message, has):
    assert has_calls(said(message).text) is has


@pytest.mark.parametrize(("text", "tokens"), [("", 4), ("1234567", 6), ("12345678", 7)])
def test_tokens_are_estimated_from_the_length(text, tokens):
    assert tokens_of(text) == tokens


def test_plain_text_of_a_role_equals_a_message_of_it():
    assert text_said("user", "hi") == said(user("hi"))
    assert unit_of("user", "hi") == "user: hi"
