"""Messages arranged by Anthropic's grammar."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterable
from itertools import pairwise
from typing import Any

import orjson
import pytest
from hypothesis import given, strategies as st

from gateway.dialects.anthropic.conversation import (
    MISSING_RESULT,
    OPENING_TURN,
    read_conversation,
)
from gateway.dialects.record import Audio, File, Image, Message, Role, Text, ToolCall
from gateway.errors import UpstreamError
from gateway.kinds import Fault
from gateway.snapshot import Capabilities

UNKNOWN = Capabilities()
PNG = base64.b64encode(b"\x89PNG\r\n\x1a\n" + bytes(16)).decode()
JPEG = base64.b64encode(b"\xff\xd8\xff\xe0" + bytes(20)).decode()
GIF = base64.b64encode(b"GIF89a" + bytes(20)).decode()
WEBP = base64.b64encode(b"RIFF\x10\0\0\0WEBPVP8 " + bytes(20)).decode()
PDF = base64.b64encode(b"%PDF-1.7\n" + bytes(20)).decode()
THOUGHT = {"type": "thinking", "thinking": "Let me see.", "signature": "EqQBCgIYAhIM"}


def system(text: str) -> Message:
    return Message(Role.SYSTEM, (Text(text),))


def user(*texts: str) -> Message:
    return Message(Role.USER, tuple(Text(text) for text in texts))


def assistant(*texts: str, calls: Iterable[ToolCall] = (), **more: Any) -> Message:
    parts = tuple(Text(text) for text in texts)
    return Message(Role.ASSISTANT, parts, tool_calls=tuple(calls), **more)


def call(id_: str, name: str = "get_weather", arguments: str = "{}") -> ToolCall:
    return ToolCall(id_, name, arguments)


def result(id_: str, *texts: str) -> Message:
    return Message(Role.TOOL, tuple(Text(text) for text in texts), tool_call_id=id_)


def turns(
    *messages: Message, capabilities: Capabilities = UNKNOWN
) -> list[tuple[str, Any]]:
    """Give the turns as they go over the wire: role and content."""
    read = read_conversation(messages, capabilities)
    return [
        (turn.role, orjson.loads(orjson.dumps(turn.blocks, default=dict)))
        for turn in read.turns
    ]


def text(*texts: str) -> list[dict[str, str]]:
    return [{"type": "text", "text": each} for each in texts]


def refusal_of(*messages: Message, capabilities: Capabilities = UNKNOWN) -> Fault:
    with pytest.raises(UpstreamError) as caught:
        read_conversation(messages, capabilities)
    assert caught.value.param == "messages"
    return caught.value.fault


def test_only_the_leading_instructions_become_the_system_prompt():
    messages = (system("Be brief."), system(" "), system("Be kind."), user("Hi"))
    read = read_conversation(messages, UNKNOWN)
    assert read.system == "Be brief.\n\nBe kind."
    assert turns(*messages) == [("user", text("Hi"))]


def test_later_instructions_stay_in_place_as_marked_text():
    assert turns(user("Hi"), assistant("Hello"), system("Now rhyme."), user("Go")) == [
        ("user", text("Hi")),
        ("assistant", text("Hello")),
        ("user", text("<system>\nNow rhyme.\n</system>", "Go")),
    ]


@pytest.mark.parametrize(
    ("messages", "roles"),
    [
        ((user("a"), system("s")), ["user", "system"]),
        ((user("a"), system("s"), system("t")), ["user", "system"]),
        (
            (user("a"), system("s"), assistant("b"), user("c")),
            ["user", "system", "assistant", "user"],
        ),
        ((user("a"), system("s"), user("b")), ["user"]),  # not before a user turn
        ((user("a"), assistant("b"), system("s")), ["user", "assistant", "user"]),
        ((user(" "), system("s")), ["user"]),  # nothing is left before it
    ],
)
def test_a_model_that_allows_it_gets_instructions_where_they_may_stand(messages, roles):
    capabilities = Capabilities(mid_conversation_system=True)
    assert [role for role, _ in turns(*messages, capabilities=capabilities)] == roles


def test_neighbours_of_one_role_are_joined_and_blank_text_is_left_out():
    assert turns(user("a", ""), user("\n"), user("b"), assistant(""), user("c")) == [
        ("user", text("a", "b", "c"))
    ]


@pytest.mark.parametrize("messages", [(), (system("s"),), (user(""),)])
def test_an_empty_conversation_gets_a_placeholder(messages):
    assert turns(*messages) == [("user", text(OPENING_TURN))]


def test_a_conversation_that_the_assistant_starts_gets_a_placeholder():
    assert turns(assistant("Hi!"), user("Yo")) == [
        ("user", text(OPENING_TURN)),
        ("assistant", text("Hi!")),
        ("user", text("Yo")),
    ]


def test_a_prefill_loses_its_trailing_white_space():
    assert turns(user("a"), assistant("The answer is (", "B \n"))[-1] == (
        "assistant",
        text("The answer is (", "B"),
    )


def test_a_prefill_is_refused_where_the_model_does_not_continue_it():
    messages = (user("a"), assistant("b"))
    capabilities = Capabilities(prefill=False)
    fault = refusal_of(*messages, capabilities=capabilities)
    assert fault is Fault.UNSUPPORTED_PARAMETER
    assert turns(*messages, user("c"), capabilities=capabilities)


@pytest.mark.parametrize(
    ("data", "claimed", "sent"),
    [
        (PNG, "image/png", "image/png"),
        (PNG, "image/jpeg", "image/png"),  # clients mislabel
        (JPEG, None, "image/jpeg"),
        (GIF, "image/bmp", "image/gif"),
        (WEBP, "application/octet-stream", "image/webp"),
        ("AAAA", "image/PNG", "image/png"),  # unknown bytes: the label stands
        ("no base64!", "image/gif", "image/gif"),
    ],
)
def test_an_image_is_labelled_by_its_bytes(data, claimed, sent):
    message = Message(Role.USER, (Image(claimed, data),))
    source = {"type": "base64", "media_type": sent, "data": data}
    assert turns(message) == [("user", [{"type": "image", "source": source}])]


def test_an_image_by_url_is_passed_on():
    message = Message(Role.USER, (Image(url="https://a.test/cat.png"), Text("What?")))
    source = {"type": "url", "url": "https://a.test/cat.png"}
    assert turns(message) == [
        ("user", [{"type": "image", "source": source}, *text("What?")])
    ]


def test_a_pdf_becomes_a_document():
    source = {"type": "base64", "media_type": "application/pdf", "data": PDF}
    assert turns(Message(Role.USER, (File("a.pdf", None, PDF),))) == [
        ("user", [{"type": "document", "source": source, "title": "a.pdf"}])
    ]


@pytest.mark.parametrize(
    ("part", "capabilities"),
    [
        (Image("image/bmp", "Qk0="), UNKNOWN),
        (Image(None, "AAAA"), UNKNOWN),
        (Image(), UNKNOWN),
        (Image("image/png", PNG), Capabilities(images=False)),
        (Image(url="https://a.test/a.png"), Capabilities(image_urls=False)),
        (Audio("wav", "UklGRg=="), UNKNOWN),
        (File(file_id="file-1"), UNKNOWN),
        (File("a.docx", "application/msword", "0M8R"), UNKNOWN),
        (File("a.pdf", "application/pdf", PDF), Capabilities(files=False)),
    ],
)
def test_a_part_without_a_block_is_refused_and_not_dropped(part, capabilities):
    message = Message(Role.USER, (Text("Look"), part))
    fault = refusal_of(message, capabilities=capabilities)
    assert fault is Fault.UNSUPPORTED_PARAMETER


def test_an_image_in_an_assistant_message_is_refused():
    message = Message(Role.ASSISTANT, (Image("image/png", PNG),))
    assert refusal_of(message, user("b")) is Fault.UNSUPPORTED_PARAMETER


def test_an_own_refusal_is_kept_as_text():
    assert turns(user("a"), assistant(refusal="I won't."), user("b"))[1] == (
        "assistant",
        text("I won't."),
    )


def test_the_results_of_parallel_calls_come_first_in_one_turn_in_the_calls_order():
    calls = (
        call("toolu_1", arguments='{"city": "Paris"}'),
        call("toolu_2", "get_time"),
    )
    assert turns(
        user("Weather and time?"),
        assistant("I look.", calls=calls),
        user("Hurry"),
        result("toolu_2", "10:00"),
        result("toolu_1", "22 °C", "sunny"),
    ) == [
        ("user", text("Weather and time?")),
        (
            "assistant",
            [
                *text("I look."),
                {
                    "type": "tool_use",
                    "id": "toolu_1",
                    "name": "get_weather",
                    "input": {"city": "Paris"},
                },
                {"type": "tool_use", "id": "toolu_2", "name": "get_time", "input": {}},
            ],
        ),
        (
            "user",
            [
                {
                    "type": "tool_result",
                    "tool_use_id": "toolu_1",
                    "content": text("22 °C", "sunny"),
                },
                {
                    "type": "tool_result",
                    "tool_use_id": "toolu_2",
                    "content": text("10:00"),
                },
                *text("Hurry"),
            ],
        ),
    ]


def test_calls_split_over_two_assistant_messages_are_one_turn():
    read = turns(
        user("a"),
        assistant(calls=[call("1")]),
        assistant("And", calls=[call("2")]),
        result("1", "x"),
        result("2", "y"),
    )
    assert [role for role, _ in read] == ["user", "assistant", "user"]
    assert [block["type"] for block in read[1][1]] == ["text", "tool_use", "tool_use"]
    assert [block["tool_use_id"] for block in read[2][1]] == ["1", "2"]


def test_a_missing_result_becomes_an_error_and_an_orphan_is_dropped():
    read = turns(user("a"), result("9", "lost"), assistant(calls=[call("1")]))
    assert read[0] == ("user", text("a"))
    assert read[2] == (
        "user",
        [
            {
                "type": "tool_result",
                "tool_use_id": "1",
                "content": MISSING_RESULT,
                "is_error": True,
            }
        ],
    )


def test_an_empty_result_is_no_error():
    read = turns(user("a"), assistant(calls=[call("1")]), result("1", ""))
    assert read[2] == ("user", [{"type": "tool_result", "tool_use_id": "1"}])


def test_an_image_in_a_result_is_kept():
    answer = Message(Role.TOOL, (Image("image/png", PNG),), tool_call_id="1")
    read = turns(user("a"), assistant(calls=[call("1")]), answer)
    assert read[2][1][0]["content"][0]["type"] == "image"


@pytest.mark.parametrize(
    ("raw", "sent"),
    [
        ("call.1:a/b", "call_1_a_b"),
        ("", "call"),
        ("functions.get:0", "functions_get_0"),
        ("toolu_01-A", "toolu_01-A"),
    ],
)
def test_an_id_is_made_acceptable_in_the_call_and_in_its_result(raw, sent):
    read = turns(user("a"), assistant(calls=[call(raw)]), result(raw, "x"))
    assert (read[1][1][0]["id"], read[2][1][0]["tool_use_id"]) == (sent, sent)
    assert read[2][1][0]["content"] == text("x")


def test_an_id_used_again_is_told_apart():
    read = turns(
        user("a"),
        assistant(calls=[call("c"), call("c")]),
        result("c", "1"),
        result("c", "2"),
        assistant(calls=[call("c")]),
        result("c", "3"),
    )
    pairs = [
        (block["tool_use_id"], block["content"][0]["text"])
        for role, blocks in read[1:]
        if role == "user"
        for block in blocks
    ]
    assert pairs == [("c", "1"), ("c_2", "2"), ("c_3", "3")]


@pytest.mark.parametrize(
    ("arguments", "sent"),
    [
        ("", "{}"),
        ("  \n", "{}"),
        ("{}", "{}"),
        ('{"b": 1, "a": [2]}', '{"b": 1, "a": [2]}'),  # the order of keys is kept
        ('{"wei": 123456789012345678901234567890}', None),
        ('{"city": "Par', '{"_raw":"{\\"city\\": \\"Par"}'),
        ("[1]", '{"_raw":"[1]"}'),
        ("null", '{"_raw":"null"}'),
        ('{"a": NaN}', '{"_raw":"{\\"a\\": NaN}"}'),
    ],
)
def test_arguments_become_an_object_without_a_change(arguments, sent):
    calls = [call("1", arguments=arguments)]
    read = read_conversation((user("a"), assistant(calls=calls)), UNKNOWN)
    wire = orjson.dumps(read.turns[1].blocks[0]["input"]).decode()
    assert wire == (sent or arguments)


def test_thoughts_go_before_the_calls_untouched():
    redacted = {"type": "redacted_thinking", "data": "EmwKAhgB", "x": 1}
    message = assistant(
        "Text", calls=[call("1")], thinking_blocks=(THOUGHT, redacted), reasoning="…"
    )
    read = turns(user("a"), message, result("1", "x"))
    assert read[1][1][:3] == [THOUGHT, redacted, *text("Text")]


@pytest.mark.parametrize(
    "block",
    [
        {"type": "thinking", "thinking": "no signature"},
        {"type": "thinking", "thinking": "x", "signature": ""},
        {"type": "reasoning.text", "text": "another vendor's"},
        {"type": "redacted_thinking"},
    ],
)
def test_a_thought_that_cannot_be_verified_is_left_out(block):
    read = turns(user("a"), assistant("b", thinking_blocks=(block,)), user("c"))
    assert read[1][1] == text("b")


def test_a_model_that_does_not_think_gets_no_thoughts():
    message = assistant("b", thinking_blocks=(THOUGHT,))
    capabilities = Capabilities(reasoning="none")
    assert turns(user("a"), message, user("c"), capabilities=capabilities)[1][1] == (
        text("b")
    )


@pytest.mark.parametrize(
    ("messages", "is_lost"),
    [
        ((user("a"),), False),
        ((user("a"), assistant("b"), user("c")), False),
        ((user("a"), assistant(calls=[call("1")]), result("1", "x")), True),
        (
            (
                user("a"),
                assistant(calls=[call("1")], thinking_blocks=(THOUGHT,)),
                result("1", "x"),
            ),
            False,
        ),
        (  # an earlier turn may have lost its thoughts
            (
                user("a"),
                assistant(calls=[call("1")]),
                result("1", "x"),
                assistant("b"),
                user("c"),
            ),
            False,
        ),
    ],
)
def test_it_is_known_whether_the_last_calls_have_lost_their_thoughts(messages, is_lost):
    assert read_conversation(messages, UNKNOWN).lost_thinking is is_lost


ids = st.sampled_from(["", "a", "b", "a.b", "a_b", "call_1", "ü"])
texts = st.sampled_from(["", " ", "\n", "hello", "x \n"])
calls = st.builds(
    ToolCall,
    ids,
    st.sampled_from(["f", "g.h"]),
    st.sampled_from(["", "{}", "[", '{"a":1}']),
)
parts = st.lists(texts.map(Text), max_size=2).map(tuple)
histories = st.lists(
    st.one_of(
        st.builds(Message, st.just(Role.SYSTEM), parts),
        st.builds(Message, st.just(Role.USER), parts),
        st.builds(
            Message,
            st.just(Role.ASSISTANT),
            parts,
            st.lists(calls, max_size=3).map(tuple),
            thinking_blocks=st.sampled_from([(), (THOUGHT,)]),
        ),
        st.builds(Message, st.just(Role.TOOL), parts, tool_call_id=ids),
    ),
    max_size=10,
)


@given(histories, st.sampled_from([None, True, False]))
def test_any_history_satisfies_the_grammar(messages, in_place):
    capabilities = Capabilities(mid_conversation_system=in_place)
    read = turns(*messages, capabilities=capabilities)
    assert read[0][0] == "user"
    for (before, _), (after, _) in pairwise(read):
        allowed = {
            "user": ("assistant", "system"),
            "assistant": ("user",),
            "system": ("assistant",),
        }
        assert after in allowed[before]
    blocks = [block for _, blocks in read for block in blocks]
    assert all(blocks for _, blocks in read)
    assert all(block["text"].strip() for block in blocks if block["type"] == "text")
    used = [block["id"] for block in blocks if block["type"] == "tool_use"]
    assert len(set(used)) == len(used)
    assert all(re.fullmatch(r"[A-Za-z0-9_-]+", id_) for id_ in used)
    for at, (role, own) in enumerate(read):
        asked = [block["id"] for block in own if block["type"] == "tool_use"]
        if asked:
            answers = read[at + 1][1][: len(asked)]
            assert [block.get("tool_use_id") for block in answers] == asked
        if role == "user":
            results = [block for block in own if block["type"] == "tool_result"]
            assert own[: len(results)] == results
            before = read[at - 1][1] if at else []
            assert len(results) == sum(b["type"] == "tool_use" for b in before)
    if read[-1][0] == "assistant" and read[-1][1][-1]["type"] == "text":
        last = read[-1][1][-1]["text"]
        assert last == last.rstrip()


@given(histories)
def test_what_the_users_said_is_all_there_in_order(messages):
    said = [
        part.text
        for message in messages
        if message.role is Role.USER
        for part in message.parts
        if part.text.strip()
    ]
    heard = [
        block["text"]
        for role, blocks in turns(*messages)
        if role == "user"
        for block in blocks
        if block["type"] == "text" and not block["text"].startswith(("<system>", "("))
    ]
    assert heard == said


@given(st.dictionaries(st.text(), st.one_of(st.integers(), st.text(), st.booleans())))
def test_arguments_survive_byte_for_byte(arguments):
    # Half a surrogate pair is not JSON that the vendor would read.
    written = (
        json.dumps(arguments, ensure_ascii=False).encode("utf-8", "replace").decode()
    )
    calls = [call("1", arguments=written)]
    read = read_conversation((user("a"), assistant(calls=calls)), UNKNOWN)
    assert orjson.dumps(read.turns[1].blocks[0]["input"]).decode() == written
